"""Mechanism X: the next rows of the source as one immutable object in the inbox, each row once.

A step, and what a kill after it leaves:

    temp/claims/<first>.json         put if absent: these rows are one chunk, whoever writes it
    raw/importance-<first>-….parquet put if absent, when the weights are new
    raw/chunk-<first>-<last>.parquet put if absent; from here on the rows are fed
    temp/feed.json                   the offset; where it is behind the inbox, the inbox counts

A chunk carries in its footer the number of rows fed, a fingerprint of all of them, and how they
were ordered; the next start recognizes by it a source that has changed.
"""

import json
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
import pyarrow as pa

from training_assets.errors import ChunkError, RawDataError, TrainingAssetsError
from training_assets.lake import Store
from training_assets.transactions.inbox import (
    CHUNK_SCHEMA,
    IMPORTANCE_COLUMNS,
    SOURCE_COLUMNS,
    Inbox,
    chunk_name,
    importance_name,
    parquet_bytes,
    remove_abandoned,
)
from training_assets.transactions.settings import TransactionSettings
from training_assets.transactions.source import Fingerprint, feed_order, locate, read_csv

TEMP: Final = "temp"
_OFFSET: Final = "feed.json"
_METADATA: Final = b"training_assets.feed"
_KEPT_CLAIMS: Final = 100


@dataclass(frozen=True)
class Fed:
    """What was fed: ``rows`` of it, out of the first ``lines`` lines of the source."""

    rows: int = 0
    lines: int = 0
    splits: tuple[int, ...] = ()
    fingerprint: str = str(Fingerprint())

    def to_bytes(self) -> bytes:
        return json.dumps(self.__dict__, sort_keys=True).encode()

    @classmethod
    def from_bytes(cls, data: bytes) -> "Fed":
        values = json.loads(data)
        return cls(**{**values, "splits": tuple(values["splits"])})


class Feed:
    """Puts chunk after chunk; any number of them may run, and be killed, at any time."""

    def __init__(
        self,
        workdir: Store,
        settings: TransactionSettings,
        *,
        has_importance: bool = True,
        is_growing: bool = False,
    ) -> None:
        self._settings = settings
        self._inbox = Inbox(workdir)
        self._temp = workdir.child(TEMP)
        self._has_importance = has_importance
        self._is_growing = is_growing
        self._source_version: object = None
        self._weights_version: object = None
        self._rows: pa.Table = CHUNK_SCHEMA.empty_table()
        self._fingerprint = Fingerprint()
        self._fed = self._resume()
        self._remove_leftovers()

    @property
    def rows_fed(self) -> int:
        return self._fed.rows

    def tick(self) -> int:
        """Put the next chunk; returns its number of rows, 0 where nothing waits.

        Raises ``RawDataError`` or ``SchemaError`` for a source that cannot be fed, ``ChunkError``
        where the inbox holds something else than this feed would put.
        """
        self._read_source()
        if self._has_importance:
            self._put_weights()
        first = self._fed.rows
        waiting = min(self._settings.chunk_rows, self._rows.num_rows - first)
        if waiting <= 0:
            return 0
        last = self._claim(first, first + waiting - 1)
        self._put_chunk(first, last)
        self._temp.put(_OFFSET, self._fed.to_bytes())
        return last - first + 1

    def _resume(self) -> Fed:
        try:
            offset = Fed.from_bytes(self._temp.read(_OFFSET))
        except FileNotFoundError:
            offset = Fed()
        chunks = self._inbox.chunks()
        if not chunks or chunks[-1].last < offset.rows:
            return offset
        table, _ = self._inbox.read(chunks[-1].entry.path)
        return _fed_of(table, chunks[-1].entry.path)

    def _remove_leftovers(self) -> None:
        """What killed writers left, and claims of chunks that were put long ago."""
        remove_abandoned(self._inbox.store)
        # Not all of temp: the database may be there, whose files are its own.
        remove_abandoned(self._temp.child("claims"))
        claims = self._temp.child("claims")
        claims.delete([entry.path for entry in claims.list()][:-_KEPT_CLAIMS])

    def _read_source(self) -> None:
        located = locate(self._settings.transactions)
        # A new file is read once more when it is no longer new, for its last line.
        version = (located.version, self._is_growing and located.is_new)
        if version == self._source_version:
            return
        table = read_csv(located, SOURCE_COLUMNS, is_growing=self._is_growing)
        for splits in dict.fromkeys((self._fed.splits, (*self._fed.splits, self._fed.lines))):
            ordered = _ordered(table, splits)
            fingerprint = Fingerprint()
            fingerprint.add(ordered.slice(0, self._fed.rows))
            if ordered.num_rows >= self._fed.rows and str(fingerprint) == self._fed.fingerprint:
                break
        else:
            raise RawDataError(
                f"{self._settings.transactions}: the {self._fed.rows:,} rows that were fed are not "
                f"the first of its {table.num_rows:,} rows any more; expected them unchanged, and "
                "new rows after them. Put the source back, or feed the new one to another workdir."
            )
        self._rows, self._fingerprint = ordered, fingerprint
        lines = int(np.max(table["source_row"].to_numpy(), initial=-1)) + 1
        self._fed = replace(self._fed, splits=splits, lines=lines)
        self._source_version = version

    def _claim(self, first: int, last: int) -> int:
        """The last row of the chunk that begins at ``first``, by whoever was first to say so."""
        claims, name = self._temp.child("claims"), f"{first:012d}.json"
        if not claims.put_new(name, json.dumps({"last": last}).encode()):
            last = int(json.loads(claims.read(name))["last"])
        if last >= self._rows.num_rows:
            raise RawDataError(
                f"{self._settings.transactions}: it has {self._rows.num_rows:,} rows; expected at "
                f"least {last + 1:,}, as it had when the chunk from row {first:,} was begun. Put "
                "the source back."
            )
        return last

    def _put_chunk(self, first: int, last: int) -> None:
        rows = self._rows.slice(first, last - first + 1)
        self._fingerprint.add(rows)
        fed = replace(self._fed, rows=last + 1, fingerprint=str(self._fingerprint))
        name, table = chunk_name(first, last), _chunk(rows, first, last, fed)
        if not self._inbox.store.put_new(name, parquet_bytes(table)):
            # Another version of Parquet's writer may give other bytes for the same rows.
            found, _ = self._inbox.read(name)
            if not found.equals(table):
                raise ChunkError(
                    f"{self._inbox.store.url}: {name} holds other rows than the source has there; "
                    "expected the same. Take it away if it is not of this feed, or use another "
                    "workdir."
                )
        self._fed = fed

    def _put_weights(self) -> None:
        located = locate(self._settings.importance)
        if located.version == self._weights_version:
            return
        table = read_csv(located, IMPORTANCE_COLUMNS, is_growing=self._is_growing)
        while True:
            known = self._inbox.weights()
            if known and self._inbox.read(known[-1].path)[0].equals(table):
                break
            number = known[-1].number + 1 if known else 0
            name = importance_name(self._fed.rows, number)
            if self._inbox.store.put_new(name, parquet_bytes(table)):
                break
        self._weights_version = located.version


