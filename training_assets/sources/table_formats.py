"""Tables of Delta, Hudi and Iceberg as raw data: never read as a heap of files.

Folders of such tables hold files of older versions as well. Of a Delta table its current version
is read; what this reader does not know of it, and the other two formats, are refused by name. Only
the driver looks at a log: workers get the files.
"""

import re
from collections.abc import Callable, Collection, Iterable, Sequence
from functools import lru_cache
from typing import Final
from urllib.parse import unquote

import pyarrow as pa
from deltalake import DeltaTable
from deltalake.exceptions import DeltaError

from training_assets.errors import LakeFormatError, RawDataError
from training_assets.lake import Entry, Store
from training_assets.lake.base import first_line
from training_assets.lake.log import LOG, delta_uri
from training_assets.schemas import Table
from training_assets.sources.columns import printable
from training_assets.sources.layout import format_of, is_hidden
from training_assets.sources.names import plain_name
from training_assets.sources.reading import Reading

HUDI: Final = ".hoodie"
_ICEBERG: Final = re.compile(r"(?:^|/)metadata/[^/]+\.metadata\.json(?:\.gz)?$")
_COMMIT: Final = re.compile(r"(\d{20})\.(?:json|checkpoint\..+)")
# Those with which the rows of the current version are all rows of its files.
_FEATURES: Final = {"timestampNtz", "v2Checkpoint", "vacuumProtocolCheck", "deletionVectors"}
_MAPPED: Final = 2


def roots_of(hidden: Iterable[str]) -> set[str]:
    """Folders that are Delta tables, by the paths of hidden files or folders in them."""
    found = set()
    for path in hidden:
        names = path.split("/")
        if LOG in names:
            found.add("/".join(names[: names.index(LOG)]))
    return found


def refuse_others(place: str, paths: Iterable[str]) -> None:
    """Raise where one of the paths is of a table of Hudi or Iceberg."""
    for path in paths:
        name = None
        if HUDI in path.split("/"):
            name = "Hudi"
        elif _ICEBERG.search(path):
            name = "Iceberg"
        if name:
            raise RawDataError(
                f"{printable(f'{place}/{path}')}: the folder is a table of {name}, which is not "
                "read: its files hold rows of older versions too; expected files of rows, or a "
                f"Delta table. Deliver an export of the {name} table's current version."
            )


def version_of(log: Iterable[Entry]) -> int:
    """The newest version of which the log has a file; -1 where there is none."""
    found = (_COMMIT.fullmatch(entry.path.rpartition("/")[2]) for entry in log)
    return max((int(match[1]) for match in found if match), default=-1)


def current_files(store: Store, log: Sequence[Entry], table: Table, reading: Reading) -> set[str]:
    """Paths, below the Delta table's folder, of the files of the version that ``log`` lists.

    Raises ``RawDataError`` for a log that cannot be read, and for a table whose rows are not those
    of its files.
    """
    version = version_of(log)
    stamp = tuple((entry.path, entry.size, entry.etag or entry.modified_ns) for entry in log)
    paths, columns = _opened(store, version, stamp)
    _require_columns(store, table, reading, columns)
    return set(paths)


@lru_cache(256)
def _opened(
    store: Store, version: int, stamp: tuple[object, ...]
) -> tuple[frozenset[str], tuple[str, ...]]:
    """Files and partition columns; ``stamp`` tells a log from another one at the same place."""
    try:
        if version < 0:
            raise ValueError("the log has no version")
        delta = DeltaTable(delta_uri(store), version)
        _require_plain(store, delta)
        paths = [unquote(row["path"]) for row in _added(delta)]
    except (DeltaError, LakeFormatError, OSError, ValueError) as error:
        raise RawDataError(
            f"{_shown(store)}: the Delta table cannot be read ({first_line(error)}); expected its "
            f"log in {LOG} to be whole. Deliver the table again, or its rows as plain files."
        ) from error
    for path in paths:
        if path.startswith("/") or "://" in path:
            raise _refusal(store, f"its file {printable(path)} lies elsewhere (a shallow clone)")
    return frozenset(paths), tuple(delta.metadata().partition_columns)


def _added(delta: DeltaTable) -> list[dict[str, str]]:
    added = pa.RecordBatchReader.from_stream(delta.get_add_actions()).read_all()
    found: list[dict[str, str]] = added.select(["path"]).to_pylist()
    return found


def _require_plain(store: Store, delta: DeltaTable) -> None:
    protocol = delta.protocol()
    features = set(protocol.reader_features or ())
    mapping = delta.metadata().configuration.get("delta.columnMapping.mode", "none")
    if mapping != "none":
        raise _refusal(store, f"its columns are mapped by {mapping} (delta.columnMapping.mode)")
    if other := sorted(features - _FEATURES - {"columnMapping"}):
        raise _refusal(store, f"it needs {', '.join(other)}")
    if "deletionVectors" in features:
        vectors = pa.RecordBatchReader.from_stream(delta.deletion_vectors()).read_all()
        if len(vectors):
            raise _refusal(store, "rows of its files are deleted by deletion vectors")


def _require_columns(
    store: Store, table: Table, reading: Reading, partitions: Collection[str]
) -> None:
    """Partition columns stand in the log, not in the files: only the folder's day is read there."""
    own = {plain_name(name) for c in table.columns for name in (c.name, *c.aliases)}
    own |= {plain_name(path[0]) for path in reading.paths.values()}
    own |= {plain_name(name) for name in reading.where}
    own -= {plain_name(table.day_column), "dt"}
    if found := [name for name in partitions if plain_name(name) in own]:
        raise _refusal(store, f"it is partitioned by {', '.join(found)}, a column that is read")


def _refusal(store: Store, reason: str) -> RawDataError:
    return RawDataError(
        f"{_shown(store)}: the Delta table is not read, for {reason}; expected one whose current "
        "rows are all the rows of its current files. Write it anew without that (by REORG, or as "
        "a copy), or deliver its rows as plain files."
    )


def of_version(
    place: str,
    paths: Sequence[str],
    versions: dict[str, set[str]],
    is_meant: Callable[[str], bool],
) -> list[str]:
    """Of the paths those that are in the current version of every Delta table they lie in.

    ``versions`` are the files of each table by its folder, ``is_meant`` says which files should be
    among the paths. Raises ``RawDataError`` for one that is not, and for a file that cannot be of
    a Delta table: its rows would be missing without a word.
    """
    present = set(paths)
    whole = {root: {_join(root, file) for file in files} for root, files in versions.items()}
    for root, files in whole.items():
        if lost := sorted(path for path in files - present if is_meant(path)):
            where = printable(f"{place}/{lost[0]}")
            hint = "a name that begins with _ or . is not read; " if _is_hidden(lost[0]) else ""
            raise RawDataError(
                f"{where}: the file is in the current version of the Delta table "
                f"{printable(f'{place}/{root}')}, but was not found; {hint}expected all files of "
                "that version. Run again if the table was written meanwhile, or deliver it again."
            )
    kept = []
    for path in paths:
        inside = [root for root in whole if not root or path.startswith(f"{root}/")]
        if all(path in whole[root] for root in inside):
            kept.append(path)
        elif format_of(path) not in (None, "parquet"):
            raise RawDataError(
                f"{printable(f'{place}/{path}')}: the file lies in a Delta table without being of "
                "it; expected only what the table's writers put there. Move it away."
            )
    return kept


def _join(root: str, path: str) -> str:
    return f"{root}/{path}" if root else path


def _is_hidden(path: str) -> bool:
    return any(is_hidden(name) for name in path.split("/"))


def _shown(store: Store) -> str:
    return printable(store.url)
