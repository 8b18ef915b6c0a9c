"""Parse raw files into valid rows and faults, on the workers, the same on every engine.

Each row of a file ends in exactly one of two places: among the valid rows, typed as ``schemas``
says, or among the faults, with the first rule that it broke and its content. A ranking is judged as
a row and then item by item: every item that breaks a rule is a fault, the others are the ranking,
and a ranking of which no item is left gives no row.

Needs pyarrow and NumPy only, as all that it imports.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import date
from typing import Any, Final, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from training_assets.errors import RawDataError
from training_assets.schemas import MAX_ITEM_ID, MIN_ITEM_ID, QUARANTINE, Column, Table
from training_assets.sources.cleaning import (
    as_read,
    clean_texts,
    is_cleaned,
    judge_rows_of,
)
from training_assets.sources.columns import (
    IGNORED_COLUMNS,
    ITEMS,
    OUTSIDE,
    READ_ERRORS,
    WIDE,
    Chunk,
    Task,
    first_fault,
    lists_of,
    no_faults,
    printable,
)
from training_assets.sources.opening import open_parquet
from training_assets.sources.parquet import parquet_chunks, row_groups
from training_assets.sources.reading import Reading, table_of
from training_assets.sources.rules import Terms
from training_assets.sources.text import count_text_rows, text_chunks
from training_assets.sources.text_ids import (
    ENTITY_OF,
    MAX_LENGTH,
    NO_TEXT_IDS,
    Entity,
    TextIds,
    as_texts,
    item_texts,
    texts_of,
    too_long,
    with_integers,
)
from training_assets.sources.values import parse_texts

_ITEM_COLUMNS: Final = ("item_id", "config_id")
_Reject = tuple[date, str, str]  # day, reason, content


class _Judged(NamedTuple):
    """A chunk, the day of each row, and the first fault of each, null where it is valid.

    ``first`` is the number of its first row in the task, from 0 on.
    """

    chunk: Chunk
    days: pa.Array
    faults: pa.Array
    first: int = 0


def parse(
    batches: Iterator[pa.RecordBatch],
    table: Table,
    days: Sequence[date],
    *,
    wants_rejects: bool,
    texts: TextIds = NO_TEXT_IDS,
) -> Iterator[pa.RecordBatch]:
    """The tasks' valid rows, or their faults as rows of the quarantine table.

    ``texts`` are ids that are delivered as texts; valid rows have the integers that stand for them.

    Of flat files only rows of ``days`` are given; rows without a day are faults of the first day
    in their file.
    """
    for batch in batches:
        for row in batch.to_pylist():
            task = Task(**row)
            reading = Reading.of(task.reading)
            of = table_of(table, reading)
            give = _valid_rows if not reading.has_rows_per_item else _valid_items_of_rows
            give = _reject_rows if wants_rejects else give
            for judged in _judge_all(task, as_texts(of, texts), of.column_names, texts):
                is_given = texts.entities and not wants_rejects
                known = _with_integers(judged, texts, task) if is_given else judged
                rows = give(known, of, task, days)
                if len(rows):
                    yield rows


def text_ids(
    batches: Iterator[pa.RecordBatch], table: Table, days: Sequence[date], texts: TextIds
) -> Iterator[pa.RecordBatch]:
    """The texts that are ids in the tasks' valid rows, and their first days; ``NEW_IDS``."""
    for batch in batches:
        for row in batch.to_pylist():
            task = Task(**row)
            of = table_of(table, Reading.of(task.reading))
            for judged in _judge_all(task, as_texts(of, texts), of.column_names):
                is_valid = pc.and_(pc.is_null(judged.faults), _is_wanted(judged, days))
                columns = {}
                for name, values in judged.chunk.columns.items():
                    if name in ENTITY_OF:
                        columns[name] = values.filter(is_valid)
                        if pa.types.is_list(values.type):
                            columns[name] = _without_faults(columns[name])
                yield from texts_of(columns, judged.days.filter(is_valid), texts)


def ids_of_first_rows(task: Task, table: Table, entity: Entity) -> list[str]:
    """Ids in the valid rows of the task's first chunk that has any, as texts."""
    # Read as texts, integers are their digits.
    texts = TextIds(tuple(dict.fromkeys(ENTITY_OF.values())))
    for judged in _judge_all(task, as_texts(table, texts), table.column_names):
        is_valid = pc.is_null(judged.faults)
        columns = {
            name: values.filter(is_valid)
            for name, values in judged.chunk.columns.items()
            if ENTITY_OF.get(name) == entity
        }
        found = texts_of(columns, judged.days.filter(is_valid), texts)
        if ids := [text for batch in found for text in batch["text"].to_pylist() if text]:
            return ids
    return []


