"""What a lake has published, found without reading a row: manifests, files and Parquet footers.

Reads ``<lake>/<table>/dt=YYYY-MM-DD/_day.json`` and the footers of the ``*.parquet`` beside it.
A day is published exactly when its folder holds ``_day.json``. Names that start with ``_`` or
``.`` are never data.
"""

import json
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any, Final

import pyarrow as pa
import pyarrow.fs as pafs
import pyarrow.parquet as pq

from training_assets.errors import DayNotPublishedError, SchemaError
from training_assets.schemas import SCHEMA_VERSION, TABLES

Location = str | os.PathLike[str] | tuple[pafs.FileSystem, str]

Stamp = tuple[int | None, int | None]

MANIFEST_NAME: Final = "_day.json"
_MAX_LOOKS: Final = 5
_DAY_FOLDER: Final = re.compile(r"dt=\d{4}-\d{2}-\d{2}")


@dataclass(frozen=True)
class DayManifest:
    """What ``_day.json`` says of one day of one table.

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
    def from_json(cls, content: bytes, *, where: str) -> "DayManifest":
        """Raises SchemaError naming the file and the key that is missing or of a wrong type."""
        try:
            manifest = json.loads(content)
            settings = manifest["settings"]
            upstream = manifest.get("built_from", {}).get("upstream", {})
            lookback_days = settings["lookback_days"]
            return cls(
                table=str(manifest["table"]),
                dt=date.fromisoformat(manifest["dt"]),
                rows=int(manifest["rows"]),
                schema_version=int(manifest["schema_version"]),
                history_length=int(settings["history_length"]),
                lookback_days=None if lookback_days is None else int(lookback_days),
                content=manifest.get("content"),
                history_content=upstream.get("customer_history", {}).get(manifest["dt"]),
            )
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise SchemaError(
                f"{where}: not a manifest of this version ({type(error).__name__}: {error}); "
                "expected table, dt, rows, schema_version and settings with history_length and "
                "lookback_days. Publish the day again."
            ) from error


@dataclass(frozen=True)
class Lake:
    """A folder on any pyarrow filesystem."""

    filesystem: pafs.FileSystem
    root: str

    @classmethod
    def at(cls, location: "Location | Lake") -> "Lake":
        """From a local path, a URI such as ``s3://bucket/lake``, or ``(filesystem, path)``."""
        if isinstance(location, Lake):
            return location
        if isinstance(location, tuple):
            filesystem, root = location
            return cls(filesystem, root.rstrip("/"))
        path = os.fspath(location)
        if "://" in path:
            filesystem, root = pafs.FileSystem.from_uri(path)
            return cls(filesystem, root.rstrip("/"))
        return cls(pafs.LocalFileSystem(), os.path.abspath(path))

    def day_folder(self, table: str, dt: date) -> str:
        return f"{self.root}/{table}/dt={dt.isoformat()}"

    def stamp(self, path: str) -> "Stamp":
        """(bytes, modification time in ns), which another file of that name does not have."""
        info = self.filesystem.get_file_info(path)
        return info.size, info.mtime_ns

    def read(self, path: str) -> bytes:
        with self.filesystem.open_input_stream(path) as stream:
            return bytes(stream.read())


@dataclass(frozen=True)
class DayFiles:
    """One published day of one table: its manifest, and its files in name order with footers.

    ``stamps`` tell a file that was replaced since.
    """

    lake: Lake
    manifest: DayManifest
    paths: tuple[str, ...]
    stamps: tuple[Stamp, ...]
    footers: tuple[pq.FileMetaData, ...]

    @property
    def where(self) -> str:
        return f"{self.manifest.table} of {self.manifest.dt}"

    @property
    def num_rows(self) -> int:
        return sum(footer.num_rows for footer in self.footers)

    def open(self, index: int, **options: Any) -> pq.ParquetFile:
        """The file at ``paths[index]``, its footer not read again.

        Raises DayNotPublishedError when it is no longer the file whose footer was read.
        """
        path = self.paths[index]
        try:
            file = pq.ParquetFile(
                path, filesystem=self.lake.filesystem, metadata=self.footers[index], **options
            )
        except FileNotFoundError:
            file = None
        # Looked at when it is open already: what the path leads to now, it led to then.
        if file is None or self.lake.stamp(path) != self.stamps[index]:
            raise DayNotPublishedError(
                f"{self.where}: {path} is {_in_words(self.lake.stamp(path))}; expected "
                f"{_in_words(self.stamps[index])}, as when the day was opened. Was the day "
                "published anew? Open it again."
            )
        return file

    def empty(self, columns: Sequence[str]) -> pa.Table:
        """No rows, of the types the table should have; for a day without files."""
        schema = TABLES[self.manifest.table].arrow_schema
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


