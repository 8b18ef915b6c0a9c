"""The profile of a day's files, made on the workers, each file read once.

What is watched of a column follows from its type: numbers are binned, flags, kinds and texts are
counted by level, times by their hour; of a list its length and, of short numbers, its elements.
Identifiers are no features: of those only the rows without one are counted.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any, Final, Literal, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from training_assets.checks.files import Batches, files_in, open_declared
from training_assets.checks.list_pages import EncodedLists, encoded_lists
from training_assets.list_format import SealedParquet
from training_assets.monitoring.bins import count_keys
from training_assets.monitoring.profile import Column, Feature, Profile
from training_assets.schemas import Table

PROFILES_DDL: Final = "dt date, profile string"
_SCHEMA: Final = pa.schema([("dt", pa.date32()), ("profile", pa.string())])
# By which the days of any table are also looked at in parts, where they have such a column.
SEGMENT_COLUMNS: Final = (
    "customer_segment",
    "device_type",
    "category",
    "favorite_category",
    "action_type",
)
_MAX_SEGMENTS: Final = 8
_ROWS_PER_BATCH: Final = 1 << 17
# Of a batch; beyond, the column is text of which no value says anything.
_MAX_DISTINCT: Final = 10_000
_NO_FEATURES: Final = ("_id", "_ids", "_number", "_name")

How = Literal["values", "levels", "hours", "length", "element values", "element levels"]
_OF_LISTS: Final = ("length", "element values", "element levels")
_SCALARS: Final[dict[str, How]] = {
    "long": "values",
    "int": "values",
    "smallint": "values",
    "double": "values",
    "float": "values",
    "tinyint": "levels",
    "boolean": "levels",
    "string": "levels",
    "timestamp": "hours",
}
_ELEMENTS: Final[dict[str, tuple[str, How]]] = {
    "array<tinyint>": ("kinds", "element levels"),
    "array<smallint>": ("ages", "element values"),
}


class Watch(NamedTuple):
    """One feature: its name, and what is counted of which column."""

    name: str
    column: str
    how: How


def watched_features(table: Table, left_out: Sequence[str] = ()) -> list[Watch]:
    """The features of a table; of parallel lists only the first one's length."""
    found: list[Watch] = []
    has_length = False
    for column in table.stored_columns:
        if column.name in (*table.key, *left_out):
            continue
        if column.type.startswith("array<"):
            if not has_length:
                found.append(Watch(f"{column.name}.length", column.name, "length"))
                has_length = True
            if column.type in _ELEMENTS:
                part, how = _ELEMENTS[column.type]
                found.append(Watch(f"{column.name}.{part}", column.name, how))
        elif not (column.is_id or column.is_json or column.name.endswith(_NO_FEATURES)):
            how = _SCALARS.get(column.type, "values")
            if column.type.startswith("decimal") or column.type in _SCALARS:
                suffix = ".hour" if how == "hours" else ""
                found.append(Watch(f"{column.name}{suffix}", column.name, how))
    return found


def profile_files(
    batches: Batches, table: Table, left_out: Sequence[str]
) -> Iterator[pa.RecordBatch]:
    """The profile of each file of rows of ``FILES_DDL``, as JSON."""
    watched = watched_features(table, left_out)
    names = [c.name for c in table.stored_columns if c.name not in left_out]
    segment = next((name for name in SEGMENT_COLUMNS if name in names), "")
    for file in files_in(batches):
        found = Profile(segment_column=segment)
        with open_declared(table, file) as parquet:
            for group in range(parquet.num_row_groups):
                _add_group(found, parquet, group, names, watched, segment)
        text = json.dumps(found.to_json())
        yield pa.RecordBatch.from_arrays(
            [pa.array([file.day], pa.date32()), pa.array([text])], schema=_SCHEMA
        )


def _add_group(
    found: Profile,
    parquet: SealedParquet,
    group: int,
    names: Sequence[str],
    watched: Sequence[Watch],
    segment: str,
) -> None:
    """Lists that can be counted by their dictionary are; all else is counted as Arrow reads it."""
    by_place: dict[str, EncodedLists] = {}
    for name in dict.fromkeys(watch.column for watch in watched if watch.how in _OF_LISTS):
        if not segment and (lists := encoded_lists(parquet, group, name)) is not None:
            by_place[name] = lists
    others = [name for name in names if name not in by_place]
    of_others = [watch for watch in watched if watch.column not in by_place]
    for rows in parquet.iter_batches(
        _ROWS_PER_BATCH, columns=others, row_groups=[group], use_threads=False
    ):
        _add(found, rows, of_others, segment)
    for name in by_place:
        found.columns.setdefault(name, Column()).add(Column())
    for watch in watched:
        if watch.column in by_place:
            feature = found.features.setdefault(watch.name, Feature())
            feature.add(_count_lists(by_place[watch.column], watch.how))


