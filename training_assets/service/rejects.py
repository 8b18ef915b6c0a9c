"""Rows that were refused, in the format in which they came, so that they can be judged anew.

rows.csv, rows.jsonl or rows.parquet    the rows, each as it was sent
faults.jsonl.zst                        row, line, column, code, message and value of each fault
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, Any, Final

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from training_assets.service.shapes import Format, record_spans
from training_assets.sources.judged import Fault

FAULTS: Final = "faults.jsonl.zst"
_ROWS: Final = "rows"
_MAX_RECORD_LINES: Final = 1000
_BATCH_ROWS: Final = 8192


class RejectedRows:
    """Collects faults as they are found; takes the rows out of the body at the end."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._sink: Any = None
        self._rows: list[int] = []
        self._lines: list[int] = []

    def add(self, faults: Sequence[Fault]) -> None:
        for fault in faults:
            if not fault.row:
                continue
            if self._sink is None:
                self._sink = pa.CompressedOutputStream(str(self._folder / FAULTS), "zstd")
            self._sink.write(orjson.dumps(fault._asdict(), default=str) + b"\n")
            if not self._rows or self._rows[-1] != fault.row:
                self._rows.append(fault.row)
                self._lines.append(fault.line or 0)

    def finish(self, body: IO[bytes], found: Format) -> list[Path]:
        """Files with the rows and the faults; none where there are none."""
        if self._sink is None:
            return []
        self._sink.close()
        ending = "jsonl" if found == "json" else found
        path = self._folder / f"{_ROWS}.{ending}"
        body.seek(0)
        if found == "parquet":
            _copy_parquet(body, self._rows, path)
        else:
            with path.open("wb") as target:
                for record in _records(body, found, self._rows, self._lines):
                    target.write(record)
        return [self._folder / FAULTS, path]


def rows_file(names: Sequence[str]) -> str | None:
    """Of the names of kept rejects, that of the rows."""
    return next((n for n in names if n.rpartition("/")[2].startswith(f"{_ROWS}.")), None)


def _records(
    body: IO[bytes], found: Format, rows: Sequence[int], lines: Sequence[int]
) -> Iterator[bytes]:
    if found == "json":
        yield from _of_array(body, set(rows))
        return
    wanted = set(lines)
    # A quoted cell may hold line breaks.
    left, quotes = 0, 0
    for number, line in enumerate(body, 1):
        if number in wanted or (found == "csv" and number == 1):
            left, quotes = _MAX_RECORD_LINES if found == "csv" else 1, 0
        if not left:
            continue
        yield line if line.endswith(b"\n") else line + b"\n"
        quotes += line.count(b'"')
        left = left - 1 if quotes % 2 else 0


def _of_array(body: IO[bytes], wanted: set[int]) -> Iterator[bytes]:
    """Records of JSON that is one array, or objects one after another, each on a line."""
    for number, record in enumerate(record_spans(body), 1):
        if number in wanted:
            yield record.replace(b"\r", b" ").replace(b"\n", b" ") + b"\n"


def _copy_parquet(body: IO[bytes], rows: Sequence[int], path: Path) -> None:
    wanted = np.asarray(rows, np.int64) - 1
    file = pq.ParquetFile(body, arrow_extensions_enabled=False)
    start = 0
    with pq.ParquetWriter(path, file.schema_arrow, compression="zstd") as writer:
        for batch in file.iter_batches(_BATCH_ROWS):
            own = wanted[(wanted >= start) & (wanted < start + len(batch))] - start
            if len(own):
                writer.write_batch(batch.take(pa.array(own)))
            start += len(batch)
