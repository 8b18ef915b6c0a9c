"""Writes rows that no table could take, from the workers.

    <folder of the table>/_quarantine/dt=D/<run>/source=clicks/part-00000-<hash>-<run>.pq

Rows stand by file, reason and content, so that the same ones give the same bytes. Needs pyarrow
only.
"""

from collections.abc import Iterable, Iterator, Sequence
from datetime import date
from typing import Final, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from training_assets.list_format import file_hash, seal, write_file
from training_assets.schemas import QUARANTINE

REJECTS_DDL: Final = "dt date, source string, rows long, name string"
_REJECTS: Final = pa.schema(
    [("dt", pa.date32()), ("source", pa.string()), ("rows", pa.int64()), ("name", pa.string())]
)
_GROUP_ROWS: Final = 65_536
_KEY: Final = ["dt", "source"]
_ORDER: Final = ("source_file", "reason", "content")


class Rejects(NamedTuple):
    """A file; ``name`` is relative to the folder of the table."""

    dt: date
    source: str
    rows: int
    name: str


def write_rejects(
    batches: Iterable[pa.RecordBatch], root: str, run: str
) -> Iterator[pa.RecordBatch]:
    """Rows of the quarantine with a ``source``, all of a day in one task; yields ``REJECTS_DDL``.

    ``root`` is the folder of the table, ``run`` 12 hexadecimal digits.
    """
    found = [batch for batch in batches if batch.num_rows]
    written: list[Rejects] = []
    if found:
        rows = _wide(pa.Table.from_batches(found))
        keys = rows.select(_KEY).group_by(_KEY).aggregate([]).to_pylist()
        written += [_write(rows, key["dt"], key["source"], root, run) for key in keys]
    yield _as_batch(written)


def _wide(rows: pa.Table) -> pa.Table:
    """Strings with 64-bit offsets: rows of a bad day may be long and many."""
    columns = {name: rows[name].cast(pa.large_string()) for name in ("source", *_ORDER)}
    return pa.table({"dt": rows["dt"].cast(pa.date32()), **columns})


def _write(rows: pa.Table, day: date, source: str, root: str, run: str) -> Rejects:
    is_own = pc.and_(pc.equal(rows["dt"], pa.scalar(day)), pc.equal(rows["source"], source))
    own = rows.filter(is_own).sort_by([(name, "ascending") for name in _ORDER])
    content = seal(_encoded(own))
    folder = f"_quarantine/dt={day}/{run}/source={source}"
    name = f"{folder}/part-00000-{file_hash(content)}-{run}.pq"
    write_file(f"{root}/{name}", content)
    return Rejects(day, source, len(own), name)


def _encoded(rows: pa.Table) -> pa.Buffer:
    schema = QUARANTINE.arrow_schema
    sink = pa.BufferOutputStream()
    with pq.ParquetWriter(sink, schema, compression="zstd", write_page_checksum=True) as writer:
        for start in range(0, len(rows), _GROUP_ROWS):
            group = rows.slice(start, _GROUP_ROWS).select(schema.names).cast(schema)
            writer.write_table(group, _GROUP_ROWS)
    return sink.getvalue()


def _as_batch(written: Sequence[Rejects]) -> pa.RecordBatch:
    columns = zip(*sorted(written), strict=True) if written else [()] * len(_REJECTS)
    arrays = [pa.array(c, f.type) for c, f in zip(columns, _REJECTS, strict=True)]
    return pa.RecordBatch.from_arrays(arrays, schema=_REJECTS)
