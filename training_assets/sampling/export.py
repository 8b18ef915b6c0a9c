"""Samples of some days as one CSV or Parquet file, for whoever trains without this package."""

import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import date
from pathlib import Path
from typing import Any, Final, Literal

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pcsv
import pyarrow.parquet as pq

from training_assets.errors import DayNotPublishedError, SettingsError
from training_assets.lake import Snapshot, days_in_words
from training_assets.list_format import SealedParquet, locate
from training_assets.schemas import Table

Format = Literal["csv", "parquet"]
FORMATS: Final = ("csv", "parquet")
FIRST: Final = ("user_id", "item_id", "label")
_ROWS_PER_BATCH: Final = 65_536
_COPIED_BYTES: Final = 8 * 2**20
# What a spreadsheet would compute; a negative whole number is one and nothing else.
_FORMULA: Final = r"^[=+@\t\r]|^-(?:$|[^0-9]|[0-9]+[^0-9])"


def export_samples(
    snapshot: Snapshot,
    table: Table,
    days: Sequence[date],
    target: str,
    file_format: Format,
    *,
    with_features: bool = True,
) -> int:
    """Write published days, oldest first, and return how many rows.

    Columns are user_id, item_id and label, and ``with_features`` all others of the table but
    customer_id and item_number behind them. ``target`` is a path or the URL of a file; it is
    there whole or not at all. In CSV, text that begins with = + - @ gets an apostrophe in front,
    so that no spreadsheet takes it for a formula; negative whole numbers stay.

    Raises DayNotPublishedError where a day is missing, SettingsError where no file can be there.
    """
    if missing := [day for day in days if day not in snapshot.files]:
        raise DayNotPublishedError(
            f"export: {table.name} of {days_in_words(missing)} is not published; expected all days "
            "of the range. Materialize them, or name other days."
        )
    names = _names(table, with_features=with_features)
    types = {column.name: column.arrow for column in table.columns}
    schema = pa.schema([(name, types[name]) for name in names])
    num_rows = 0
    with _whole_file(target) as sink, _writer(sink, schema, file_format) as writer:
        for batch in _batches(snapshot, days, schema):
            writer.write(_harmless(batch) if file_format == "csv" else batch)
            num_rows += batch.num_rows
    return num_rows


def _names(table: Table, *, with_features: bool) -> list[str]:
    if not with_features:
        return list(FIRST)
    left_out = {*FIRST, "customer_id", "item_number"}
    return [*FIRST, *(name for name in table.column_names if name not in left_out)]


def _batches(
    snapshot: Snapshot, days: Sequence[date], schema: pa.Schema
) -> Iterator[pa.RecordBatch]:
    for day in sorted(days):
        for uri in snapshot.uris(day):
            with SealedParquet(uri) as parquet:
                present = [n for n in schema.names if n in parquet.schema_arrow.names]
                for batch in parquet.iter_batches(_ROWS_PER_BATCH, columns=present):
                    found = {name: batch[name] for name in present}
                    found["dt"] = pa.repeat(pa.scalar(day), len(batch))
                    yield pa.RecordBatch.from_arrays(
                        [
                            found[f.name].cast(f.type)
                            if f.name in found
                            else pa.nulls(len(batch), f.type)
                            for f in schema
                        ],
                        schema=schema,
                    )


def _harmless(batch: pa.RecordBatch) -> pa.RecordBatch:
    def text(column: pa.Array) -> pa.Array:
        if not pa.types.is_string(column.type):
            return column
        is_formula = pc.fill_null(pc.match_substring_regex(column, _FORMULA), False)
        marked = pc.binary_join_element_wise(pa.scalar("'"), column, "")
        return pc.if_else(is_formula, marked, column)

    return pa.RecordBatch.from_arrays([text(c) for c in batch.columns], schema=batch.schema)


@contextmanager
def _writer(sink: Any, schema: pa.Schema, file_format: Format) -> Iterator[Any]:
    if file_format == "parquet":
        with pq.ParquetWriter(sink, schema, compression="zstd") as writer:
            yield writer
        return
    # Arrow would quote the names, which some readers take for part of them.
    sink.write((",".join(schema.names) + "\n").encode())
    options = pcsv.WriteOptions(include_header=False, quoting_style="needed")
    with pcsv.CSVWriter(sink, schema, write_options=options) as writer:
        yield writer


@contextmanager
def _whole_file(target: str) -> Iterator[Any]:
    """A file that has its name only when it is written whole."""
    try:
        filesystem, path = locate(target)
    except pa.ArrowInvalid as error:
        raise SettingsError(
            f"export: {target} is no place to write to ({error}); expected a path, or the URL of "
            "an object store. Correct it."
        ) from None
    if filesystem is not None:
        # A stream that is left early ends as a whole object all the same.
        with tempfile.TemporaryFile() as written:
            yield written
            written.seek(0)
            with filesystem.open_output_stream(path) as sink:
                shutil.copyfileobj(written, sink, _COPIED_BYTES)
        return
    if Path(path).is_dir():
        raise SettingsError(
            f"export: {path} is a folder; expected the name of a file. Name one in it."
        )
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    unfinished = f"{path}.{os.getpid()}.part"
    try:
        with open(unfinished, "wb") as sink:
            yield sink
            sink.flush()
            os.fsync(sink.fileno())
        os.replace(unfinished, path)
    finally:
        Path(unfinished).unlink(missing_ok=True)
