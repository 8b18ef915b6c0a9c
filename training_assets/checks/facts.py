"""What one file holds, by reading it once: is it whole, as declared, and what is in it.

Every check of a file by itself, and all metrics, are sums of these facts.
"""

import re
from collections.abc import Callable, Iterator
from datetime import date
from typing import Any, Final, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from training_assets.checks.files import (
    Batches,
    File,
    Ints,
    batch_of,
    differences,
    files_in,
    ints,
    local_copy,
)
from training_assets.checks.list_pages import encoded_lists
from training_assets.checks.shape import BOUNDS, LISTS, lists, shape_of
from training_assets.list_format import SealedParquet, file_hash
from training_assets.schemas import (
    CUSTOMER_HISTORY,
    STORED_TYPES,
    TRAINING_INPUT,
    TRAINING_SAMPLES,
    UNIFIED_ACTIONS,
    Table,
)

_SCHEMA: Final = pa.schema(
    [
        ("dt", pa.date32()),
        ("uri", pa.string()),
        ("problems", pa.list_(pa.string())),
        ("rows", pa.int64()),
        ("row_groups", pa.int64()),
        ("customers", pa.int64()),
        ("low", pa.int64()),
        ("high", pa.int64()),
        ("by_type", pa.list_(pa.int64())),
        ("lengths", pa.list_(pa.int64())),
        ("wrong_lengths", pa.int64()),
        ("holes", pa.int64()),
        ("newest_days", pa.int64()),
        ("rankings", pa.int64()),
        ("positives", pa.int64()),
    ]
)
FACTS_DDL: Final = (
    "dt date, uri string, problems array<string>, rows long, row_groups long, customers long, "
    "low long, high long, by_type array<long>, lengths array<long>, wrong_lengths long, "
    "holes long, newest_days long, rankings long, positives long"
)
# With the hash of the file, as all names have it since version 2 of the lake.
_NAME: Final = re.compile(r"part-\d+-(?P<hash>[0-9a-f]{16})-[0-9a-f]{12}\.parquet")
_MAGIC: Final = b"PAR1"
_CODES: Final = sorted(STORED_TYPES)


class Facts(NamedTuple):
    """``problems`` says why nothing else is known of a file.

    ``customers`` and ``rankings`` are distinct ones, ``low`` and ``high`` the smallest and largest
    customer id; ``by_type`` counts actions of each known type, ascending, and at the end others;
    ``lengths`` histories by number of actions, 0..history_length; ``newest_days`` is the smallest
    number of days ago.
    """

    dt: date
    uri: str
    problems: list[str]
    rows: int = 0
    row_groups: int = 0
    customers: int = 0
    low: int | None = None
    high: int | None = None
    by_type: tuple[int, ...] = ()
    lengths: tuple[int, ...] = ()
    wrong_lengths: int = 0
    holes: int = 0
    newest_days: int | None = None
    rankings: int = 0
    positives: int = 0


def examine(batches: Batches, table: Table, history_length: int) -> Iterator[pa.RecordBatch]:
    """Facts of each file of rows of ``FILES_DDL``; whatever is wrong with one is said of it."""
    for file in files_in(batches):
        yield batch_of([_examine(file, table, history_length)], _SCHEMA)


def _examine(file: File, table: Table, history_length: int) -> Facts:
    try:
        with local_copy(file.uri) as path:
            if problem := _damage(file, path):
                return Facts(file.day, file.uri, [problem])
            with SealedParquet(path) as parquet:
                if found := differences(table, parquet.schema_arrow):
                    problems = [f"{file.name}: {difference}" for difference in found]
                    return Facts(file.day, file.uri, problems)
                facts = Facts(
                    file.day, file.uri, [], parquet.metadata.num_rows, parquet.num_row_groups
                )
                return _READ.get(table.name, _nothing)(facts, parquet, history_length)
    except FileNotFoundError:
        problem = f"{file.name} is missing"
    except (OSError, ValueError, pa.ArrowException) as error:
        problem = f"{file.name} cannot be read ({_first_line(error)})"
    return Facts(file.day, file.uri, [problem])


def _damage(file: File, path: str) -> str | None:
    """What is wrong with the bytes of a file, all of which are read; None where nothing is.

    A file of an older lake has no hash in its name; its pages are verified when they are read.
    """
    named = _NAME.fullmatch(file.name)
    if not named:
        return None
    with pa.OSFile(path) as handle:
        content = handle.read_buffer()
    try:
        found = file_hash(content)
    except (ValueError, pa.ArrowException) as error:
        return f"{file.name} is damaged ({_first_line(error)})"
    if found != named["hash"]:
        return f"{file.name} is damaged (it has the hash {found}; expected the one in its name)"
    # The only bytes that no reader looks at.
    return None if content[:4] == _MAGIC else f"{file.name} is damaged (it does not begin as such)"


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [""])[0][:300]


def _of_actions(facts: Facts, parquet: SealedParquet, history_length: int) -> Facts:
    by_type = np.zeros(len(_CODES) + 1, np.int64)
    customers = []
    for group in range(parquet.num_row_groups):
        rows = parquet.read(["customer_id", "action_type"], [group], use_threads=False)
        by_type += _by_type(ints(rows["action_type"]))
        customers.append(_distinct(rows["customer_id"]))
    return _with_customers(facts, customers)._replace(by_type=tuple(by_type.tolist()))