def _with_integers(judged: _Judged, texts: TextIds, task: Task) -> _Judged:
    """Valid rows alone may have what is no text; the others are not looked at."""
    is_valid = pc.is_null(judged.faults)
    columns = {
        name: pc.if_else(is_valid, values, pa.scalar(None, values.type))
        if name in ENTITY_OF
        else values
        for name, values in judged.chunk.columns.items()
    }
    known = with_integers(columns, texts, task.name)
    return judged._replace(chunk=judged.chunk._replace(columns=known))


def _without_faults(lists: pa.Array) -> pa.Array:
    """Rankings with their valid items only."""
    kept, lengths = _kept_items(lists)
    return lists_of(lengths, kept)


def count_rows(task: Task, table: Table, days: Sequence[date]) -> dict[date, int]:
    """Rows of the task by day, good or bad, counted without looking at their content.

    Only flat files must be parsed for it, because their days stand in their rows, and those of
    which a source takes some rows, or elements of rows.
    """
    reading = Reading.of(task.reading)
    table = table_of(table, reading)
    if task.day is None or reading.where or reading.rows:
        counts = dict.fromkeys(days, 0)
        for judged in _judge_all(task, table, [table.day_column]):
            for entry in pc.value_counts(judged.days).to_pylist():
                if entry["values"] in counts:
                    counts[entry["values"]] += entry["counts"]
        return counts
    try:
        if task.format == "parquet":
            with open_parquet(task.uri) as file:
                groups = row_groups(file, task)
                return {task.day: sum(file.metadata.row_group(n).num_rows for n in groups)}
        return {task.day: count_text_rows(task)}
    except READ_ERRORS as error:
        raise unreadable(task.name, task.format, error) from error


def unreadable(name: str, format_: str, error: BaseException) -> RawDataError:
    reason = printable((str(error).splitlines() or [""])[0][:300]) or type(error).__name__
    return RawDataError(
        f"{name}: the file cannot be read as {format_} ({reason}). Deliver it again, whole."
    )


def _chunks(task: Task, table: Table, names: Sequence[str]) -> Iterator[Chunk]:
    read = parquet_chunks if task.format == "parquet" else text_chunks
    try:
        yield from read(task, table, names)
    except READ_ERRORS as error:
        raise unreadable(task.name, task.format, error) from error


# --- the rules of the contract --------------------------------------------------------------------


def _judge_all(
    task: Task, table: Table, names: Sequence[str], texts: TextIds = NO_TEXT_IDS
) -> Iterator[_Judged]:
    first, place = None, 0
    needed = [c.name for c in table.columns if c.name in names and not c.is_optional]
    constants = _constants(task, table, names)
    terms = Terms(Reading.of(task.reading).takes_returns, texts.takes_digits)
    for read in _chunks(task, table, names):
        chunk = _cleaned(_with(read, constants), table, terms)
        lost = [n for n in needed if n not in chunk.columns and n != table.day_column]
        if lost:
            raise RawDataError(
                f"{task.name}: the column {lost[0]} was there when the file was listed, and is "
                "gone; expected files that do not change. Run the day again."
            )
        days, faults = _place(chunk, task, table)
        if days.null_count:
            first = first or _first_day(task, table)
            days = pc.fill_null(days, pa.scalar(first, pa.date32()))
        faults = _judge(chunk, table, faults)
        if is_cleaned(table) and len(names) == len(table.columns):
            broken = judge_rows_of(table, chunk.columns, task.day, terms)
            faults = pc.coalesce(faults, broken)
        yield _Judged(chunk, days, faults, place)
        place += len(faults)


def _constants(task: Task, table: Table, names: Sequence[str]) -> dict[str, pa.Scalar]:
    """Columns that have one value in all rows, as it is declared."""
    reading = Reading.of(task.reading)
    return {
        column.name: parse_texts(
            pa.array([reading.constants[column.name]]), reading.kind(column)
        ).values[0]
        for column in table.columns
        if column.name in reading.constants and column.name in names
    }


def _with(chunk: Chunk, constants: dict[str, pa.Scalar]) -> Chunk:
    if not constants:
        return chunk
    size = len(chunk.faults)
    added = {name: pa.repeat(value, size) for name, value in constants.items()}
    return chunk._replace(columns={**chunk.columns, **added})


def _cleaned(chunk: Chunk, table: Table, terms: Terms) -> Chunk:
    if is_cleaned(table):
        return chunk._replace(columns=as_read(table, chunk.columns, terms))
    ids = tuple(c for c in table.columns if c.is_id and c.type == "string")
    if not ids:
        return chunk
    return chunk._replace(columns=clean_texts(replace(table, columns=ids), chunk.columns))


