"""Raw days in the cold tier of a local lake, which readers find as if they still lay under raw.

    <lake>/archive/<table>/dt=D/<file>.zst       text, as it was, packed with zstd
    <lake>/archive/<table>/dt=D/<file>           Parquet, written anew with zstd; others as they are
    <lake>/archive/<table>/dt=D/_archived.json   name, size and time that each file had under raw

A day that is archived keeps its fingerprint, so nothing that was built from it is out of date. A
file is removed from raw only after what lies in the archive has been read and found the same.
"""

import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import IO, Any, Final, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from training_assets.errors import RawDataError
from training_assets.lake import LocalStore
from training_assets.lake.log import LOG
from training_assets.sources.opening import open_parquet

ARCHIVE: Final = "archive"
INDEX: Final = "_archived.json"
_BLOCK: Final = 8 << 20
_LEVEL: Final = 9
_PACKED: Final = (".gz", ".zst", ".bz2")


class Archived(NamedTuple):
    """A file: its path under ``archive/<table>/dt=D``, and size and time that it had under raw."""

    path: str
    size: int
    modified_ns: int


def archive_of(raw: LocalStore, table: str) -> LocalStore:
    """Where the archived days of a raw table lie; ``raw`` is the store of the lake's raw folder."""
    return LocalStore(raw.root.parent / ARCHIVE / table)


def archived_days(archive: LocalStore) -> set[date]:
    """Days that were archived whole."""
    found = set()
    for index in archive.root.glob(f"dt=????-??-??/{INDEX}"):
        found.add(date.fromisoformat(index.parent.name.removeprefix("dt=")))
    return found


def archived_files(archive: LocalStore, day: date) -> dict[str, Archived] | None:
    """By the path under ``raw/<table>``; None for a day that is not archived."""
    try:
        found = json.loads(archive.read(f"dt={day}/{INDEX}"))
        return {name: Archived(*entry) for name, entry in found["files"].items()}
    except FileNotFoundError:
        return None
    except (ValueError, TypeError, KeyError) as error:
        raise RawDataError(
            f"{archive.uri(f'dt={day}/{INDEX}')}: the index of the archived day is damaged "
            f"({error}); expected JSON with files. Put it back from a copy."
        ) from None


def archive_day(raw: LocalStore, table: str, day: date, folders: tuple[str, ...]) -> int:
    """Move the day's files to the archive; the bytes that this saves.

    ``folders`` are those of the day under ``raw/<table>``. A day that was archived before keeps
    what is there, but for files that were delivered again.
    """
    archive, base = archive_of(raw, table), raw.root / table
    for log in (base / LOG, *(log for f in folders for log in (base / f).rglob(LOG))):
        if log.is_dir():
            # Without its log its older versions would be read as well.
            raise RawDataError(
                f"{log.parent}: the raw day {day} lies in a Delta table, which is not archived; "
                "expected plain files. Leave it under raw."
            )
    known = archived_files(archive, day) or {}
    saved = 0
    for path in _files(base, folders):
        name, before = path.relative_to(base).as_posix(), path.stat()
        target = archive.root / f"dt={day}" / "/".join(name.split("/")[1:])
        target.parent.mkdir(parents=True, exist_ok=True)
        written = _pack(path, target)
        known[name] = Archived(
            written.relative_to(archive.root / f"dt={day}").as_posix(),
            before.st_size,
            before.st_mtime_ns,
        )
        saved += before.st_size - written.stat().st_size
    archive.sync(f"dt={day}/{entry.path}" for entry in known.values())
    index = json.dumps({"files": known}, indent=1, sort_keys=True) + "\n"
    archive.put(f"dt={day}/{INDEX}", index.encode())
    for folder in folders:
        if (base / folder).is_dir():
            shutil.rmtree(base / folder)
    return saved


def _files(base: Path, folders: tuple[str, ...]) -> Iterator[Path]:
    for folder in folders:
        for path in sorted((base / folder).rglob("*")):
            hidden = any(part.startswith(("_", ".")) for part in path.relative_to(base).parts)
            if path.is_file() and not hidden:
                yield path


def _pack(source: Path, target: Path) -> Path:
    """The file at or beside ``target``, packed where that makes it smaller, and read back."""
    if source.suffix.lower() == ".parquet":
        packed = target.with_name(f".packing-{target.name}")
        if _rewrite(source, packed) and packed.stat().st_size < source.stat().st_size:
            return _in_place(packed, target)
    elif source.suffix.lower() not in _PACKED:
        packed = target.with_name(f".packing-{target.name}.zst")
        codec = pa.Codec("zstd", _LEVEL)
        with source.open("rb") as raw, packed.open("wb") as out:
            # Frames one after the other are one packed file.
            while block := raw.read(_BLOCK):
                out.write(codec.compress(block, asbytes=True))
        with source.open("rb") as raw, pa.CompressedInputStream(str(packed), "zstd") as read:
            if _digest(raw) == _digest(read):
                return _in_place(packed, target.with_name(f"{target.name}.zst"))
    else:
        packed = target
    if packed != target:
        packed.unlink(missing_ok=True)
    copy = target.with_name(f".packing-{target.name}")
    shutil.copyfile(source, copy)
    return _in_place(copy, target)


def _in_place(packed: Path, target: Path) -> Path:
    os.replace(packed, target)
    return target


def _rewrite(source: Path, target: Path) -> bool:
    """Write a Parquet file anew; whether it then has the same rows and types."""
    try:
        old = open_parquet(str(source))
        with pq.ParquetWriter(
            target, old.schema_arrow, compression="zstd", compression_level=_LEVEL
        ) as writer:
            for group in range(old.num_row_groups):
                writer.write_table(old.read_row_group(group, use_threads=False))
        new = open_parquet(str(target))
        return bool(new.num_row_groups == old.num_row_groups) and all(
            _same(old, new, group) for group in range(old.num_row_groups)
        )
    except (pa.ArrowException, OSError, ValueError):
        return False


def _same(old: pq.ParquetFile, new: pq.ParquetFile, group: int) -> bool:
    before, after = (f.read_row_group(group, use_threads=False) for f in (old, new))
    return bool(before.schema.equals(after.schema) and before.equals(after))


def _digest(file: IO[Any] | pa.NativeFile) -> bytes:
    found = hashlib.blake2b()
    while block := file.read(_BLOCK):
        found.update(block)
    return found.digest()
