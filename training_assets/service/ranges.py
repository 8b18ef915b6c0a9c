"""The files of a range of records: a pure function of the records, so that it may be done twice.

Good rows go to ``raw/<type>/dt=D/<range>.parquet`` of their tenant; a record that is no row, or
breaks a rule, to ``service/quarantine/<type>/<range>.jsonl`` and to ``<topic>.dlq``. The time of
arrival is that of the record, by the broker, so it is the same each time.
"""

import io
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

import orjson
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from training_assets.lake import Lake
from training_assets.service.claims import Range
from training_assets.service.judging import TIME_COLUMNS, judge_documents
from training_assets.service.landing import ARRIVAL_COLUMN, DAY_COLUMN, open_days
from training_assets.service.problems import Problem
from training_assets.service.settings import ServiceSettings
from training_assets.service.tenants import DEFAULT, Tenants
from training_assets.service.topics import EVENT_HEADER, TENANT_HEADER

QUARANTINE: Final = "quarantine"
_ID_COLUMN: Final = {"interactions": "interaction_id"}
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
        rows = 0
        for tenant, found in by_tenant.items():
            landed = self._write_tenant(own, tenant, found)
            rows += landed.rows
            poison += landed.poison
        self._quarantine(own, poison)
        return Landed(rows, poison)

    def _tenant(self, record: Record) -> str | None:
        given = record.headers.get(TENANT_HEADER)
        if given is None:
            return None if self._tenants.are_many else DEFAULT
        return given if self._tenants.knows(given) else None

    def _write_tenant(self, own: Range, tenant: str, records: Sequence[Record]) -> Landed:
        documents = [self._document(record) for record in records]
        newest = datetime.fromtimestamp(max(r.at_ms for r in records) / 1000, UTC)
        tables: list[pa.Table] = []
        errors, numbers = _judged(documents, self._data_type, self._settings, newest, tables)
        good = set(numbers)
        poison = [
            Poison(record, errors.get(number, "not_json"), tenant)
            for number, record in enumerate(records, 1)
            if number not in good
        ]
        if numbers:
            kept = [records[number - 1] for number in numbers]
            self._write_days(own, tenant, pa.concat_tables(tables), kept)
        return Landed(len(numbers), poison)

    def _document(self, record: Record) -> bytes:
        """With the id of the event, by which a second delivery of it is told."""
        column = _ID_COLUMN.get(self._data_type)
        event_id = record.headers.get(EVENT_HEADER)
        if column is None or not event_id or f'"{column}"'.encode() in record.value:
            return record.value
        try:
            row = orjson.loads(record.value)
        except orjson.JSONDecodeError:
            return record.value
        if not isinstance(row, dict):
            return record.value
        return orjson.dumps({**row, column: event_id})

    def _write_days(
        self, own: Range, tenant: str, rows: pa.Table, records: Sequence[Record]
    ) -> None:
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
        for day in sorted(pc.unique(days).to_pylist()):
            part = marked.filter(pc.equal(days, pa.scalar(day, pa.date32())))
            self._put(lake, f"raw/{self._data_type}/dt={day}/{own.name}.parquet", _encoded(part))

    def _put(self, lake: Lake, path: str, content: bytes) -> None:
        # A second copy would have a new time of change, and a day built from it look outdated.
        if lake.store.stat(path) is None:
            lake.store.put(path, content)

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
    documents: Sequence[bytes],
    data_type: str,
    settings: ServiceSettings,
    now: datetime,
    tables: list[pa.Table],
) -> tuple[dict[int, str], list[int]]:
    """First code by number of those that are broken, and the numbers of the good ones."""
    codes: dict[int, str] = {}

    def keep(number: int, code: str) -> None:
        codes.setdefault(number, code)

    try:
        _, numbers = judge_documents(
            documents, data_type, settings, now, tables, refuses_repeated=False, told=keep
        )
    except Problem:
        # Nothing in it can be read; each alone says why.
        if len(documents) == 1:
            return {1: "not_json"}, []
        tables.clear()
        numbers = []
        for number, document in enumerate(documents, 1):
            found, own = _judged([document], data_type, settings, now, tables)
            codes.update(dict.fromkeys([number] if found else [], found.get(1, "not_json")))
            numbers += [number] * len(own)
    return codes, numbers


def _encoded(rows: pa.Table) -> bytes:
    sink = io.BytesIO()
    pq.write_table(rows, sink, compression="zstd", write_page_checksum=True)
    return sink.getvalue()
