"""What a lake has published, found without reading a row: a version of it, manifests and footers.

All days are read from one version of each table, whatever is published meanwhile: files of a
version stay for days after they were replaced (``training-assets vacuum``).
"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime
from typing import Any, Final, Literal

import pyarrow as pa
import pyarrow.parquet as pq

from training_assets.errors import (
    DayNotPublishedError,
    SchemaError,
    SettingsError,
    ValidationError,
)
from training_assets.lake import Lake, Snapshot, open_snapshot
from training_assets.list_format import SealedParquet
from training_assets.schemas import (
    CUSTOMER_HISTORY,
    READABLE_VERSIONS,
    TRAINING_INPUT,
    TRAINING_SAMPLES,
    Table,
)

Location = str | os.PathLike[str]
AsOf = int | datetime | str
TableName = Literal["training_input", "customer_history", "training_samples"]

_TABLES: Final[Mapping[str, Table]] = {
    t.name: t for t in (TRAINING_INPUT, CUSTOMER_HISTORY, TRAINING_SAMPLES)
}
_MAX_VERSIONS_BACK: Final = 100


@dataclass(frozen=True)
class DayManifest:
    """What the manifest says of one day of one table.

    ``content`` is a hash of the day's data; ``history_content`` how that of the histories began
    that a day of training_input was built from. Both are None where the writer did not say.
    """

    table: str
    dt: date
    rows: int
    schema_version: int
    history_length: int
    lookback_days: int | None
    content: str | None = None
    history_content: str | None = None

    @classmethod
    def of(cls, manifest: Mapping[str, Any], content: str, *, where: str) -> "DayManifest":
        """Raises SchemaError naming the manifest and the key that is missing or of a wrong type."""
        try:
            settings = manifest["settings"]
            upstream = manifest.get("built_from", {}).get("upstream", {})
            lookback_days = settings["lookback_days"]
            # Samples have no histories.
            length = 0 if manifest["table"] == TRAINING_SAMPLES.name else settings["history_length"]
            return cls(
                table=str(manifest["table"]),
                dt=date.fromisoformat(manifest["dt"]),
                rows=int(manifest["rows"]),
                schema_version=int(manifest["schema_version"]),
                history_length=int(length),
                lookback_days=None if lookback_days is None else int(lookback_days),
                content=content,
                history_content=upstream.get("customer_history", {}).get(manifest["dt"]),
            )
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise SchemaError(
                f"{where}: not a manifest of this version ({type(error).__name__}: {error}); "
                "expected table, dt, rows, schema_version and settings with history_length and "
                "lookback_days. Publish the day again."
            ) from error


@dataclass(frozen=True)
class DayFiles:
    """One published day of one table: its manifest, and its files in name order with footers.

    ``paths`` are what is opened: local paths, or URLs.
    """

    manifest: DayManifest
    paths: tuple[str, ...]
    footers: tuple[pq.FileMetaData, ...]

    @property
    def where(self) -> str:
        return f"{self.manifest.table} of {self.manifest.dt}"

    @property
    def num_rows(self) -> int:
        return sum(footer.num_rows for footer in self.footers)

    def open(self, index: int) -> SealedParquet:
        """The file at ``paths[index]``; what is read of it is compared with its checksums.

        Raises DayNotPublishedError where it is gone.
        """
        return _open(self.where, self.paths[index])

    def empty(self, columns: Sequence[str]) -> pa.Table:
        """No rows, of the types the table should have; for a day without files."""
        schema = _TABLES[self.manifest.table].arrow_schema
        return pa.schema([schema.field(column) for column in columns]).empty_table()

    def num_values(self, column: str) -> int:
        """Upper bound on the values of an array column; an empty array counts as one."""
        return sum(chunk.num_values for chunk in self._chunks(column))

    def largest_chunk_bytes(self, columns: Sequence[str]) -> int:
        """Compressed bytes of these columns in the largest row group."""
        return max(
            (
                sum(_chunk_bytes(footer.row_group(group), column) for column in columns)
                for footer in self.footers
                for group in range(footer.num_row_groups)
            ),
            default=0,
        )

    def _chunks(self, column: str) -> list[pq.ColumnChunkMetaData]:
        return [
            chunk
            for footer in self.footers
            for group in range(footer.num_row_groups)
            for chunk in _column_chunks(footer.row_group(group), column)
        ]


@dataclass(frozen=True)
class Published:
    """One version of both tables of a lake; of samples, which are one table, twice the same."""

    rows: Snapshot
    histories: Snapshot

    @classmethod
    def at(
        cls, location: Location, as_of: AsOf | None = None, table: TableName = "training_input"
    ) -> "Published":
        """The newest version, that of a time, or that number of ``table``.

        Rows are looked up first, so that the histories are at least as new. Raises
        DayNotPublishedError for a version that is gone, SettingsError for what names none.
        """
        lake, wanted = Lake.at(location), _parsed(as_of)
        rows = lake.snapshot(table, wanted)
        if table == TRAINING_SAMPLES.name:
            return cls(rows, rows)
        of_histories = wanted if isinstance(wanted, datetime) else None
        return cls(rows, lake.snapshot(CUSTOMER_HISTORY.name, of_histories))

    @classmethod
    def of_versions(cls, location: Location, versions: Mapping[str, int]) -> "Published":
        lake = Lake.at(location)
        if TRAINING_SAMPLES.name in versions:
            rows = lake.snapshot(TRAINING_SAMPLES.name, versions[TRAINING_SAMPLES.name])
            return cls(rows, rows)
        rows, histories = (
            lake.snapshot(name, versions[name])
            for name in (TRAINING_INPUT.name, CUSTOMER_HISTORY.name)
        )
        return cls(rows, histories)

    @property
    def versions(self) -> dict[str, int]:
        """By table, for ``of_versions``."""
        return {found.table: found.version for found in (self.rows, self.histories)}

    def of(self, table: TableName) -> Snapshot:
        return self.rows if table == TRAINING_INPUT.name else self.histories

    def fitting(self, days: Sequence[date]) -> "Published":
        """With the newest histories that the rows of all the days were built from.

        A run commits histories first and rows afterwards, so the newest may already be newer.
        Returns itself where no version fits; ``open_for_reading`` says so by day.
        """
        published = [day for day in days if day in self.rows.files]
        manifests = _manifests(self.rows, published)
        wanted = {d: c for d, found in manifests.items() if (c := _built_from(found, d))}
        if self._fit(self.histories, wanted):
            return self
        store, newest = self.histories.store, self.histories.version
        for version in range(newest - 1, max(-1, newest - _MAX_VERSIONS_BACK), -1):
            try:
                older = open_snapshot(store, CUSTOMER_HISTORY.name, version)
            except DayNotPublishedError:
                break
            if self._fit(older, wanted):
                return replace(self, histories=older)
        return self

    @staticmethod
    def _fit(histories: Snapshot, wanted: Mapping[date, str]) -> bool:
        return all(
            day in histories.files and histories.content(day).startswith(content)
            for day, content in wanted.items()
        )


def _built_from(manifest: Mapping[str, Any], day: date) -> str | None:
    upstream = manifest.get("built_from", {}).get("upstream", {})
    found = upstream.get(CUSTOMER_HISTORY.name, {}).get(str(day))
    return str(found) if found else None


def _parsed(as_of: AsOf | None) -> int | datetime | None:
    if not isinstance(as_of, str):
        return as_of
    try:
        return datetime.fromisoformat(as_of)
    except ValueError:
        raise SettingsError(
            f"loader: as_of is {as_of!r}; expected a version number, or a time as "
            "YYYY-MM-DDTHH:MM:SS (UTC). Correct it."
        ) from None


def published_days(location: Location, *, table: TableName = "training_input") -> list[date]:
    """Days of ``table`` that the lake has published, oldest first."""
    return Lake.at(location).days(table)


def open_day(snapshot: Snapshot, dt: date, *, columns: Sequence[str]) -> DayFiles:
    """Manifest and footers of one day, checked against ``schemas`` before any row is read.

    Raises DayNotPublishedError when the day is not published or has fewer or more rows than its
    manifest says, SchemaError when one of ``columns`` is missing or has another type, or when
    the day was written under another schema version.
    """
    manifest = _read_manifest(snapshot, dt)
    where = f"{snapshot.table} of {dt}"
    paths = tuple(snapshot.uris(dt))
    footers = tuple(_open(where, path).metadata for path in paths)
    files = DayFiles(manifest, paths, footers)
    for path, footer in zip(paths, footers, strict=True):
        _check_columns(f"{where} ({path})", _TABLES[snapshot.table], footer, columns)
    if files.num_rows != manifest.rows:
        raise DayNotPublishedError(
            f"{files.where}: {len(paths)} files hold {files.num_rows} rows; expected the "
            f"{manifest.rows} rows of its manifest. Publish the day again."
        )
    return files


def _open(where: str, path: str) -> SealedParquet:
    try:
        return SealedParquet(path)
    except FileNotFoundError:
        raise _gone(where, path) from None


def _gone(where: str, path: str) -> DayNotPublishedError:
    return DayNotPublishedError(
        f"{where}: {path} is gone; expected the files of a published version to stay for days. "
        "Did a vacuum remove them? Open the days again, or materialize them anew."
    )


def _manifests(snapshot: Snapshot, days: Sequence[date]) -> dict[date, dict[str, Any]]:
    """Of published days; raises DayNotPublishedError where a vacuum has removed one."""
    try:
        return snapshot.manifests(days)
    except ValidationError:
        for day in days:
            path = snapshot.manifest_path(day)
            if snapshot.store.stat(path) is None:
                raise _gone(f"{snapshot.table} of {day}", path) from None
        raise


def _read_manifest(snapshot: Snapshot, dt: date) -> DayManifest:
    table = snapshot.table
    if dt not in snapshot.files:
        days = snapshot.days
        held = f"{len(days)} days, {days[0]} to {days[-1]}" if days else "no day"
        raise DayNotPublishedError(
            f"{table} of {dt}: the day is not published under {snapshot.store.url}; expected one "
            f"of the published days ({held}). Materialize the day, or ask for others."
        )
    where = f"{table} of {dt} ({snapshot.manifest_path(dt)})"
    manifest = DayManifest.of(_manifests(snapshot, [dt])[dt], snapshot.content(dt), where=where)
    if (manifest.table, manifest.dt) != (table, dt):
        raise SchemaError(
            f"{where}: the manifest is of {manifest.table} of {manifest.dt}; expected {table} of "
            f"{dt}. Was it copied from elsewhere? Publish the day again."
        )
    if manifest.schema_version not in READABLE_VERSIONS:
        versions = " or ".join(map(str, READABLE_VERSIONS))
        raise SchemaError(
            f"{table} of {dt}: schema version {manifest.schema_version}; expected {versions}. "
            "Publish the day again with this version of training_assets."
        )
    return manifest


def _check_columns(
    where: str, table: Table, footer: pq.FileMetaData, columns: Sequence[str]
) -> None:
    found = footer.schema.to_arrow_schema()
    expected = table.arrow_schema
    for column in columns:
        if column not in found.names:
            raise SchemaError(
                f"{where}: column {column} is missing, found {', '.join(found.names)}; expected "
                f"{column} {expected.field(column).type}. Publish the day again."
            )
        if not _is_same_type(found.field(column).type, expected.field(column).type):
            raise SchemaError(
                f"{where}: column {column} is {found.field(column).type}; expected "
                f"{expected.field(column).type}. Publish the day again."
            )


def _is_same_type(found: pa.DataType, expected: pa.DataType) -> bool:
    """Equal up to the width of offsets and the name of a list's element: writers differ there."""
    if pa.types.is_list(expected):
        is_list = pa.types.is_list(found) or pa.types.is_large_list(found)
        return is_list and found.value_type == expected.value_type
    if pa.types.is_string(expected):
        return pa.types.is_string(found) or pa.types.is_large_string(found)
    return bool(found == expected)


def _column_chunks(group: pq.RowGroupMetaData, column: str) -> list[pq.ColumnChunkMetaData]:
    chunks = [group.column(index) for index in range(group.num_columns)]
    return [chunk for chunk in chunks if chunk.path_in_schema.split(".")[0] == column]


def _chunk_bytes(group: pq.RowGroupMetaData, column: str) -> int:
    return sum(chunk.total_compressed_size for chunk in _column_chunks(group, column))
