"""How often each customer met each item over a stretch of days: merged and kept.

A part is some of the customers, wherever their rows come from: kept files and newer days are merged
by sorting, so nothing depends on how days were cut into stretches. Rows are only ever added up.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final, NamedTuple

import numpy as np
import pyarrow as pa

from training_assets.kernels.day_files import ints, runs
from training_assets.kernels.timelines import Ints
from training_assets.list_format import SealedParquet

# A row of a part without any, so that each part has a task.
PAIRS_DDL: Final = (
    "part int, day int, customer_id long, item_id long, _actions long, _newest long, "
    "_purchases long"
)
PAIRS: Final = pa.schema(
    [
        ("customer_id", pa.int64()),
        ("item_id", pa.int32()),
        ("actions", pa.int32()),
        ("newest", pa.int64()),
        ("purchases", pa.int32()),
    ]
)
# How rows of one pair become one, by number of the column.
_COMBINED: Final = {2: np.add, 3: np.maximum, 4: np.add}
Batches = Iterable[pa.RecordBatch]
Files = Mapping[int, Sequence[str]]
Columns = tuple[Ints, ...]
_NONE: Final = np.empty(0, np.int64)


class Pairs(NamedTuple):
    """Rows by customer and item, each pair once, as ``PAIRS``; ``newest`` in microseconds."""

    customer: Ints
    item: Ints
    actions: Ints
    newest: Ints
    purchases: Ints


def parts(batches: Batches) -> Iterator[tuple[int, Ints, Columns]]:
    """Each part with a row in the batches, which must all be there: days and pairs of its rows.

    Rows are in order of pairs.
    """
    found = [batch for batch in batches if batch.num_rows]
    if not found:
        return
    table = pa.Table.from_batches(found)
    part = ints(table["part"])
    for rows in runs(np.argsort(part, kind="stable"), part):
        of_part = table.take(rows).drop_columns(["part"]).drop_null()
        day, *pairs = (ints(column) for column in of_part.columns)
        order = np.lexsort((pairs[1], pairs[0]))
        yield int(part[rows[0]]), day[order], tuple(column[order] for column in pairs)


def read_pairs(file: str) -> Columns:
    """The pairs of a kept file."""
    return read_columns([file], PAIRS.names)


def read_columns(files: Sequence[str], names: Sequence[str]) -> Columns:
    """Columns of integers of kept files, one file after the other."""
    found = [[c.astype(np.int64, copy=False) for c in read_raw(file, names)] for file in files]
    if len(found) == 1:
        return tuple(found[0])
    return tuple(np.concatenate((_NONE, *(one[n] for one in found))) for n in range(len(names)))


def read_raw(file: str, names: Sequence[str]) -> Columns:
    """Columns of a kept file in the types that they have there."""
    with SealedParquet(file) as opened:
        table = opened.read(names, None, use_threads=False)
    return tuple(ints(table[name]) for name in names)


def merge(parts: Sequence[Columns]) -> Columns:
    """Rows of the same pair as one; each part is in order and has a pair once."""
    waiting = list(parts)
    while len(waiting) > 1:
        waiting.sort(key=lambda columns: len(columns[0]), reverse=True)
        fewest = waiting.pop()
        waiting[-1] = _inserted(waiting[-1], fewest)
    return waiting[0]


def _inserted(many: Columns, few: Columns) -> Columns:
    """Both in order, without sorting again what is: only rows of ``few`` are looked up."""
    if not len(few[0]):
        return many
    keys, wanted = _keys(many, few)
    place = np.searchsorted(keys, wanted)
    is_known = keys[np.minimum(place, len(keys) - 1)] == wanted
    known, added = place[is_known], np.flatnonzero(~is_known)
    # Where the new rows come to lie; all others keep their order.
    target = place[added] + np.arange(len(added))
    is_old = np.ones(len(keys) + len(added), bool)
    is_old[target] = False
    columns = []
    for number, (column, values) in enumerate(zip(many, few, strict=True)):
        whole = np.empty(len(is_old), np.int64)
        whole[is_old] = column
        whole[target] = values[added]
        if number >= 2:
            at = known + np.searchsorted(place[added], known, side="right")
            whole[at] = _COMBINED[number](whole[at], values[is_known])
        columns.append(whole)
    return tuple(columns)


def _keys(*parts: Columns) -> list[Ints]:
    """Of each part a number per row that ascends with customer and item, the same for the same."""
    starts = [starts_of(columns[0]) for columns in parts]
    here = [columns[0][at] for columns, at in zip(parts, starts, strict=True)]
    customers = np.unique(np.concatenate(here))
    keys = []
    for (_, item, *_), at, ids in zip(parts, starts, here, strict=True):
        rank = np.searchsorted(customers, ids)
        keys.append((np.repeat(rank, np.diff(at, append=len(item))) << 32) | item)
    return keys


def starts_of(ordered: Ints) -> Ints:
    """Where runs of the same value begin."""
    if not len(ordered):
        return np.empty(0, np.int64)
    return np.flatnonzero(np.concatenate(([True], ordered[1:] != ordered[:-1])))