def _place(chunk: Chunk, task: Task, table: Table) -> tuple[pa.Array, pa.Array]:
    """The day of each row, null where a flat file does not say; faults with those of the day."""
    name, faults = table.day_column, chunk.faults
    stated = chunk.columns.get(name)
    if stated is not None:
        faults = first_fault(faults, pc.is_null(stated), f"{name} is null")
    if task.day is None:
        return pa.nulls(len(faults), pa.date32()) if stated is None else stated, faults
    folder = pa.repeat(pa.scalar(task.day, pa.date32()), len(faults))
    if stated is not None:
        faults = first_fault(faults, pc.not_equal(stated, folder), f"{name} contradicts the folder")
    return folder, faults


def _first_day(task: Task, table: Table) -> date:
    """Where rows without a day are counted: the first day of their flat file."""
    found = [
        pc.min(chunk.columns[table.day_column]).as_py()
        for chunk in _chunks(task._replace(start=0, stop=-1), table, [table.day_column])
        if table.day_column in chunk.columns
    ]
    days = [day for day in found if day is not None]
    if not days:
        raise RawDataError(
            f"{task.name}: no row has a day in {table.day_column}; expected YYYY-MM-DD. "
            "Correct the column, or deliver the file in the folder of its day."
        )
    return min(days)


def _judge(chunk: Chunk, table: Table, faults: pa.Array) -> pa.Array:
    for column in table.columns:
        values = chunk.columns.get(column.name)
        if values is None:
            continue
        if must_be(column):
            faults = first_fault(faults, pc.is_null(values), f"{column.name} is null")
        if has_item_ids(column):
            faults = first_fault(faults, is_no_item(values), f"{column.name} {OUTSIDE['int']}")
    if not is_cleaned(table):
        for broken, reason in too_long(table, chunk.columns):
            faults = first_fault(faults, broken, reason)
    return faults


def has_item_ids(column: Column) -> bool:
    return column.name in _ITEM_COLUMNS and column.type == "int"


def must_be(column: Column) -> bool:
    """Whether a row without a value of the column is a fault."""
    return column.is_required or column.name == "customer_id" or column.name in _ITEM_COLUMNS


def is_no_item(ids: pa.Array) -> pa.Array:
    """Which of the ids can be none of an item."""
    return pc.or_(pc.less(ids, MIN_ITEM_ID), pc.greater(ids, MAX_ITEM_ID))


def _judge_items(items: pa.Array) -> pa.Array:
    ids, labels = pc.struct_field(items, "item_id"), pc.struct_field(items, "is_order")
    faults = first_fault(no_faults(len(items)), pc.is_null(items), "item is null")
    faults = pc.coalesce(faults, pc.struct_field(items, "fault"))
    faults = first_fault(faults, pc.is_null(ids), "item_id is null")
    faults = first_fault(faults, pc.is_null(labels), "is_order is null")
    if pa.types.is_string(ids.type):
        texts = item_texts(items)
        faults = first_fault(faults, pc.equal(texts, ""), "item_id is null")
        is_long = pc.greater(pc.utf8_length(texts), MAX_LENGTH)
        return first_fault(faults, is_long, f"item_id is longer than {MAX_LENGTH} characters")
    return first_fault(faults, is_no_item(ids), f"item_id {OUTSIDE['int']}")


# --- what is given --------------------------------------------------------------------------------


def _valid_rows(judged: _Judged, table: Table, task: Task, days: Sequence[date]) -> pa.RecordBatch:
    is_valid = pc.and_(pc.is_null(judged.faults), _is_wanted(judged, days))
    wide = {**judged.chunk.columns, table.day_column: judged.days}
    for column in table.columns:
        if column.name not in wide:
            wide[column.name] = pa.nulls(len(is_valid), WIDE[column.type])
    good = pa.record_batch(wide).filter(is_valid)
    narrow = {}
    has_items = None
    for column in table.columns:
        values = good.column(column.name)
        if column.type == ITEMS:
            values, has_items = valid_items(values, column.arrow)
        elif column.name in IGNORED_COLUMNS:
            narrowed = values.cast(column.arrow, safe=False)
            fits = pc.equal(values, narrowed.cast(values.type))
            values = pc.if_else(fits, values, pa.scalar(None, values.type))
        narrow[column.name] = values.cast(column.arrow)
    rows = pa.record_batch(narrow)
    return rows if has_items is None else rows.filter(has_items)


