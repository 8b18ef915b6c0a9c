"""Loads a published day into a store, by plain Python from its Parquet files."""

from collections.abc import Iterator, Sequence
from datetime import date
from typing import Any, Final, Literal

import pyarrow as pa

from training_assets.errors import DayNotPublishedError, SchemaError
from training_assets.lake import Lake, Snapshot
from training_assets.list_format import SealedParquet
from training_assets.online.answers import TABLES, Loaded
from training_assets.online.delivered_ids import DeliveredIds
from training_assets.online.encoding import column_types, encode
from training_assets.online.store import OnlineStore

KEYS: Final = {"users": "customer_id", "items": "item_id"}
_ROWS_PER_BLOCK: Final = 10_000


def load_day(
    store: OnlineStore,
    lake: Lake,
    table: Literal["users", "items"],
    day: date | None = None,
    *,
    force: bool = False,
) -> Loaded:
    """Have readers see a published day of ``users`` or ``items``, the newest one by default.

    Ids are those that were delivered, text where the shop has text.

    Raises ``DayNotPublishedError`` where the lake does not hold it.
    """
    name, key = TABLES[table], KEYS[table]
    snapshot = lake.snapshot(name)
    if day is None and not snapshot.days:
        raise DayNotPublishedError(
            f"{name}: no day is published under {snapshot.store.url}. Run `training-assets run` "
            "first."
        )
    chosen = snapshot.days[-1] if day is None else day
    uris, ids = _uris(snapshot, chosen), DeliveredIds.of(lake, table)
    columns, id_type = _columns(uris, name, key)
    return store.load(
        table,
        chosen,
        read_blocks(uris, key, ids),
        content=snapshot.content(chosen),
        columns=columns,
        id_type="string" if ids.are_text else id_type,
        num_rows=sum(file.rows for file in snapshot.files_of(chosen)),
        force=force,
    )


def read_blocks(
    uris: Sequence[str], key: str, ids: DeliveredIds, rows_per_block: int = _ROWS_PER_BLOCK
) -> Iterator[tuple[list[Any], list[str]]]:
    """Ids as delivered and encoded values of all rows of files."""
    for uri in uris:
        with SealedParquet(uri) as parquet:
            for batch in parquet.iter_batches(rows_per_block):
                rows = pa.Table.from_batches([batch])
                yield ids.delivered(rows[key]), encode(rows, key)


def _uris(snapshot: Snapshot, day: date) -> list[str]:
    snapshot.files_of(day)
    return snapshot.uris(day)


def _columns(
    uris: Sequence[str], table: str, key: str
) -> tuple[tuple[tuple[str, str], ...], Literal["long", "string"]]:
    with SealedParquet(uris[0]) as parquet:
        schema = parquet.schema_arrow
    if key not in schema.names:
        raise SchemaError(
            f"{table}: {key} is missing; found only {', '.join(schema.names)}. Materialize it anew."
        )
    is_text = pa.types.is_string(schema.field(key).type)
    return column_types(schema, key), "string" if is_text else "long"
