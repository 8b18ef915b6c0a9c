"""A day's interactions of some customers: re-deliveries out, bots marked, what is missing named.

Runs after texts were cleaned and rows that cannot be used set aside. The rows of a customer's day
are all in one task, so that bots are seen; so are, with them, those that were delivered again.
"""

import io
import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Final, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from training_assets.kernels.day_files import grouped, ints, write_part, written_batch
from training_assets.kernels.timelines import Ints
from training_assets.list_format import file_hash, seal, write_file
from training_assets.schemas import INTERACTIONS, QUARANTINE, RAW_INTERACTIONS
from training_assets.schemas.shop import (
    RE_DELIVERED_ID,
    RE_DELIVERED_ROW,
    UNKNOWN,
    re_delivered,
)

BROWSING: Final = ("view", "click", "like", "add_to_cart")
_MINUTE: Final = 60 * 1_000_000
_HALF_HOUR: Final = 30 * _MINUTE
_MILLI: Final = 1_000
_APART: Final = ("dt", "part", "ingested_at")
_FILLED: Final = [c.name for c in RAW_INTERACTIONS.columns if c.fill == UNKNOWN]


class BotLimits(NamedTuple):
    """More actions than these of a customer's day are a machine's.

    ``regular`` distinct times or more, all with the same gap, are too.
    """

    per_minute: int = 60
    per_half_hour: int = 600
    per_day: int = 2_000
    regular: int = 50


def clean_interactions(
    batches: Iterable[pa.RecordBatch],
    root: str,
    run: str,
    limits: BotLimits,
    *,
    equal_rows_once: bool = False,
) -> Iterator[pa.RecordBatch]:
    """Write the ``interactions`` of (day, part) groups; yields what ``WRITTEN_DDL`` says.

    Rows have a ``part`` and the columns of ``INTERACTIONS``, ``is_bot`` apart, in any order.
    ``equal_rows_once`` keeps one of rows that are equal but for when they arrived.
    """
    written = []
    for day, part, rows in grouped(batches):
        kept, again = without_re_deliveries(_in_order(rows))
        equal = kept.slice(0, 0)
        if equal_rows_once:
            kept, equal = without_equal_rows(kept)
        is_bot = mark_bots(kept, limits)
        columns = {name: kept[name] for name in kept.column_names} | {"is_bot": pa.array(is_bot)}
        for name in _FILLED:
            columns[name] = pc.fill_null(kept[name], UNKNOWN)
        schema = INTERACTIONS.arrow_schema
        table = pa.table([columns[name] for name in schema.names], names=schema.names).cast(schema)
        sink = pa.BufferOutputStream()
        pq.write_table(table, sink, compression="zstd", write_page_checksum=True)
        customers = ints(table["customer_id"])
        if len(again) or len(equal):
            _write_again({RE_DELIVERED_ID: again, RE_DELIVERED_ROW: equal}, root, run, day, part)
        written.append(write_part(root, run, day, part, sink.getvalue(), customers, len(table)))
    yield written_batch(written)


def _in_order(rows: pa.Table) -> pa.Table:
    """By customer, time, item and all else: the same rows in whatever order they came."""
    first = ["customer_id", "occurred_at", "item_id", "interaction_type", "interaction_id"]
    known = [*first, *(n for n in INTERACTIONS.column_names if n not in first)]
    told = [n for n in known if n in rows.column_names and rows[n].null_count < len(rows)]
    names = [n for n in told if n != "dt"]
    return rows.sort_by([(name, "ascending") for name in names])


def without_re_deliveries(rows: pa.Table) -> tuple[pa.Table, pa.Table]:
    """Rows without an ``interaction_id`` and each customer's first one of it; and the others."""
    ids = rows["interaction_id"]
    if ids.null_count == len(ids):
        return rows, rows.slice(0, 0)
    keys = pa.table(
        {"c": rows["customer_id"], "i": ids, "place": pa.array(np.arange(len(rows)))}
    ).filter(pc.is_valid(ids))
    firsts = keys.group_by(["c", "i"], use_threads=False).aggregate([("place", "min")])
    is_kept = np.asarray(pc.is_null(ids)).copy()
    is_kept[firsts["place_min"].to_numpy()] = True
    if is_kept.all():
        return rows, rows.slice(0, 0)
    return rows.filter(pa.array(is_kept)), rows.filter(pa.array(~is_kept))