def _of_histories(facts: Facts, parquet: SealedParquet, history_length: int) -> Facts:
    groups = [
        _histories_of(parquet, group, history_length) for group in range(parquet.num_row_groups)
    ]
    none = np.zeros(history_length + 1, np.int64), np.zeros(len(_CODES) + 1, np.int64)
    newest = [found.newest_days for found in groups if found.newest_days is not None]
    return _with_customers(facts, [found.customers for found in groups])._replace(
        by_type=tuple(sum((found.by_type for found in groups), none[1]).tolist()),
        lengths=tuple(sum((found.lengths for found in groups), none[0]).tolist()),
        wrong_lengths=sum(found.wrong_lengths for found in groups),
        holes=sum(found.holes for found in groups),
        newest_days=min(newest, default=None),
    )


class _Histories(NamedTuple):
    """Facts of a row group."""

    customers: Ints
    lengths: Ints
    wrong_lengths: int
    holes: int
    by_type: Ints
    newest_days: int | None


def _histories_of(parquet: SealedParquet, group: int, history_length: int) -> _Histories:
    customers = _distinct(parquet.read(["customer_id"], [group], use_threads=False)["customer_id"])
    columns = [encoded_lists(parquet, group, name) for name in LISTS]
    items, types, days_ago = columns
    if (
        items is None
        or types is None
        or days_ago is None
        or not all(c.is_within(*b) for c, b in zip((items, types), BOUNDS, strict=True))
    ):
        return _decoded_histories_of(parquet, group, history_length, customers)
    is_right = (items.sizes == types.sizes) & (items.sizes == days_ago.sizes)
    is_right &= items.sizes <= history_length
    by_type = np.zeros(256, np.int64)
    used = types.uses()
    np.add.at(by_type, types.dictionary[used > 0], used[used > 0])
    ages = days_ago.dictionary[days_ago.uses() > 0]
    return _Histories(
        customers,
        np.bincount(items.sizes[is_right], minlength=history_length + 1),
        int(np.count_nonzero(~is_right)),
        0,
        _with_others(by_type),
        int(ages.min()) if len(ages) else None,
    )


def _decoded_histories_of(
    parquet: SealedParquet, group: int, history_length: int, customers: Ints
) -> _Histories:
    """The same of lists as Arrow reads them, whatever is in them."""
    rows = parquet.read(list(LISTS), [group], use_threads=False)
    items, types, days_ago = (lists(rows[name]) for name in LISTS)
    shape = shape_of((items, types, days_ago), history_length)
    sizes = items.sizes[~shape.has_wrong_length]
    return _Histories(
        customers,
        np.bincount(sizes, minlength=history_length + 1),
        int(np.count_nonzero(shape.has_wrong_length)),
        int(np.count_nonzero(shape.has_holes)),
        _by_type(types.values),
        int(days_ago.values.min()) if len(days_ago.values) else None,
    )


def _of_inputs(facts: Facts, parquet: SealedParquet, history_length: int) -> Facts:
    keys = ["customer_id", "ranking_id"]
    rows = parquet.read([*keys, "is_order"], use_threads=False)
    rankings = rows.select(keys).drop_null().group_by(keys, use_threads=False).aggregate([])
    return _with_customers(facts, [_distinct(rows["customer_id"])])._replace(
        rankings=len(rankings), positives=pc.sum(rows["is_order"]).as_py() or 0
    )


def _of_samples(facts: Facts, parquet: SealedParquet, history_length: int) -> Facts:
    rows = parquet.read(["customer_id", "label"], use_threads=False)
    positives = int(pc.sum(pc.equal(rows["label"], 1.0)).as_py() or 0)
    return _with_customers(facts, [_distinct(rows["customer_id"])])._replace(positives=positives)


def _nothing(facts: Facts, parquet: SealedParquet, history_length: int) -> Facts:
    return facts


_READ: Final[dict[str, Callable[[Facts, SealedParquet, int], Facts]]] = {
    UNIFIED_ACTIONS.name: _of_actions,
    CUSTOMER_HISTORY.name: _of_histories,
    TRAINING_INPUT.name: _of_inputs,
    TRAINING_SAMPLES.name: _of_samples,
}


def _by_type(types: Ints) -> Any:
    # As bytes, so that no type is out of range.
    counts = np.bincount(types.view(np.uint8), minlength=256)
    return _with_others(counts)


def _with_others(counts: Ints) -> Ints:
    """Of 256 types the known ones, and at the end the sum of the others."""
    known = counts[_CODES]
    found: Ints = np.append(known, counts.sum() - known.sum())
    return found


def _distinct(column: pa.ChunkedArray) -> Ints:
    """Sorted customers, each once."""
    customers = ints(column.drop_null())
    is_new = np.ones(len(customers), bool)
    is_new[1:] = customers[1:] != customers[:-1]
    return np.unique(customers[is_new])


def _with_customers(facts: Facts, found: list[Ints]) -> Facts:
    customers = np.unique(np.concatenate([np.empty(0, np.int64), *found]))
    if not len(customers):
        return facts
    low, high = int(customers[0]), int(customers[-1])
    return facts._replace(customers=len(customers), low=low, high=high)
