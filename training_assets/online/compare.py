"""Whether what is served is what was published, value by value."""

from collections.abc import Iterator
from datetime import date
from typing import Any, Final, Literal, NamedTuple

import pyarrow as pa

from training_assets.lake import Lake
from training_assets.list_format import SealedParquet
from training_assets.online.answers import TABLES
from training_assets.online.delivered_ids import DeliveredIds
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
    key, delivered = KEYS[table], DeliveredIds.of(lake, table)
    for batch in _blocks(lake, table, day, at_most):
        ids, block = delivered.delivered(batch[key]), batch.to_pylist()
        answers = store.get(table, ids, version=version)
        for asked, row, answer in zip(ids, block, answers, strict=True):
            rows += 1
            expected = {name: value for name, value in row.items() if name != key}
            if answer.values != expected or answer.dt != day:
                different += 1
                examples.append(asked)
    return Compared(rows, different, tuple(examples[:_MAX_EXAMPLES]))


def _blocks(lake: Lake, table: str, day: date, at_most: int) -> Iterator[pa.RecordBatch]:
    snapshot = lake.snapshot(TABLES[table])
    total = sum(file.rows for file in snapshot.files_of(day))
    every = max(1, -(-total // at_most))
    for uri in snapshot.uris(day):
        with SealedParquet(uri) as parquet:
            for number, batch in enumerate(parquet.iter_batches(_IDS_PER_READ)):
                if number % every == 0 and len(batch):
                    yield batch
