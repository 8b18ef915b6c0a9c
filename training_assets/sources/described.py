"""What is understood of a source: where it lies, how its columns are read, and its first rows."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from itertools import islice
from typing import Final

import pyarrow as pa

from training_assets.errors import TrainingAssetsError
from training_assets.lake import Lake
from training_assets.schemas import DELIVERED_TABLES, Table
from training_assets.sources.columns import READ_ERRORS, Task
from training_assets.sources.days import files_of_days, source_days
from training_assets.sources.declared import Declared, declarations
from training_assets.sources.header import first_part, look_at
from training_assets.sources.id_kinds import text_ids_of, with_item_files
from training_assets.sources.listing import whole_file
from training_assets.sources.reading import Reading
from training_assets.sources.rows import parse, unreadable
from training_assets.sources.text_ids import TextIds, as_texts

_SAMPLE_FILES: Final = 1


@dataclass(frozen=True)
class ColumnRead:
    """A column of the table, where it stands in the files, and what it is read as."""

    name: str
    stands: str
    type: str
    note: str = ""


@dataclass(frozen=True)
class Described:
    """What is understood of one source.

    ``reasons`` are those of rows in the first part of the newest day that would be set aside, with
    how many; ``valid`` is the number of the others. ``problem`` says why nothing can be read.
    """

    name: str
    place: str
    format: str = ""
    days: tuple[date, ...] = ()
    columns: tuple[ColumnRead, ...] = ()
    spare: tuple[str, ...] = ()
    valid: int = 0
    reasons: tuple[tuple[str, int], ...] = ()
    is_absent: bool = False
    problem: str = ""

    @property
    def newest(self) -> date | None:
        return self.days[-1] if self.days else None


def describe_sources(lake: Lake) -> list[Described]:
    """Each source of the lake, the further ones too; a fault of one is told with it."""
    found = declarations(lake)
    return [describe(lake, table) for table in (*DELIVERED_TABLES.values(), *found.further)]


def describe(lake: Lake, table: Table) -> Described:
    """Look at the newest day of a source; opens its first file and reads the first part of it."""
    declared = declarations(lake).of(table)
    place = _place(lake, table, declared)
    try:
        known = source_days(lake, table)
        if not known.days:
            # Raises where it is declared, or lies where no day is read from.
            files_of_days(lake, table, [], known)
            return Described(table.name, place, is_absent=True)
        newest = known.near[-1] if known.near else known.days[-1]
        files = files_of_days(lake, table, [newest], known)
        described = Described(table.name, place, days=tuple(known.near or known.days))
        texts = with_item_files(lake, text_ids_of(lake, table, files[:1]))
        return _with_rows(described, table, [whole_file(f) for f in files], newest, texts)
    except (TrainingAssetsError, *READ_ERRORS) as error:
        return Described(table.name, place, problem=str(error))


def _place(lake: Lake, table: Table, declared: Declared) -> str:
    if declared.path:
        return declared.path
    return lake.raw.uri(f"{table.name}/{table.day_column}=YYYY-MM-DD/")


def _with_rows(
    described: Described, table: Table, tasks: Sequence[Task], newest: date, texts: TextIds
) -> Described:
    for task in islice(tasks, _SAMPLE_FILES):
        try:
            looked = look_at(task, table)
            part = first_part(task, table)
        except READ_ERRORS as error:
            raise unreadable(task.name, task.format, error) from error
        batch = pa.RecordBatch.from_pylist([part._asdict()])
        valid = sum(
            len(rows)
            for rows in parse(iter([batch]), table, [newest], wants_rejects=False, texts=texts)
        )
        reasons = Counter(
            reason
            for rows in parse(iter([batch]), table, [newest], wants_rejects=True, texts=texts)
            for reason in rows.column("reason").to_pylist()
        )
        # Of what is nested some fields are read.
        read = {".".join(path[:n]) for path in looked.found.paths.values() for n in (1, len(path))}
        marked = as_texts(looked.table, texts).columns if texts.entities else ()
        as_texts_of = {c.name: "text id" for c in marked if c.is_id}
        columns = [
            ColumnRead(
                column.name,
                ".".join(looked.found.paths.get(column.name, ())),
                as_texts_of.get(column.name, column.type),
                _note(table, column.name, looked.reading, part.day),
            )
            for column in looked.table.columns
        ]
        packing = f", {looked.reading.packing}" if looked.reading.packing else ""
        return Described(
            described.name,
            described.place,
            f"{looked.task.format}{packing}",
            described.days,
            tuple(columns),
            tuple(n for n in looked.names if n not in read and n != looked.reading.rows),
            valid,
            tuple(reasons.most_common()),
        )
    return described


def _note(table: Table, column: str, reading: Reading, day: date | None) -> str:
    if column in reading.constants:
        return f"always {reading.constants[column]}"
    notes = []
    if made := reading.made.get(column):
        if made.split:
            notes.append(f"part {made.part} between {made.split!r}")
        notes += [f"{word} is {other}" for word, other in made.words.items()]
    if unit := reading.units.get(column):
        notes.append(f"{unit} since 1970")
    elif column in reading.instants:
        notes.append("the day of that time, UTC")
    if notes:
        return ", ".join(notes)
    return "from the folder" if column == table.day_column and day is not None else ""