def without_equal_rows(rows: pa.Table) -> tuple[pa.Table, pa.Table]:
    """The first of rows that are equal in all but the time of arrival; and the others."""
    names = [
        name
        for name in rows.column_names
        if name not in _APART and rows[name].null_count < len(rows)
    ]
    numbered = rows.select(names).append_column("place", pa.array(np.arange(len(rows))))
    firsts = numbered.group_by(names, use_threads=False).aggregate([("place", "min")])
    is_kept = np.zeros(len(rows), bool)
    is_kept[firsts["place_min"].to_numpy()] = True
    return rows.filter(pa.array(is_kept)), rows.filter(pa.array(~is_kept))


def mark_bots(rows: pa.Table, limits: BotLimits) -> Ints:
    """Whether each row's customer acted like a machine; the rows are of one day.

    Only kinds that browse count: the lines of one basket share a time.
    """
    customers, micros = ints(rows["customer_id"]), ints(rows["occurred_at"])
    browses = np.asarray(pc.is_in(rows["interaction_type"], pa.array(BROWSING)).combine_chunks())
    order = np.lexsort((micros[browses], customers[browses]))
    who, at = customers[browses][order], micros[browses][order]
    bots = [
        who[_more_than(who, limits.per_day)],
        who[_within(who, at, limits.per_half_hour, _HALF_HOUR)],
        who[_per_minute(who, at, limits.per_minute)],
        _regular(who, at // _MILLI, limits.regular),
    ]
    marked: Ints = np.isin(customers, np.unique(np.concatenate(bots)))
    return marked


def _more_than(groups: Ints, limit: int) -> Ints:
    """Places at which a sorted group has more than that many values."""
    return np.flatnonzero(groups[limit:] == groups[:-limit]) if len(groups) > limit else _NONE


def _within(who: Ints, at: Ints, limit: int, span: int) -> Ints:
    places = _more_than(who, limit)
    found: Ints = places[at[places + limit] - at[places] < span]
    return found


def _per_minute(who: Ints, at: Ints, limit: int) -> Ints:
    places = _more_than(who, limit)
    found: Ints = places[at[places + limit] // _MINUTE == at[places] // _MINUTE]
    return found


def _regular(who: Ints, millis: Ints, least: int) -> Ints:
    """Customers with at least that many distinct times, between which all gaps are equal."""
    is_new = np.ones(len(who), bool)
    is_new[1:] = (who[1:] != who[:-1]) | (millis[1:] != millis[:-1])
    who, millis = who[is_new], millis[is_new]
    distinct, starts, sizes = np.unique(who, return_index=True, return_counts=True)
    gaps = np.diff(millis, append=0)
    found = [
        customer
        for customer, start, size in zip(distinct, starts, sizes, strict=True)
        if size >= least and (gaps[start : start + size - 1] == gaps[start]).all()
    ]
    return np.array(found, np.int64)


_NONE: Final = np.empty(0, np.int64)


def _write_again(found: Mapping[str, pa.Table], root: str, run: str, day: int, part: int) -> None:
    """Rows that were delivered again, by the reason, as JSON in a file of their own."""
    rows = pa.concat_tables(found.values())
    contents = [
        json.dumps(row, default=str) for row in rows.drop_columns(["dt", "part"]).to_pylist()
    ]
    table = pa.table(
        {
            "reason": [reason for reason, of in found.items() for _ in range(len(of))],
            "source_file": [""] * len(contents),
            "content": contents,
        },
        QUARANTINE.arrow_schema,
    )
    sink = io.BytesIO()
    pq.write_table(table, sink, compression="zstd", write_page_checksum=True)
    content = seal(pa.py_buffer(sink.getvalue()))
    dt = rows["dt"][0].as_py()
    folder = f"{root}/_quarantine/dt={dt}/{run}/source={re_delivered(INTERACTIONS).name}"
    write_file(f"{folder}/part-{part:05d}-{file_hash(content)}-{run}.pq", content)