def _valid_items_of_rows(
    judged: _Judged, table: Table, task: Task, days: Sequence[date]
) -> pa.RecordBatch:
    """Rows of items as rankings of one item each, with the place of each in what was delivered."""
    rows = _valid_rows(judged, table, task, days)
    is_valid = pc.and_(pc.is_null(judged.faults), _is_wanted(judged, days))
    place = pa.array(judged.first + np.flatnonzero(np.asarray(is_valid)))
    number = pa.repeat(pa.scalar(task.task, pa.int64()), len(rows))
    return rows.append_column("task", number).append_column("place", place)


def _is_wanted(judged: _Judged, days: Sequence[date]) -> pa.Array:
    return pc.is_in(judged.days, pa.array(days, pa.date32()))


def valid_items(lists: pa.Array, type_: pa.DataType) -> tuple[pa.Array, pa.Array]:
    """The rankings with their valid items only, and which of them have any."""
    kept, lengths = _kept_items(lists)
    names = [field.name for field in type_.value_type]
    bare = pa.StructArray.from_arrays([pc.struct_field(kept, n) for n in names], names=names)
    return lists_of(lengths, bare).cast(type_), pa.array(lengths > 0)


def _kept_items(lists: pa.Array) -> tuple[pa.Array, np.ndarray]:
    """Valid items, and how many each ranking has."""
    items = lists.flatten()
    is_valid = pc.is_null(_judge_items(items))
    owners = np.asarray(pc.list_parent_indices(lists))[np.asarray(is_valid)]
    lengths = np.bincount(owners.astype(np.int64), minlength=len(lists))
    return items.filter(is_valid), lengths


def _reject_rows(judged: _Judged, table: Table, task: Task, days: Sequence[date]) -> pa.RecordBatch:
    is_wanted = _is_wanted(judged, days)
    found = _row_rejects(judged, is_wanted)
    for column in table.columns:
        if column.type == ITEMS and column.name in judged.chunk.columns:
            found += _item_rejects(judged, is_wanted, column.name)
    rows = [
        {"dt": day, "reason": reason, "source_file": task.name, "content": content}
        for day, reason, content in found
    ]
    schema = pa.schema([(c.name, c.arrow) for c in QUARANTINE.columns])
    return pa.RecordBatch.from_pylist(rows, schema)


def _row_rejects(judged: _Judged, is_wanted: pa.Array) -> list[_Reject]:
    chunk = judged.chunk
    places = _true(pc.and_(pc.is_valid(judged.faults), is_wanted))
    if not len(places):
        return []
    days, reasons = judged.days.take(places).to_pylist(), judged.faults.take(places).to_pylist()
    if chunk.lines is not None:
        contents = chunk.lines(places.tolist())
    else:
        contents = [_as_json(row) for row in chunk.originals(places.tolist())]
    return list(zip(days, reasons, contents, strict=True))


def _item_rejects(judged: _Judged, is_wanted: pa.Array, name: str) -> list[_Reject]:
    """A fault for each invalid item of a valid ranking: the ranking with that item only."""
    chunk = judged.chunk
    rankings = _true(pc.and_(pc.is_null(judged.faults), is_wanted))
    found = []
    for row, position, reason, original in faults_of_items(chunk, rankings, name):
        try:
            shown = {**original, name: [original[name][position]], "position": position}
            content = _as_json(shown)
        except (KeyError, RecursionError):
            # What could just be read may be nested too deeply to be read again, or to be written.
            content = chunk.lines([row])[0] if chunk.lines is not None else str(position)
        found.append((judged.days[row].as_py(), reason, content))
    return found


def faults_of_items(
    chunk: Chunk, rankings: np.ndarray, name: str
) -> Iterator[tuple[int, int, str, dict[str, Any]]]:
    """Of each invalid item of these rows: the row, its position from 0 on, why, the whole row."""
    lists = chunk.columns[name].take(pa.array(rankings))
    reasons = _judge_items(lists.flatten())
    places = _true(pc.is_valid(reasons))
    if not len(places):
        return
    ends = np.cumsum(np.asarray(pc.list_value_length(lists)))
    rows, which = np.unique(np.searchsorted(ends, places, side="right"), return_inverse=True)
    originals = chunk.originals(rankings[rows].tolist())
    starts = np.concatenate([[0], ends])[rows]
    for place, n in zip(places.tolist(), which.tolist(), strict=True):
        row, position = int(rankings[rows[n]]), place - int(starts[n])
        yield row, position, reasons[place].as_py(), originals[n]


def _true(mask: pa.Array) -> np.ndarray:
    return np.flatnonzero(np.asarray(mask))


def _as_json(row: dict[str, Any]) -> str:
    text = json.dumps(row, ensure_ascii=False, default=str)
    # Half a surrogate pair, which JSON can name and UTF-8 cannot, is named again.
    return text.encode(errors="backslashreplace").decode()