def published_days(location: Location | Lake, *, table: str = "training_input") -> list[date]:
    """Days of ``table`` that the lake has published, oldest first."""
    lake = Lake.at(location)
    listing = lake.filesystem.get_file_info(
        pafs.FileSelector(f"{lake.root}/{table}", allow_not_found=True, recursive=True)
    )
    folders = (info.path.split("/")[-2] for info in listing if info.base_name == MANIFEST_NAME)
    return sorted(date.fromisoformat(name[3:]) for name in folders if _DAY_FOLDER.fullmatch(name))


def open_day(lake: Lake, table: str, dt: date, *, columns: Sequence[str]) -> DayFiles:
    """Manifest and footers of one day, checked against ``schemas`` before any row is read.

    Raises DayNotPublishedError when the day has no manifest or fewer or more rows than its
    manifest says, SchemaError when one of ``columns`` is missing or has another type, or when
    the day was written under another schema version.
    """
    manifest_path = f"{lake.day_folder(table, dt)}/{MANIFEST_NAME}"
    for _ in range(_MAX_LOOKS):
        stamp = lake.stamp(manifest_path)
        try:
            found = _open_day(lake, table, dt, columns)
        except (OSError, DayNotPublishedError, SchemaError):
            if lake.stamp(manifest_path) == stamp:
                raise
            continue
        # A day that was published anew meanwhile may be half the one and half the other.
        if lake.stamp(manifest_path) == stamp:
            return found
    raise DayNotPublishedError(
        f"{table} of {dt}: the day was published anew {_MAX_LOOKS} times while it was opened; "
        "expected it to stand still. Wait for the runs that build it, then open it again."
    )


def _open_day(lake: Lake, table: str, dt: date, columns: Sequence[str]) -> DayFiles:
    manifest = _read_manifest(lake, table, dt)
    listing = lake.filesystem.get_file_info(pafs.FileSelector(lake.day_folder(table, dt)))
    found = sorted((info for info in listing if _is_data(info)), key=lambda info: info.path)
    paths = tuple(info.path for info in found)
    stamps = tuple((info.size, info.mtime_ns) for info in found)
    footers = tuple(pq.read_metadata(path, filesystem=lake.filesystem) for path in paths)
    files = DayFiles(lake, manifest, paths, stamps, footers)
    for path, footer in zip(paths, footers, strict=True):
        _check_columns(f"{table} of {dt} ({path})", table, footer, columns)
    if files.num_rows != manifest.rows:
        raise DayNotPublishedError(
            f"{files.where}: {len(paths)} files hold {files.num_rows} rows; expected the "
            f"{manifest.rows} rows of its manifest. Publish the day again, or copy it in full."
        )
    return files


def _read_manifest(lake: Lake, table: str, dt: date) -> DayManifest:
    path = f"{lake.day_folder(table, dt)}/{MANIFEST_NAME}"
    if lake.filesystem.get_file_info(path).type != pafs.FileType.File:
        days = published_days(lake, table=table)
        held = f"{len(days)} days, {days[0]} to {days[-1]}" if days else "no day"
        raise DayNotPublishedError(
            f"{table} of {dt}: the day is not published, {path} is absent; expected one of the "
            f"published days ({held}). Materialise the day, or ask for others."
        )
    manifest = DayManifest.from_json(lake.read(path), where=path)
    if (manifest.table, manifest.dt) != (table, dt):
        raise SchemaError(
            f"{path}: the manifest is of {manifest.table} of {manifest.dt}; expected {table} of "
            f"{dt}. Was the folder copied from elsewhere? Publish the day again."
        )
    if manifest.schema_version != SCHEMA_VERSION:
        raise SchemaError(
            f"{table} of {dt}: schema version {manifest.schema_version}; expected "
            f"{SCHEMA_VERSION}. Publish the day again with this version of training_assets."
        )
    return manifest


def _check_columns(where: str, table: str, footer: pq.FileMetaData, columns: Sequence[str]) -> None:
    found = footer.schema.to_arrow_schema()
    expected = TABLES[table].arrow_schema
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


def _in_words(stamp: Stamp) -> str:
    size, mtime_ns = stamp
    return "absent" if size is None else f"of {size} bytes and {mtime_ns} ns"


def _is_data(info: pafs.FileInfo) -> bool:
    return (
        info.type == pafs.FileType.File
        and info.base_name.endswith(".parquet")
        and not info.base_name.startswith(("_", "."))
    )


def _column_chunks(group: pq.RowGroupMetaData, column: str) -> list[pq.ColumnChunkMetaData]:
    chunks = [group.column(index) for index in range(group.num_columns)]
    return [chunk for chunk in chunks if chunk.path_in_schema.split(".")[0] == column]


def _chunk_bytes(group: pq.RowGroupMetaData, column: str) -> int:
    return sum(chunk.total_compressed_size for chunk in _column_chunks(group, column))
