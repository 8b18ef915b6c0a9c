"""Sealed files are read as Arrow reads them, wherever they lie and whoever wrote them."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.fs as pafs
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyspark import cloudpickle

from training_assets import kernels
from training_assets.list_format import (
    DamagedFileError,
    ListParquetReader,
    SealedParquet,
    file_hash,
    seal,
    write_file,
)
from training_assets.list_format.seal import FileEnd, read_seal
from training_assets_tests.unit.list_format.columns import LISTS, of_lists, some_rows, write_groups

RUN = "0123456789ab"
ROWS = 1_000
Open = Callable[[Path], SealedParquet]


def table() -> pa.Table:
    rng = np.random.default_rng(2)
    return pa.table(
        {
            "id": pa.array(np.arange(ROWS)),
            "parts": pa.array([{"a": n % 3, "b": [n] * (n % 3)} for n in range(ROWS)]),
            "part": pa.array([f"{n}" if n % 5 else None for n in range(ROWS)]),
            "noise": pa.array(rng.integers(0, 2**62, ROWS)),
        }
    )


def sealed_file(folder: Path) -> Path:
    """Four row groups."""
    sink = pa.BufferOutputStream()
    pq.write_table(table(), sink, row_group_size=300)
    content = seal(sink.getvalue())
    path = folder / f"part-00000-{file_hash(content)}-{RUN}.parquet"
    write_file(str(path), content)
    return path


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return sealed_file(tmp_path_factory.mktemp("sealed") / "dt=2024-03-01")


def local(path: Path) -> SealedParquet:
    return SealedParquet(path)


def in_store(path: Path) -> SealedParquet:
    """Through a file system of which nothing is known, as it were far away."""
    store = pafs.SubTreeFileSystem(str(path.parent), pafs.LocalFileSystem())
    return SealedParquet(path.name, store)


@pytest.mark.parametrize("open_file", [local, in_store])
@settings(max_examples=40)
@given(
    columns=st.none() | st.lists(st.sampled_from([*table().column_names, "parts.a"]), unique=True),
    groups=st.none() | st.lists(st.integers(0, 3), unique=True),
    size=st.sampled_from([1, 64, 299, 5000]),
)
def test_columns_and_row_groups_are_those_that_arrow_reads(
    path: Path, open_file: Open, columns: list[str] | None, groups: list[int] | None, size: int
) -> None:
    with open_file(path) as file, pq.ParquetFile(path) as arrow:
        assert file.is_sealed
        assert file.schema_arrow.equals(arrow.schema_arrow)
        wanted = range(arrow.num_row_groups) if groups is None else groups
        expected = arrow.read_row_groups(list(wanted), columns=columns)
        assert file.num_row_groups == arrow.num_row_groups == 4
        # Twice: what was loaded is there already, or partly.
        for _ in range(2):
            assert file.read(columns, groups).equals(expected)
            batches = list(file.iter_batches(size, columns, groups))
            assert sum(batch.num_rows for batch in batches) == len(expected)
            found = pa.Table.from_batches(batches, expected.schema)
            assert found.equals(expected)


def test_a_url_of_a_local_file_is_read(path: Path) -> None:
    assert SealedParquet(path.as_uri()).read().equals(table())


def test_a_file_that_is_not_there_is_not_called_damaged(tmp_path: Path) -> None:
    for place in (tmp_path / f"part-00000-{16 * '0'}-{RUN}.parquet", tmp_path / "a.parquet"):
        with pytest.raises(FileNotFoundError):
            SealedParquet(place)


def test_folders_may_have_any_name(tmp_path: Path) -> None:
    path = sealed_file(tmp_path / "lake[1]" / "a b%20c" / "ü?#*" / "dt=2024-03-01")
    assert SealedParquet(path).read().equals(table())
    assert ListParquetReader(path).scalars(1, "id").to_pylist() == list(range(300, 600))


# --- files of other names ---------------------------------------------------------------------


@pytest.mark.parametrize("name", ["part-00000.parquet", "_part.parquet", "part-1-aa-bb.parquet"])
def test_files_of_an_older_lake_are_read_by_arrow_and_their_pages_verified(
    tmp_path: Path, name: str
) -> None:
    path = tmp_path / name
    pq.write_table(table(), path, write_page_checksum=True, compression="none")
    with SealedParquet(path) as file:
        assert not file.is_sealed
        assert file.read().equals(table())
    content = bytearray(path.read_bytes())
    noise = table()["noise"].chunk(0)[700].as_py().to_bytes(8, "little")
    content[content.index(noise)] ^= 1
    path.write_bytes(content)
    for read in (SealedParquet.read, lambda file: list(file.iter_batches())):
        with (
            SealedParquet(path) as file,
            pytest.raises(DamagedFileError, match=r"CRC checksum.*Publish the day again\.$"),
        ):
            read(file)


@pytest.mark.parametrize("content", [b"", b"PAR1", b"a file of text\n", 99 * b"PAR1"])
def test_what_is_no_parquet_file_is_named(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "part-00000.parquet"
    path.write_bytes(content)
    with pytest.raises(DamagedFileError, match="its end is damaged"):
        SealedParquet(path)


# --- sealing ----------------------------------------------------------------------------------


def test_a_seal_changes_nothing_for_other_readers(path: Path, tmp_path: Path) -> None:
    assert pq.read_table(path, partitioning=None).equals(table())
    unsealed = tmp_path / "unsealed.parquet"
    pq.write_table(table(), unsealed, row_group_size=300)
    before, after = unsealed.read_bytes(), path.read_bytes()
    seal_size = len(after) - len(before)
    assert seal_size == 28 + 4 * 4 * pq.read_metadata(path).num_columns
    end = pq.read_metadata(path).serialized_size + 8
    assert after[:-end][:-seal_size] + after[-end:] == before


def test_the_same_content_has_the_same_seal_and_hash(tmp_path: Path) -> None:
    assert sealed_file(tmp_path / "a").name == sealed_file(tmp_path / "b").name


def test_the_end_of_a_file_takes_one_request_unless_it_is_long(path: Path) -> None:
    content = memoryview(path.read_bytes())
    for guess, requests in ((1 << 16, 1), (len(content), 1), (200, 2)):
        asked = []

        def tail(size: int, asked: list[int] = asked) -> memoryview:
            asked.append(size)
            return content[max(0, len(content) - size) :]

        checksums = read_seal(FileEnd(len(content), tail, guess))
        assert len(checksums) == 4 * pq.read_metadata(path).num_columns
        assert len(asked) == requests


def test_a_file_that_is_written_twice_at_once_is_whole(tmp_path: Path) -> None:
    path = sealed_file(tmp_path)
    with SealedParquet(path) as file:
        write_file(str(path), path.read_bytes())
        assert file.read().equals(table())
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


# --- workers ----------------------------------------------------------------------------------


@pytest.mark.usefixtures("workers_elsewhere")
def test_workers_need_not_have_the_package(tmp_path: Path) -> None:
    assert kernels.list_format.__name__ == "training_assets.list_format"
    rows = some_rows(50)
    content = seal(write_groups(tmp_path / "f", LISTS, [of_lists(rows)]).read_bytes())
    place = str(tmp_path / f"part-00000-{file_hash(content)}-{RUN}.parquet")

    def run() -> int:
        write_file(place, content)
        return len(ListParquetReader(place).lists(0, "wide")) + SealedParquet(place).read().num_rows

    job = tmp_path / "job"
    job.write_bytes(cloudpickle.dumps(run))
    script = (
        "import sys, pickle\n"
        "sys.modules['training_assets'] = None\n"
        f"print(pickle.load(open({str(job)!r}, 'rb'))())"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False
    )
    assert done.stdout == "100\n", done.stderr
