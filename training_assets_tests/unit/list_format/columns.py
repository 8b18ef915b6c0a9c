"""Columns to write, and the files of both writers, read back by Arrow and by the list reader."""

from collections.abc import Iterable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from hypothesis import strategies as st

from training_assets.list_format import JaggedLists, ListFormat, ListParquetReader, SharedLists
from training_assets.list_format.arrays import Ints
from training_assets.list_format.arrow_writer import ArrowListWriter
from training_assets.list_format.pages import Limits
from training_assets.list_format.writer import ListParquetWriter, Values

SCALARS = pa.schema([("customer_id", pa.int64()), ("label", pa.int32()), ("name", pa.string())])
LISTS = pa.schema(
    [
        ("customer_id", pa.int64()),
        ("tiny", pa.list_(pa.int8())),
        ("small", pa.list_(pa.int16())),
        ("wide", pa.list_(pa.int32())),
    ]
)
TOPS = {"tiny": 2**7 - 1, "small": 2**15 - 1, "wide": 2**31 - 1}

Rows = list[dict[str, Any]]


def write_groups(
    path: Path,
    schema: pa.Schema,
    groups: Iterable[Sequence[Values]],
    *,
    list_format: ListFormat = "lists",
    limits: Limits = Limits(),  # noqa: B008
) -> Path:
    with path.open("wb") as file:
        writer: ListParquetWriter | ArrowListWriter
        if list_format == "lists":
            writer = ListParquetWriter(file, schema, limits=limits)
        else:
            writer = ArrowListWriter(file, schema)
        with writer:
            for columns in groups:
                writer.write_group(columns)
    return path


def scalars(rows: Rows, schema: pa.Schema = SCALARS) -> list[Values]:
    return [pa.array([row[f.name] for row in rows], f.type) for f in schema]


def jagged(lists: Sequence[Sequence[int]], dtype: Any) -> JaggedLists:
    values = np.array([value for values in lists for value in values], dtype)
    return JaggedLists(values, np.cumsum([0, *map(len, lists)]))


def full(values: Ints, index: Any) -> SharedLists:
    """Lists without padding; ``values`` is [lists, length]."""
    lists, length = values.shape
    offsets = length * np.arange(lists + 1)
    return SharedLists(JaggedLists(values.reshape(-1), offsets), np.array(index), length)


def of_lists(rows: Rows) -> list[Values]:
    """Columns of ``LISTS``, jagged."""
    widths = (("tiny", np.int8), ("small", np.int16), ("wide", np.int32))
    ids = pa.array([row["customer_id"] for row in rows], pa.int64())
    return [ids, *(jagged([row[name] for row in rows], dtype) for name, dtype in widths)]


def read(path: Path) -> Rows:
    """The rows, after a look at what Arrow finds in the file."""
    with pq.ParquetFile(path) as file:
        table = file.read()
        table.validate(full=True)
        groups = [file.metadata.row_group(n).num_rows for n in range(file.num_row_groups)]
        assert sum(groups) == file.metadata.num_rows == table.num_rows
    rows = table.to_pylist()
    for field in table.schema:
        if pa.types.is_list(field.type):
            assert by_list_reader(path, field.name) == [row[field.name] for row in rows]
    return rows


def by_list_reader(path: Path, name: str) -> list[list[int]]:
    reader = ListParquetReader(path)
    groups = range(reader.metadata.num_row_groups)
    return [one for group in groups for one in as_lists(reader.lists(group, name).plain())]


numbers = {
    name: st.one_of(st.integers(0, 3), st.integers(0, top), st.just(top))
    for name, top in TOPS.items()
}
texts = st.one_of(
    st.none(), st.text(max_size=5), st.sampled_from(["", "é", "𝄞日本", "a\0b", "'\""])
)
scalar_rows = st.lists(
    st.fixed_dictionaries(
        {
            "customer_id": st.one_of(st.none(), st.integers(-(2**63), 2**63 - 1)),
            "label": st.one_of(st.none(), st.integers(-(2**31), 2**31 - 1)),
            "name": texts,
        }
    ),
    min_size=1,
    max_size=30,
)
list_rows = st.lists(
    st.fixed_dictionaries(
        {
            "customer_id": st.integers(-(2**63), 2**63 - 1),
            **{name: st.lists(value, max_size=9) for name, value in numbers.items()},
        }
    ),
    min_size=1,
    max_size=20,
)


def as_lists(lists: JaggedLists) -> list[list[int]]:
    return [lists.values[low:high].tolist() for low, high in pairwise(lists.offsets)]


def some_rows(count: int) -> Rows:
    """Lists of 0 to 12, most of them empty at the start and at the end."""
    rng = np.random.default_rng(5)
    rows = []
    for n in range(count):
        size = 0 if n < 3 or n > count - 3 else int(rng.integers(0, 13))
        row: dict[str, Any] = {"customer_id": n // 2 - 20}
        for name, top in TOPS.items():
            row[name] = rng.integers(0, min(top, 70_000), size, endpoint=True).tolist()
        rows.append(row)
    return rows