def _count_lists(lists: EncodedLists, how: How) -> Feature:
    if how == "length":
        sizes, times = np.unique(lists.sizes, return_counts=True)
        return Feature(count_keys(sizes, times))
    times = lists.uses()
    used = np.flatnonzero(times)
    values, times = lists.dictionary[used], times[used]
    if how == "element values":
        return Feature(count_keys(values, times))
    if len(values) > _MAX_DISTINCT:
        return Feature(rest=int(times.sum()), is_category=True)
    levels: dict[str, int] = {}
    for value, count in zip(values.tolist(), times.tolist(), strict=True):
        levels[str(value)] = levels.get(str(value), 0) + count
    return Feature(levels=levels, is_category=True)


def profile_rows(
    rows: pa.RecordBatch | pa.Table, table: Table, left_out: Sequence[str] = ()
) -> Profile:
    """The profile of rows in memory, which have the table's stored columns."""
    names = [c.name for c in table.stored_columns if c.name not in left_out]
    segment = next((name for name in SEGMENT_COLUMNS if name in names), "")
    found = Profile(segment_column=segment)
    as_table = rows if isinstance(rows, pa.Table) else pa.table(rows)
    for batch in as_table.combine_chunks().to_batches():
        _add(found, batch, watched_features(table, left_out), segment)
    return found


def _add(found: Profile, rows: pa.RecordBatch, watched: Sequence[Watch], segment: str) -> None:
    whole = _of_rows(rows, watched)
    found.add(whole)
    if segment:
        of_parts = [watch for watch in watched if watch.column != segment]
        _add_segments(found, rows, whole, of_parts, segment)


def _of_rows(rows: pa.RecordBatch, watched: Sequence[Watch]) -> Profile:
    found = Profile(rows=len(rows))
    for name in rows.schema.names:
        found.columns[name] = _column(rows[name])
        if pa.types.is_timestamp(rows.schema.field(name).type):
            newest = pc.max(rows[name]).cast(pa.timestamp("us", "UTC"))
            if newest.is_valid:
                found.newest[name] = max(0, newest.value)
    for watch in watched:
        found.features[watch.name] = _count(rows[watch.column], watch.how)
    return found


def _add_segments(
    found: Profile, rows: pa.RecordBatch, whole: Profile, watched: Sequence[Watch], segment: str
) -> None:
    counts = pc.value_counts(rows[segment]).to_pylist()
    counts.sort(key=lambda pair: (-pair["counts"], str(pair["values"])))
    for pair in counts:
        value = pair["values"]
        is_known = str(value) in found.segments
        if value is None or not (is_known or len(found.segments) < _MAX_SEGMENTS):
            continue
        if len(counts) == 1:
            # As most files have it: all is counted already.
            part = replace(whole, features={w.name: whole.features[w.name] for w in watched})
        else:
            part = _of_rows(rows.filter(pc.equal(rows[segment], value)), watched)
        found.segments.setdefault(str(value), Profile()).add(part)


def _column(array: pa.Array) -> Column:
    if not _is_number(array.type):
        return Column(array.null_count)
    values = _numbers(array)
    nulls = len(array) - len(values)
    if not len(values):
        return Column(nulls)
    return Column(nulls, float(values.min()), float(values.max()))


def _is_number(type_: pa.DataType) -> bool:
    return bool(
        pa.types.is_integer(type_) or pa.types.is_floating(type_) or pa.types.is_decimal(type_)
    )


def _numbers(array: pa.Array) -> Any:
    """The values that are numbers: neither null nor NaN."""
    values = array.drop_null()
    if pa.types.is_decimal(values.type):
        values = values.cast(pa.float64())
    found = values.to_numpy(zero_copy_only=False)
    return found[~np.isnan(found)] if pa.types.is_floating(values.type) else found


def _count(array: pa.Array, how: How) -> Feature:
    if how == "values":
        values = _numbers(array)
        return Feature(count_keys(values), nulls=len(array) - len(values))
    if how == "hours":
        # Stored times are in UTC; with their zone each would be looked up in its calendar.
        times = array.drop_null().cast(pa.timestamp(array.type.unit))
        counts = np.bincount(pc.hour(times).to_numpy(zero_copy_only=False))
        return Feature(count_keys(np.arange(len(counts)), counts), nulls=array.null_count)
    if how == "levels":
        return _levels(array)
    if how == "length":
        lengths = pc.list_value_length(array.drop_null()).to_numpy(zero_copy_only=False)
        return Feature(count_keys(lengths), nulls=array.null_count)
    elements = array.flatten()
    if how == "element levels":
        return _levels(elements)
    values = _numbers(elements)
    return Feature(count_keys(values), nulls=len(elements) - len(values))


def _levels(array: pa.Array) -> Feature:
    counts = pc.value_counts(array.drop_null())
    if len(counts) > _MAX_DISTINCT:
        known = len(array) - array.null_count
        return Feature(nulls=array.null_count, rest=known, is_category=True)
    named = {_level(pair["values"]): int(pair["counts"]) for pair in counts.to_pylist()}
    return Feature(levels=named, nulls=array.null_count, is_category=True)


def _level(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
