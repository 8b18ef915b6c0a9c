"""The files of a range of records: a pure function of them and of its terms, to be done twice.

Good rows go to ``raw/<type>/dt=D/<range>.parquet`` of their tenant; a record that is no row, or
breaks a rule, to ``service/quarantine/<type>/<range>.jsonl`` and to ``<topic>.dlq``. The time of
arrival is that of the record, by the broker, so it is the same each time, and so are the terms; see
``range_terms.py``.
"""

import io
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import chain
from typing import Any, Final

import orjson
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from training_assets.errors import SchemaError
from training_assets.lake import Lake
from training_assets.service.claims import Range
from training_assets.service.event_rows import (
    ID_COLUMN,
    MAX_NAMES,
    parsed,
    under_own_names,
    written,
)
from training_assets.service.judging import TIME_COLUMNS, Documents, judge_documents
from training_assets.service.landing import ARRIVAL_COLUMN, DAY_COLUMN, open_days
from training_assets.service.problems import Problem
from training_assets.service.range_terms import RangeTerms
from training_assets.service.settings import ServiceSettings
from training_assets.service.tenants import DEFAULT, Tenants
from training_assets.service.terms import Deliveries
from training_assets.service.topics import EVENT_HEADER, TENANT_HEADER

QUARANTINE: Final = "quarantine"
_TIME: Final = pa.timestamp("us", tz="UTC")


@dataclass(frozen=True)
class Record:
    """A record of a topic; ``at_ms`` is its time in milliseconds since 1970."""

    offset: int
    value: bytes
    at_ms: int
    headers: Mapping[str, str]


@dataclass(frozen=True)
class Poison:
    """A record that is no row; ``reason`` is the code of its first fault."""

    record: Record
    reason: str
    tenant: str


@dataclass(frozen=True)
class Landed:
    """What became of a range."""

    rows: int
    poison: Sequence[Poison]