def _ordered(table: pa.Table, splits: tuple[int, ...]) -> pa.Table:
    order = feed_order(table, splits)
    is_in_order = bool((order == np.arange(len(order))).all())
    return table if is_in_order else table.take(pa.array(order))


def _chunk(rows: pa.Table, first: int, last: int, fed: Fed) -> pa.Table:
    count = last - first + 1
    numbers: dict[str, Any] = {
        "row": pa.array(np.arange(first, last + 1)),
        "source_row": rows["source_row"],
        "chunk_first": pa.array(np.full(count, first)),
        "chunk_last": pa.array(np.full(count, last)),
    }
    texts = {name: rows[name] for name in (*SOURCE_COLUMNS, "problem", "content")}
    schema = CHUNK_SCHEMA.with_metadata({_METADATA: fed.to_bytes()})
    return pa.table(numbers | texts, schema=schema)


def _fed_of(table: pa.Table, name: str) -> Fed:
    metadata = table.schema.metadata or {}
    if _METADATA not in metadata:
        raise ChunkError(
            f"{name}: it does not say what was fed; expected a chunk as the feed puts it. Take it "
            "away if it is not of this feed."
        )
    return Fed.from_bytes(metadata[_METADATA])


def feed_all(
    feed: Feed, progress: Callable[[str], None], stop: threading.Event | None = None
) -> int:
    """Feed until nothing waits, or ``stop`` is set; returns the number of chunks."""
    chunks = 0
    while not (stop and stop.is_set()) and (rows := feed.tick()):
        chunks += 1
        progress(f"fed {rows:,} rows, {feed.rows_fed:,} in all")
    return chunks


def feed_every(
    feed: Feed, seconds: float, stop: threading.Event, progress: Callable[[str], None]
) -> None:
    """One chunk every ``seconds`` until ``stop`` is set; a source that is away is waited for."""
    due = time.monotonic()
    while not stop.wait(max(0.0, due - time.monotonic())):
        due = max(due + seconds, time.monotonic())
        try:
            if rows := feed.tick():
                progress(f"fed {rows:,} rows, {feed.rows_fed:,} in all")
        except (RawDataError, OSError) as error:
            if isinstance(error, TrainingAssetsError) and feed.rows_fed:
                raise
            progress(str(error))
