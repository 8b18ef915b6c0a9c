"""What features fold, kept so that a day does not read a year of actions.

    <lake>/_feature_state/<hash of what it was made from>/part-00000-<hash>-<run>.parquet
                                                         /state.json   put last: it is whole

A stretch of days is kept as what its actions come to: per customer, per item, or per pair of both.
Stretches are only ever added up, never taken from each other, so minima, distinct counts and sums
are the same whichever way they were put together. It is a cache: found only by the very content of
the days that it was made from, so it cannot disagree with them, whatever is late or built again,
and it may be deleted at any time.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import cached_property
from typing import Any, Final, TypeVar

import pyarrow as pa
from pyspark.sql import DataFrame
from pyspark.sql import functions as F
from pyspark.sql import types as T
from pyspark.sql.pandas.types import to_arrow_schema

from training_assets.kernels import STATE_FILES_DDL, Written, read_state
from training_assets.lake import Lake, Store
from training_assets.lake.snapshot import Snapshot
from training_assets.provenance import hash_of, window_days
from training_assets.schemas import UNIFIED_ACTIONS
from training_assets.tables.build import Build, day_of, number_of

STATE: Final = "_feature_state"
_SEAL: Final = "state.json"
_VERSION: Final = 1
# Runs that make many days, or have few of actions, are faster with one look at all actions. An
# engine then holds some 200 bytes per action and day that it counts for.
_MAX_SCANNED: Final = 15_000_000
_MIN_DAYS: Final = 64
_MAX_DAYS: Final = 3
# Kinds that begin so are of cores of windows, of which only the newest are of use.
PAIRS: Final = "pairs"
_KEPT_CORES: Final = 2
# An engine that holds in memory what it works on takes some 200 bytes for each.
_ACTIONS_PER_CORE: Final = 3_000_000

Piece = TypeVar("Piece")


@dataclass(frozen=True, eq=False)
class Stretch:
    """Days ``first`` up to ``end`` (not included, since 1970-01-01) of one ``kind`` of state.

    ``contents`` are of the published days in it, ``definition`` is how it is computed. Those made
    from the same are equal.
    """

    kind: str
    first: int
    end: int
    contents: Mapping[date, Any]
    definition: Any = None

    @classmethod
    def of(
        cls, kind: str, first: int, end: int, window: Mapping[date, Any], definition: Any = None
    ) -> "Stretch":
        """With the contents of those days of the window that lie in it."""
        found = {d: c for d, c in sorted(window.items()) if first <= number_of(d) < end}
        return cls(kind, first, end, found, definition)

    @cached_property
    def hash(self) -> str:
        """Of what it is made from; the name of its folder."""
        days = [[str(day), content] for day, content in self.contents.items()]
        return hash_of([_VERSION, self.kind, self.definition, days])

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Stretch) and other.hash == self.hash

    def __hash__(self) -> int:
        return hash(self.hash)


@dataclass(frozen=True)
class Kept:
    """The files of a stretch by part."""

    files: Mapping[int, Sequence[str]]

    @property
    def num_parts(self) -> int:
        return len(self.files)

    @property
    def uris(self) -> list[str]:
        return [uri for uris in self.files.values() for uri in uris]


class StateStore:
    """The stretches that a lake keeps, as they were when it was opened."""

    def __init__(self, lake: Lake) -> None:
        self._store = lake.store.child(STATE)
        self._sizes = {entry.path: entry.size for entry in self._store.list()}

    def root(self, stretch: Stretch) -> str:
        """The folder of a stretch, as workers know it."""
        return self._store.uri(stretch.hash)

    def find(self, stretches: Iterable[Stretch]) -> dict[Stretch, Kept]:
        """Those that are there whole."""
        sealed = [s for s in stretches if f"{s.hash}/{_SEAL}" in self._sizes]
        found = {}
        for stretch, seal in zip(sealed, self._seals(sealed), strict=True):
            files = seal.get("files", [])
            names = [f"{stretch.hash}/{name}" for _, name, _ in files]
            sizes = [size for _, _, size in files]
            if files and [self._sizes.get(name) for name in names] == sizes:
                found[stretch] = self._kept(stretch, files)
        return found

    def _seals(self, stretches: Sequence[Stretch]) -> list[dict[str, Any]]:
        try:
            texts = self._store.read_all([f"{s.hash}/{_SEAL}" for s in stretches])
        except FileNotFoundError:
            # Vacuumed a moment ago: all are made again.
            return [{} for _ in stretches]
        return [_parsed(text) for text in texts]

    def add(self, written: Mapping[Stretch, Sequence[Written]]) -> dict[Stretch, Kept]:
        """Make the files of workers findable, all parts of each stretch."""
        files = {
            stretch: [(file.part, file.name, file.bytes) for file in sorted(found)]
            for stretch, found in written.items()
        }
        names = (f"{s.hash}/{name}" for s, found in files.items() for _, name, _ in found)
        self._store.sync(names)
        self._store.put_all({f"{s.hash}/{_SEAL}": _seal(s, found) for s, found in files.items()})
        return {stretch: self._kept(stretch, found) for stretch, found in files.items()}

    def remove(self, stretch: Stretch, written: Iterable[Written]) -> None:
        """Files of a stretch that were but a step towards it."""
        self._store.delete(f"{stretch.hash}/{file.name}" for file in written)

    def _kept(self, stretch: Stretch, files: Iterable[Sequence[Any]]) -> Kept:
        by_part: dict[int, list[str]] = {}
        for part, name, _ in files:
            by_part.setdefault(part, []).append(f"{self.root(stretch)}/{name}")
        return Kept(by_part)


def _parsed(seal: bytes) -> dict[str, Any]:
    """What a seal says; nothing where it is damaged."""
    try:
        found = json.loads(seal)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _seal(stretch: Stretch, files: Sequence[Sequence[Any]]) -> bytes:
    seal = {
        "kind": stretch.kind,
        "first": str(day_of(stretch.first)),
        "end": str(day_of(stretch.end)),
        "contents": {str(day): content for day, content in stretch.contents.items()},
        "files": files,
    }
    return json.dumps(seal, indent=1).encode()


def kept_stretches(lake: Lake) -> dict[str, dict[str, Any]]:
    """By kind: how many stretches the lake keeps, their bytes, and the day up to which they go."""
    store = lake.store.child(STATE)
    sizes: dict[str, int] = {}
    seals = []
    for entry in store.list():
        name = entry.path.partition("/")[0]
        sizes[name] = sizes.get(name, 0) + entry.size
        if entry.path.endswith(f"/{_SEAL}"):
            seals.append(name)
    found: dict[str, dict[str, Any]] = {}
    for name, text in zip(seals, store.read_all([f"{n}/{_SEAL}" for n in seals]), strict=True):
        seal = _parsed(text)
        of_kind = found.setdefault(seal.get("kind", "damaged"), {"stretches": 0, "bytes": 0})
        of_kind["stretches"] += 1
        of_kind["bytes"] += sizes[name]
        of_kind["end"] = max(of_kind.get("end", ""), seal.get("end", ""))
    return dict(sorted(found.items()))


def is_kept(build: Build, days: Sequence[date]) -> bool:
    """Whether the days are made from what is kept, and not by looking at all actions."""
    windows = [window_contents(build, [day]) for day in days]
    actions = num_actions(build, {of for window in windows for of in window})
    if actions * len(days) > _MAX_SCANNED:
        return True
    return len(days) <= _MAX_DAYS and all(len(window) >= _MIN_DAYS for window in windows)


def window_contents(build: Build, days: Iterable[date]) -> dict[date, str]:
    """Contents of the published days of actions in the look-back of any of the days."""
    published = build.lake.days(UNIFIED_ACTIONS.name)
    window = {of for day in days for of in window_days(build.settings, published, day)}
    return {of: build.provenance.content(UNIFIED_ACTIONS, of) for of in sorted(window)}


def actions_at_once(build: Build) -> int:
    """How many actions may be looked at together: more where there are more cores to hold them.

    So many only on Sail, which holds them in memory. Spark goes to the disk with what it cannot
    hold, has keys for a thousand tasks, and so looks at all of them together, in fewer jobs.
    """
    return _ACTIONS_PER_CORE * len(build.partitioning.keys)


def num_actions(build: Build, days: Iterable[date]) -> int:
    """Published actions of days."""
    files = build.lake.snapshot(UNIFIED_ACTIONS.name).files
    return sum(file.rows for day in days for file in files.get(day, ()))


def in_batches(
    found: Iterable[Piece], weigh: Callable[[Piece], int], most: int
) -> Iterator[list[Piece]]:
    """In order, as many together as weigh at most so much; each that weighs more is alone."""
    batch: list[Piece] = []
    weight = 0
    for one in found:
        if batch and weight + weigh(one) > most:
            yield batch
            batch, weight = [], 0
        batch.append(one)
        weight += weigh(one)
    if batch:
        yield batch


def read_files(build: Build, files: Sequence[tuple[int, str]], kind: T.StructType) -> DataFrame:
    """Rows of files with the ``day`` that each stands for; ``kind`` has that column too."""
    rows = [(number, day, uri) for number, (day, uri) in enumerate(files)]
    listed = build.spark.createDataFrame(rows, STATE_FILES_DDL)
    schema = to_arrow_schema(kind)

    def read(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        return read_state(batches, schema)

    spread = build.partitioning.spread(listed, F.col("number"), of=max(len(rows), 1))
    return spread.mapInArrow(read, kind)


def vacuum_state(lake: Lake, *, keep: timedelta, dry_run: bool) -> tuple[int, int]:
    """Remove what is of days that are not published like that any more; (files, bytes).

    Of pairs only the newest stretches stay. What was written within ``keep`` stays: a run may be
    reading it.
    """
    store = lake.store.child(STATE)
    cutoff_ns = int((datetime.now(UTC) - keep).timestamp() * 1_000_000_000)
    folders: dict[str, list[Any]] = {}
    for entry in store.list():
        folders.setdefault(entry.path.partition("/")[0], []).append(entry)
    wanted = _wanted(lake, store, folders)
    gone = [
        entry
        for name, entries in folders.items()
        if name not in wanted and all(entry.modified_ns < cutoff_ns for entry in entries)
        for entry in entries
    ]
    if not dry_run:
        store.delete(entry.path for entry in gone)
    return len(gone), sum(entry.size for entry in gone)


def _wanted(lake: Lake, store: Store, folders: Mapping[str, Sequence[Any]]) -> set[str]:
    """Folders of days that are published as they were, and of pairs the newest.

    Of the same days the one that was written last: with the newest categories.
    """
    published = lake.snapshot(UNIFIED_ACTIONS.name)
    wanted, cores = set(), dict[str, list[tuple[str, int, str]]]()
    for name, entries in folders.items():
        try:
            seal = json.loads(store.read(f"{name}/{_SEAL}"))
            contents = {date.fromisoformat(d): c for d, c in seal["contents"].items()}
        except (FileNotFoundError, ValueError, KeyError, TypeError):
            continue
        if all(_is_published(published, day, of) for day, of in contents.items()):
            wanted.add(name)
            if seal["kind"].startswith(PAIRS):
                written = max(entry.modified_ns for entry in entries)
                cores.setdefault(seal["kind"], []).append((seal["end"], written, name))
    return wanted - {n for found in cores.values() for *_, n in sorted(found)[:-_KEPT_CORES]}


def _is_published(published: Snapshot, day: date, made_from: Any) -> bool:
    """Whether the actions of a day, the first that folds are made from, are as they were."""
    content = made_from if isinstance(made_from, str) else made_from[0]
    return bool(content == (published.content(day) if day in published.files else ""))