class RangeWriter:
    """Writes ranges of one data type into the lakes of the tenants."""

    def __init__(self, tenants: Tenants, settings: ServiceSettings, data_type: str) -> None:
        self._tenants = tenants
        self._settings = settings
        self._data_type = data_type
        self._terms = RangeTerms(tenants, data_type)

    def write(self, own: Range, records: Sequence[Record]) -> Landed:
        """Raises ``StoreError``; then the range is to be done again."""
        by_tenant: dict[str, list[Record]] = defaultdict(list)
        poison: list[Poison] = []
        for record in records:
            tenant = self._tenant(record)
            if tenant is None:
                poison.append(Poison(record, "not_allowed", ""))
            elif len(record.value) > self._settings.max_line_bytes:
                poison.append(Poison(record, "too_long", tenant))
            else:
                by_tenant[tenant].append(record)
        terms = self._terms.of(own, by_tenant)
        rows = 0
        for tenant, found in by_tenant.items():
            by = terms[tenant]
            if by is None:
                poison += [Poison(record, "not_allowed", tenant) for record in found]
                continue
            landed = self._write_tenant(own, tenant, found, by)
            rows += landed.rows
            poison += landed.poison
        self._quarantine(own, poison)
        return Landed(rows, poison)

    def _tenant(self, record: Record) -> str | None:
        given = record.headers.get(TENANT_HEADER)
        if given is None:
            return None if self._tenants.are_many else DEFAULT
        return given if self._tenants.knows(given) else None

    def _write_tenant(
        self, own: Range, tenant: str, records: Sequence[Record], by: Deliveries
    ) -> Landed:
        found = [self._document(record) for record in records]
        names = dict.fromkeys(chain.from_iterable(own for _, own in found))
        documents = Documents([row for row, _ in found], names)
        newest = datetime.fromtimestamp(max(r.at_ms for r in records) / 1000, UTC)
        tables: list[pa.Table] = []
        errors, numbers = _judged(documents, self._data_type, by, newest, tables)
        good = set(numbers)
        poison = [
            Poison(record, errors.get(number, "not_json"), tenant)
            for number, record in enumerate(records, 1)
            if number not in good
        ]
        if numbers:
            kept = [records[number - 1] for number in numbers]
            lost = self._write_days(own, tenant, pa.concat_tables(tables), kept)
            poison += [Poison(r, "not_allowed", tenant) for r in kept if r.offset in lost]
        return Landed(len(records) - len(poison), poison)

    def _document(self, record: Record) -> tuple[bytes, Collection[str]]:
        """Under the names of the table, with the id by which a second delivery is told."""
        row = parsed(record.value)
        if not isinstance(row, dict) or len(row) > MAX_NAMES:
            return record.value, ()
        try:
            named = under_own_names(row, self._data_type)
        except SchemaError:
            # It has none of the columns that several of its names may mean.
            return record.value, ()
        column = ID_COLUMN.get(self._data_type)
        event_id = record.headers.get(EVENT_HEADER)
        if column is not None and event_id and column not in named:
            named = {**named, column: event_id}
        return record.value if named is row else written(named), named.keys()

    def _write_days(
        self, own: Range, tenant: str, rows: pa.Table, records: Sequence[Record]
    ) -> set[int]:
        """Offsets of records that are in no file, though they could be: see ``_put``."""
        arrival = pa.array([record.at_ms * 1000 for record in records], pa.int64()).cast(_TIME)
        marked = rows.drop_columns(
            [name for name in rows.column_names if name in (ARRIVAL_COLUMN, DAY_COLUMN)]
        )
        marked = marked.append_column(ARRIVAL_COLUMN, arrival)
        marked = marked.append_column("_topic", pa.repeat(pa.scalar(own.topic), len(rows)))
        marked = marked.append_column(
            "_partition", pa.repeat(pa.scalar(own.partition, pa.int32()), len(rows))
        )
        marked = marked.append_column("_offset", pa.array([r.offset for r in records], pa.int64()))
        days = open_days(
            rows, arrival, self._settings.day_closes, TIME_COLUMNS.get(self._data_type)
        )
        lake = self._tenants.lake(tenant)
        lost: set[int] = set()
        for day in sorted(pc.unique(days).to_pylist()):
            part = marked.filter(pc.equal(days, pa.scalar(day, pa.date32())))
            lost |= self._put(lake, f"raw/{self._data_type}/dt={day}/{own.name}.parquet", part)
        return lost

    def _put(self, lake: Lake, path: str, rows: pa.Table) -> set[int]:
        """Offsets of rows that a file lacks which is there already.

        A range that is done again by a version with other rules may have such. The file stays: a
        second copy would have a new time of change, and a day built from it look outdated.
        """
        if lake.store.stat(path) is None:
            lake.store.put(path, _encoded(rows))
            return set()
        there = pq.read_table(io.BytesIO(lake.store.read(path)), columns=["_offset"])
        return set(rows["_offset"].to_pylist()) - set(there["_offset"].to_pylist())

    def _quarantine(self, own: Range, poison: Sequence[Poison]) -> None:
        by_tenant: dict[str, list[Poison]] = defaultdict(list)
        for one in poison:
            by_tenant[one.tenant].append(one)
        for tenant, found in by_tenant.items():
            lines = b"".join(orjson.dumps(_told(own, one)) + b"\n" for one in found)
            path = f"{QUARANTINE}/{self._data_type}/{own.name}.jsonl"
            store = self._tenants.store(tenant) if tenant else self._tenants.control
            store.put(path, lines)


def _told(own: Range, one: Poison) -> dict[str, Any]:
    return {
        "topic": own.topic,
        "partition": own.partition,
        "offset": one.record.offset,
        "code": one.reason,
        "headers": dict(one.record.headers),
        "value": one.record.value.decode("utf-8", "backslashreplace"),
    }


def _judged(
    documents: Documents,
    data_type: str,
    by: Deliveries,
    now: datetime,
    tables: list[pa.Table],
) -> tuple[dict[int, str], list[int]]:
    """First code by number of those that are broken, and the numbers of the good ones."""
    codes: dict[int, str] = {}
    try:
        ruled = judge_documents(documents, data_type, by, now)
    except Problem:
        # One of them holds up no other: each alone says what it is.
        if len(documents.rows) == 1:
            return {1: "not_json"}, []
        numbers: list[int] = []
        for number, row in enumerate(documents.rows, 1):
            alone = Documents([row], documents.names)
            found, single = _judged(alone, data_type, by, now, tables)
            codes |= dict.fromkeys([number] if found else [], found.get(1, "not_json"))
            numbers += [number] * len(single)
        return codes, numbers
    tables.append(ruled.rows)
    for fault in ruled.faults:
        codes.setdefault(fault.row, fault.code)
    return codes, ruled.numbers.tolist()


def _encoded(rows: pa.Table) -> bytes:
    sink = io.BytesIO()
    pq.write_table(rows, sink, compression="zstd", write_page_checksum=True)
    return sink.getvalue()
