"""Flat raw files by day: how many rows each day has in one, and a hash of them.

A flat ``previous_orders`` grows every day. By its size and time, or etag, all of its days would
be other ones each time; by their rows, only those are that changed.

    <root>/_cache/flat-<hash of the name>.json     what was found, by size and stamp

The order of rows does not matter, because no table keeps it. A row that breaks a rule counts with
the reason and its content, as it stands in the quarantine.
"""

import hashlib
import json
from collections.abc import Mapping
from contextlib import suppress
from datetime import date
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from training_assets.errors import StoreError
from training_assets.lake import Lake, Store
from training_assets.schemas import Table
from training_assets.sources.columns import IGNORED_COLUMNS, Task
from training_assets.sources.header import parts_of
from training_assets.sources.reading import Reading, table_of
from training_assets.sources.rows import _judge_all, _Judged, _reject_rows

FlatDays = Mapping[str, list[Any]]

# Raised whenever the same rows would hash differently.
_VERSION: Final = 2
_CACHE: Final = "_cache"
_SALTS: Final = (0x9E3779B97F4A7C15, 0xD1B54A32D192ED03)
_NULL: Final = 0xA0761D6478BD642F


def flat_days(lake: Lake, table: Table, task: Task, size: int, stamp: int | str) -> FlatDays:
    """By ISO day: [rows, hash of the rows] of the whole file; read once for its size and stamp.

    ``size`` and ``stamp``, its modification time in ns or its etag, are those from before it is
    read, so that a file which changes meanwhile is read again next time. Raises as
    ``header.parts_of``, and ``RawDataError`` where rows cannot be read.
    """
    key = [_VERSION, table.name, task.name, size, stamp, task.reading]
    digest = hashlib.blake2b(json.dumps(key[1:3]).encode(), digest_size=8).hexdigest()
    cache = f"{_CACHE}/flat-{digest}.json"
    try:
        known = json.loads(lake.store.read(cache))
        if known["key"] == key:
            return {str(day): list(entry) for day, entry in known["days"].items()}
    except (OSError, StoreError, ValueError, KeyError, TypeError, AttributeError):
        pass
    days = _read(table, task)
    _keep(lake.store, cache, {"key": key, "days": days})
    return days


def _keep(store: Store, cache: str, content: Mapping[str, Any]) -> None:
    # Who may only read the lake reads the file again.
    with suppress(OSError, StoreError):
        store.put(cache, json.dumps(content).encode())


def _read(table: Table, task: Task) -> dict[str, list[Any]]:
    rows: dict[date, int] = {}
    sums: dict[date, list[int]] = {}
    for part in parts_of(task._replace(start=0, stop=-1), table):
        of = table_of(table, Reading.of(part.reading))
        for judged in _judge_all(part, of, of.column_names):
            for day, (count, found) in _by_day(judged, of, part).items():
                rows[day] = rows.get(day, 0) + count
                before = sums.get(day, [0, 0])
                sums[day] = [(a + b) % 2**64 for a, b in zip(before, found, strict=True)]
    return {
        str(day): [rows[day], "".join(f"{part:016x}" for part in sums[day])] for day in sorted(rows)
    }


def _by_day(judged: _Judged, table: Table, task: Task) -> dict[date, tuple[int, list[int]]]:
    days, places, counts = np.unique(
        np.asarray(judged.days.cast(pa.int32())), return_inverse=True, return_counts=True
    )
    is_valid = np.asarray(pc.is_null(judged.faults))
    hashes = [_hash_rows(judged, table, salt) for salt in _SALTS]
    sums = np.zeros((len(_SALTS), len(days)), np.uint64)
    for total, found in zip(sums, hashes, strict=True):
        np.add.at(total, places[is_valid], found[is_valid])
    names = pa.array(days.astype(np.int32)).cast(pa.date32()).to_pylist()
    totals = {name: [int(total[n]) for total in sums] for n, name in enumerate(names)}
    if not is_valid.all():
        for row in _reject_rows(judged, table, task, names).to_pylist():
            text = json.dumps([row["reason"], row["content"]]).encode()
            digest = hashlib.blake2b(text, digest_size=16).digest()
            parts = (int.from_bytes(digest[:8], "big"), int.from_bytes(digest[8:], "big"))
            for n, part in enumerate(parts):
                totals[row["dt"]][n] = (totals[row["dt"]][n] + part) % 2**64
    return {name: (int(counts[n]), totals[name]) for n, name in enumerate(names)}


def _hash_rows(judged: _Judged, table: Table, salt: int) -> np.ndarray:
    """64 bits of each row; the day itself is not in it, because the sums are by day."""
    hashes = np.full(len(judged.days), salt, np.uint64)
    for column in table.columns:
        if column.name in IGNORED_COLUMNS or column.name == table.day_column:
            continue
        values = judged.chunk.columns.get(column.name)
        bits = np.full(len(hashes), _NULL, np.uint64)
        if values is not None:
            bits = np.where(np.asarray(pc.is_valid(values)), _bits_of(values), bits)
        hashes = _mix(hashes ^ _mix(bits + np.uint64(salt)))
    return hashes


def _bits_of(values: pa.Array) -> np.ndarray:
    if pa.types.is_date32(values.type):
        values = values.cast(pa.int32())
    if pa.types.is_integer(values.type) or pa.types.is_temporal(values.type):
        return np.asarray(pc.fill_null(values.cast(pa.int64()), 0)).view(np.uint64)
    if pa.types.is_nested(values.type):
        texts = pa.array([json.dumps(value) for value in values.to_pylist()], pa.string())
    else:
        texts = values.cast(pa.string())
    encoded = texts.dictionary_encode()
    words = [_digest(word) for word in encoded.dictionary.to_pylist()] or [0]
    return np.array(words, np.uint64)[np.asarray(pc.fill_null(encoded.indices, 0))]


def _digest(word: str) -> int:
    return int.from_bytes(hashlib.blake2b(word.encode(), digest_size=8).digest(), "big")


def _mix(values: np.ndarray) -> np.ndarray:
    """The finalizer of SplitMix64; wraps around on purpose."""
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))
