"""How much memory days take, as a function of their sizes."""

from typing import Final

from training_assets.loader.histories import ROWS_PER_READ, bytes_per_action
from training_assets.loader.opening import OpenDay, Reading

_HELD_BACK: Final = 128 * 2**20


def day_bytes(
    *,
    num_examples: int,
    num_histories: int,
    num_actions: int,
    length: int,
    is_dense: bool,
    with_days_ago: bool,
    with_identity: bool,
) -> int:
    """Bytes that one day occupies, its order included.

    Per example 4 pointer, 8 impression, 4 label, 8 order, and 20 identity (the distinct ranking
    ids come on top); per history 4 length; per action 5, or 7 with days_ago,
    where a dense day counts ``length`` actions for every history and a jagged one those there
    are, plus ``length`` of slack and 8 per history for its start.
    """
    examples = num_examples * (24 + (20 if with_identity else 0))
    histories = num_histories * (4 + (0 if is_dense else 8))
    held = num_histories * length if is_dense else num_actions + length
    return examples + histories + held * bytes_per_action(with_days_ago)


def day_bound_bytes(opened: OpenDay, reading: Reading) -> int:
    """Upper bound on ``day_bytes`` of a day that is not read yet, from its footers."""
    length = reading.length or opened.history_length
    num_histories = min(opened.arrays.num_rows, opened.num_examples)
    num_actions = min(opened.arrays.num_values("action_items"), num_histories * length)

    def bound(num_histories: int, *, is_dense: bool) -> int:
        return day_bytes(
            num_examples=opened.num_examples,
            num_histories=num_histories,
            num_actions=num_actions,
            length=length,
            is_dense=is_dense,
            with_days_ago=reading.with_days_ago,
            with_identity=reading.with_identity,
        )

    row_bytes = length * bytes_per_action(reading.with_days_ago)
    if num_histories * row_bytes <= reading.dense_limit_bytes:
        return bound(num_histories, is_dense=True)
    # Customers that turn out not to be shown anything may bring the day below the limit.
    most_dense = reading.dense_limit_bytes // row_bytes
    return max(bound(num_histories, is_dense=False), bound(most_dense, is_dense=True))


def reading_bytes(opened: OpenDay, reading: Reading) -> int:
    """Bytes that reading a day needs for a while, on top of the day itself.

    Per example 48 for the thin columns as Arrow and the search for distinct customers; per
    thread the compressed arrays of the largest row group, and 24 per action and array while
    ``ROWS_PER_READ`` rows are decoded; and 128 MB that Arrow's allocator holds back.
    """
    width = 24 * len(reading.array_columns)
    decoded = ROWS_PER_READ * opened.history_length * width
    compressed = opened.arrays.largest_chunk_bytes(reading.array_columns)
    return opened.num_examples * 48 + reading.threads * (compressed + decoded) + _HELD_BACK
