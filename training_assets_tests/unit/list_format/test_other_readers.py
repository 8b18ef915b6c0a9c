"""Engines and libraries that know nothing of the list format read its files."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from training_assets.list_format import SharedLists, seal
from training_assets.list_format.pages import Limits
from training_assets.list_format.writer import Values
from training_assets_tests.unit.list_format.columns import (
    LISTS,
    SCALARS,
    jagged,
    of_lists,
    scalars,
    some_rows,
    write_groups,
)

SMALL_PAGES = Limits(page_bytes=10_000, large_dictionary=0)


def full_file(path: Path) -> pa.Table:
    """Every kind of column in three row groups, of which the last is of one row; what it holds."""
    schema = pa.schema([*SCALARS, *list(LISTS)[1:], ("shared", pa.list_(pa.int32()))])
    rng = np.random.default_rng(3)
    rows = [
        {
            "label": None if n % 5 == 0 else n - 30,
            "name": [None, "", "é日本𝄞", "r" * (n % 40)][n % 4],
            **row,
        }
        for n, row in enumerate(some_rows(151))
    ]
    groups: list[list[Values]] = []
    for part in (rows[:90], rows[90:150], rows[150:]):
        values = rng.integers(0, 2**31 - 1, (9, 1000), np.int32, endpoint=True)
        values[:3] %= 4
        index = np.sort(rng.integers(0, 9, len(part)))
        # Also around the length whose padding is just worth a repetition.
        sizes = [1000, 0, 1, 935, 934, 933, 500, 999, 1000]
        lists = [own[:size].tolist() for own, size in zip(values, sizes, strict=True)]
        shared = SharedLists(jagged(lists, np.int32), index, 1000)
        groups.append([*scalars(part), *of_lists(part)[1:], shared])
        for row, n in zip(part, index, strict=True):
            row["shared"] = lists[n] + [0] * (1000 - sizes[n])
    write_groups(path, schema, groups, limits=SMALL_PAGES)
    # As it is published.
    path.write_bytes(seal(path.read_bytes()))
    return pa.Table.from_pylist(rows, schema)


def test_arrow_reads_every_kind_of_column(path: Path) -> None:
    assert full_file(path).equals(pq.ParquetFile(path).read())


def test_engines_read_every_kind_of_column(spark: SparkSession, tmp_path: Path) -> None:
    expected = full_file(tmp_path / "part-00000.parquet").to_pylist()
    frame = spark.read.parquet(str(tmp_path))
    assert dict(frame.dtypes) == {
        "customer_id": "bigint",
        "label": "int",
        "name": "string",
        "tiny": "array<tinyint>",
        "small": "array<smallint>",
        "wide": "array<int>",
        "shared": "array<int>",
    }
    found = [row.asDict() for row in frame.collect()]
    assert sorted(found, key=str) == sorted(expected, key=str)
    # Row groups are skipped by their statistics.
    some = frame.where(F.col("customer_id").between(24, 25) & F.col("label").isNotNull())
    wanted = [r["label"] for r in expected if 24 <= r["customer_id"] <= 25]
    labels = [row.label for row in some.select("label").collect()]
    assert sorted(labels) == sorted(label for label in wanted if label is not None)
    nameless = frame.where(F.col("name").isNull()).count()
    assert nameless == sum(row["name"] is None for row in expected)


def test_duckdb_reads_every_kind_of_column(tmp_path: Path) -> None:
    duckdb = pytest.importorskip("duckdb")
    expected = full_file(tmp_path / "f.parquet")
    found = duckdb.sql(f"SELECT * FROM read_parquet('{tmp_path}/f.parquet')")
    assert [str(kind) for kind in found.types] == [
        "BIGINT",
        "INTEGER",
        "VARCHAR",
        "TINYINT[]",
        "SMALLINT[]",
        "INTEGER[]",
        "INTEGER[]",
    ]
    assert found.fetchall() == [tuple(row.values()) for row in expected.to_pylist()]
    some = duckdb.sql(
        f"SELECT count(*) FROM read_parquet('{tmp_path}/f.parquet') WHERE customer_id >= 24"
    ).fetchall()
    assert some == [(pc.sum(pc.greater_equal(expected["customer_id"], 24)).as_py(),)]


def test_polars_reads_every_kind_of_column(tmp_path: Path) -> None:
    polars = pytest.importorskip("polars")
    expected = full_file(tmp_path / "f.parquet")
    found = polars.read_parquet(tmp_path / "f.parquet")
    assert found.rows() == [tuple(row.values()) for row in expected.to_pylist()]
