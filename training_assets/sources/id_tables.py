"""The two tables of ids, as they are added to; see ``ids.py`` for what an id is."""

import secrets
from collections.abc import Mapping
from datetime import date
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from training_assets.errors import PublishError, RawDataError
from training_assets.lake import DataFile, Lake, Snapshot, Store
from training_assets.lake.log import add_action, commit, create_table, open_delta
from training_assets.lake.snapshot import snapshot_of
from training_assets.list_format import file_hash, seal
from training_assets.schemas import CUSTOMER_IDS, ITEM_IDS, MAX_ITEM_ID, MIN_ITEM_ID, Table
from training_assets.sources.ids import known_items

_MAX_TRIES: Final = 100


def id_files(lake: Lake, table: Table) -> list[str]:
    """The files of an id table as it is published now."""
    lake.refresh(table.name)
    snapshot = lake.snapshot(table.name)
    return [uri for day in snapshot.days for uri in snapshot.uris(day)]


def has_ids(lake: Lake, table: Table) -> bool:
    return bool(lake.snapshot(table.name).files)


def add_items(lake: Lake, first_seen: Mapping[str, date]) -> int:
    """Number the texts that have no number yet, in order of their first day; how many they were."""
    store = lake.table_store(ITEM_IDS.name)
    for _ in range(_MAX_TRIES):
        delta = open_delta(store, ITEM_IDS.name) or create_table(store, ITEM_IDS)
        now = snapshot_of(store, ITEM_IDS.name, delta)
        known = known_items(tuple(uri for day in now.days for uri in now.uris(day)))
        new = sorted((day, text) for text, day in first_seen.items() if text not in known)
        if not new:
            return 0
        start = max(known.values(), default=MIN_ITEM_ID - 1) + 1
        if start + len(new) - 1 > MAX_ITEM_ID:
            raise PublishError(
                f"item_ids: {start + len(new) - 1} items; expected at most {MAX_ITEM_ID}."
            )
        rows = pa.table(
            [
                np.arange(start, start + len(new)),
                [text for _, text in new],
                [day for day, _ in new],
            ],
            ITEM_IDS.arrow_schema.names,
        )
        if _append(store, ITEM_IDS, delta, rows):
            return len(new)
    raise _overtaken(ITEM_IDS)


def add_customers(lake: Lake, new: pa.Table, seen: Snapshot) -> bool:
    """Add customers (id, text, first_seen) that ``seen`` lacks.

    False where another run has added some since: then it is to be looked at again what is new.
    """
    store = lake.table_store(CUSTOMER_IDS.name)
    delta = open_delta(store, CUSTOMER_IDS.name) or create_table(store, CUSTOMER_IDS)
    if snapshot_of(store, CUSTOMER_IDS.name, delta).files != seen.files:
        return False
    return not len(new) or _append(store, CUSTOMER_IDS, delta, new.sort_by("id"))


def collision(first: str, second: str, number: int) -> RawDataError:
    return RawDataError(
        f"customer_ids: {first[:80]!r} and {second[:80]!r} have the same hash {number}; expected "
        "one customer for each id. Rename one of them in what is delivered."
    )


def _append(store: Store, table: Table, delta: Any, rows: pa.Table) -> bool:
    """Whether the rows stand in the version after ``delta``, which nobody else has made."""
    run, files, schema = secrets.token_hex(6), [], table.arrow_schema
    rows = rows.select(schema.names).cast(schema)
    for day in sorted(rows["first_seen"].unique().to_pylist()):
        own = content = rows.filter(pc.equal(rows["first_seen"], pa.scalar(day)))
        sink = pa.BufferOutputStream()
        pq.write_table(content, sink, compression="zstd", write_page_checksum=True)
        data = seal(sink.getvalue())
        name = f"dt={day}/part-00000-{file_hash(data)}-{run}.parquet"
        store.put(name, data)
        files.append(DataFile(name, len(data), len(own)))
    store.sync(file.name for file in files)
    info = {"operation": "add ids", "run": run, "rows": len(rows)}
    error = commit(store, delta, [add_action(file, None) for file in files], info)
    if error is None:
        return True
    # The answer to a commit that stands may have been lost.
    newest = open_delta(store, table.name)
    if newest is not None:
        published = snapshot_of(store, table.name, newest).files.values()
        if any(files[0] in found for found in published):
            return True
    store.delete(file.name for file in files)
    return False


def _overtaken(table: Table) -> PublishError:
    return PublishError(
        f"{table.name}: other runs added ids {_MAX_TRIES} times meanwhile; nothing was added. Run "
        "again."
    )
