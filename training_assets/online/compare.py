"""Whether what is served is what was published, value by value."""

from collections.abc import Iterator
from datetime import date
from typing import Any, Final, Literal, NamedTuple

from training_assets.lake import Lake
from training_assets.list_format import SealedParquet
from training_assets.online.answers import TABLES
from training_assets.online.loading import KEYS
from training_assets.online.store import OnlineStore

_IDS_PER_READ: Final = 1_000
_MAX_EXAMPLES: Final = 3


class Compared(NamedTuple):
    """Rows that were looked up, and those of which a value differs; ``examples`` are ids."""

    rows: int
    different: int
    examples: tuple[Any, ...]


def compare_day(
    store: OnlineStore,
    lake: Lake,
    table: Literal["users", "items"],
    day: date,
    *,
    version: str | None = None,
    at_most: int = 20_000,
) -> Compared:
    """Look up the rows of a published day; above ``at_most`` of them, blocks spread over all.

    An answer without values, as an expired one, differs.
    """
    rows = different = 0
    examples: list[Any] = []
    for block in _blocks(lake, table, day, at_most):
        key = KEYS[table]
        answers = store.get(table, [row[key] for row in block], version=version)
        for row, answer in zip(block, answers, strict=True):
            rows += 1
            expected = {name: value for name, value in row.items() if name != key}
            if answer.values != expected or answer.dt != day:
                different += 1
                examples.append(row[key])
    return Compared(rows, different, tuple(examples[:_MAX_EXAMPLES]))


def _blocks(lake: Lake, table: str, day: date, at_most: int) -> Iterator[list[dict[str, Any]]]:
    snapshot = lake.snapshot(TABLES[table])
    total = sum(file.rows for file in snapshot.files_of(day))
    every = max(1, -(-total // at_most))
    for uri in snapshot.uris(day):
        with SealedParquet(uri) as parquet:
            for number, batch in enumerate(parquet.iter_batches(_IDS_PER_READ)):
                if number % every == 0 and len(batch):
                    yield batch.to_pylist()
