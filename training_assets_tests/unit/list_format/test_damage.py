"""A damaged byte anywhere in a sealed file is an error, or changes nothing that is read."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from training_assets.list_format import (
    DamagedFileError,
    ListParquetReader,
    SealedParquet,
    file_hash,
    seal,
)
from training_assets_tests.unit.list_format.columns import (
    LISTS,
    as_lists,
    of_lists,
    some_rows,
    write_groups,
)

RUN = "0123456789ab"
Reader = Callable[[Path], pa.Table]


class File(NamedTuple):
    """What lies under the path when it is whole, and the table that it holds."""

    path: Path
    content: bytes
    table: pa.Table


def lists_file(tmp_path: Path, rows: int) -> bytes:
    """Two row groups by the list writer."""
    found = some_rows(rows)
    groups = [of_lists(found[: rows // 2]), of_lists(found[rows // 2 :])]
    return write_groups(tmp_path / "unsealed", LISTS, groups).read_bytes()


def arrow_file(tmp_path: Path, rows: int) -> bytes:
    """Three row groups by Arrow's writer: nulls, texts, lists and structs; with a page index."""
    rng = np.random.default_rng(1)
    columns = {
        "customer_id": pa.array(rng.integers(0, 2**40, rows)),
        "name": pa.array([None if n % 7 == 0 else f"n{n % 13}" for n in range(rows)]),
        "at": pa.array(rng.integers(0, 2**40, rows)).view(pa.timestamp("us", "UTC")),
        "lists": pa.array([list(range(n % 4)) if n % 5 else None for n in range(rows)]),
        "parts": pa.array([{"a": n, "b": n % 2 == 0} for n in range(rows)]),
    }
    sink = pa.BufferOutputStream()
    pq.write_table(
        pa.table(columns),
        sink,
        row_group_size=-(-rows // 3),
        compression="zstd",
        write_page_index=True,
        write_page_checksum=True,
    )
    return bytes(sink.getvalue())


def empty_file(tmp_path: Path, rows: int) -> bytes:
    sink = pa.BufferOutputStream()
    pq.write_table(LISTS.empty_table(), sink)
    return bytes(sink.getvalue())


KINDS = {"lists": lists_file, "arrow": arrow_file, "empty": empty_file}


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def sealed(tmp_path: Path, kind: str, rows: int) -> File:
    content = seal(KINDS[kind](tmp_path, rows))
    path = tmp_path / f"part-00000-{file_hash(content)}-{RUN}.parquet"
    path.write_bytes(content)
    return File(path, content, pq.ParquetFile(pa.BufferReader(content)).read())


def whole(path: Path) -> pa.Table:
    return SealedParquet(path).read()


def in_batches(path: Path) -> pa.Table:
    with SealedParquet(path) as file:
        return pa.Table.from_batches(file.iter_batches(50), file.schema_arrow)


def by_lists(path: Path) -> pa.Table:
    """Columns of lists as the list reader finds them."""
    reader = ListParquetReader(path)
    schema = reader.metadata.schema.to_arrow_schema()
    columns = []
    for field in schema:
        parts = []
        for group in range(reader.metadata.num_row_groups):
            # A list that is null has no place in the list reader.
            if pa.types.is_list(field.type) and field.name in LISTS.names:
                lists = reader.lists(group, field.name).plain()
                parts.append(pa.array(as_lists(lists), field.type))
            else:
                parts += reader.scalars(group, field.name).chunks
        columns.append(pa.chunked_array(parts, field.type))
    return pa.table(columns, schema=schema)


READERS: list[Reader] = [whole, in_batches, by_lists]


def require_noticed(file: File, damaged: bytes, readers: list[Reader]) -> int:
    """How many of the readers found what was written; the others must say what is wrong."""
    file.path.write_bytes(damaged)
    unnoticed = 0
    for read in readers:
        try:
            found = read(file.path)
        except DamagedFileError as error:
            text = str(error)
        else:
            assert found.equals(file.table)
            unnoticed += 1
            continue
        assert text.startswith(f"{file.path}: ")
        assert text.endswith(" Publish the day again.")
    return unnoticed


def flipped(content: bytes, places: list[int]) -> Iterator[bytes]:
    rng = np.random.default_rng(0)
    for place in places:
        damaged = bytearray(content)
        damaged[place] ^= int(rng.integers(1, 256))
        yield bytes(damaged)


def test_files_that_are_whole_are_read_by_every_reader(tmp_path: Path, kind: str) -> None:
    file = sealed(tmp_path, kind, 200)
    assert require_noticed(file, file.content, READERS) == len(READERS)


def test_every_byte_of_a_file_counts_or_changes_nothing(tmp_path: Path, kind: str) -> None:
    file = sealed(tmp_path, kind, 24)
    places = list(range(len(file.content)))
    unread = sum(require_noticed(file, bad, [whole]) for bad in flipped(file.content, places))
    # The first four bytes, the page index of Arrow's writer and chunks without rows: nobody asks.
    with SealedParquet(write_back(file)) as parquet:
        chunks = sum(
            parquet.metadata.row_group(group).column(n).total_compressed_size
            for group in range(parquet.num_row_groups)
            for n in range(parquet.metadata.num_columns)
            if parquet.metadata.row_group(group).num_rows
        )
        end = parquet.metadata.serialized_size + 8
    seal_size = 28 + 4 * parquet.num_row_groups * parquet.metadata.num_columns
    assert unread == len(file.content) - chunks - seal_size - end
    assert kind != "lists" or unread == 4


def write_back(file: File) -> Path:
    file.path.write_bytes(file.content)
    return file.path


def test_random_places_are_noticed_by_every_reader(tmp_path: Path, kind: str) -> None:
    file = sealed(tmp_path, kind, 120)
    places = np.random.default_rng(7).integers(4, len(file.content), 200).tolist()
    for damaged in flipped(file.content, places):
        require_noticed(file, damaged, READERS)


def test_page_headers_are_noticed_by_every_reader(tmp_path: Path, kind: str) -> None:
    file = sealed(tmp_path, kind, 60)
    metadata = pq.read_metadata(pa.BufferReader(file.content))
    starts = set()
    # The first and the last row group; between them is nothing else.
    for group in map(metadata.row_group, {0, metadata.num_row_groups - 1}):
        for chunk in map(group.column, range(group.num_columns)):
            starts |= {chunk.data_page_offset, chunk.dictionary_page_offset or 0}
    # Without rows there is no page of data, whose place is 0 then.
    places = sorted({start + n for start in starts - {0} for n in range(15)})
    for damaged in flipped(file.content, places):
        unnoticed = require_noticed(file, damaged, READERS)
        assert unnoticed == 0 or kind == "empty"


def test_files_that_are_cut_or_continued_are_damaged(tmp_path: Path, kind: str) -> None:
    file = sealed(tmp_path, kind, 60)
    content = file.content
    for size in {0, 1, 4, 8, 11, 12, 20, 43, 44, len(content) // 2, *range(len(content) - 60)}:
        assert require_noticed(file, content[:size], [whole]) == 0
    for more in (b"\0", b"PAR1", content, content[-100:]):
        assert require_noticed(file, content + more, READERS) == 0
        assert require_noticed(file, more + content, READERS) == 0
    # A hole, and bytes that do not belong there.
    for at in range(4, len(content), 37):
        assert require_noticed(file, content[:at] + content[at + 1 :], [whole]) == 0
        assert require_noticed(file, content[:at] + b"\0" + content[at:], [whole]) == 0


def test_a_file_that_is_cut_while_it_is_open_is_damaged(tmp_path: Path) -> None:
    file = sealed(tmp_path, "arrow", 5000)
    with SealedParquet(file.path) as parquet:
        batches = parquet.iter_batches(10)
        next(batches)
        os.truncate(file.path, len(file.content) // 2)
        with pytest.raises(DamagedFileError, match="is damaged"):
            list(batches)


def test_many_files_are_open_at_once_only_until_they_are_closed(tmp_path: Path) -> None:
    file = sealed(tmp_path, "lists", 20)
    before = len(os.listdir("/proc/self/fd"))
    files = [SealedParquet(file.path) for _ in range(10)]
    for parquet in files:
        assert parquet.read().equals(file.table)
        parquet.close()
    assert len(os.listdir("/proc/self/fd")) == before
    assert all(parquet.read().equals(file.table) for parquet in files)


def test_a_file_without_its_seal_is_damaged(tmp_path: Path, kind: str) -> None:
    unsealed = KINDS[kind](tmp_path, 60)
    path = tmp_path / f"part-00003-{16 * '0'}-{RUN}.pq"
    path.write_bytes(unsealed)
    with pytest.raises(DamagedFileError) as caught:
        SealedParquet(path)
    assert str(caught.value) == (
        f"{path}: its end is damaged (it has no seal before its footer); "
        "expected the file that was written. Publish the day again."
    )


def test_a_file_in_the_place_of_another_one_is_damaged(tmp_path: Path, kind: str) -> None:
    """Such as an older one, brought back by hand."""
    file, other = sealed(tmp_path, kind, 60), sealed(tmp_path, "lists", 61)
    assert require_noticed(file, other.content, READERS) == 0


def test_the_hash_of_a_whole_file_is_that_of_its_bytes(tmp_path: Path, kind: str) -> None:
    file = sealed(tmp_path, kind, 100)
    assert file_hash(file.content) in file.path.name
    metadata = pq.read_metadata(file.path)
    for n in range(metadata.num_columns):
        chunk = metadata.row_group(0).column(n)
        start = chunk.dictionary_page_offset or chunk.data_page_offset
        for damaged in flipped(file.content, [start, start + chunk.total_compressed_size - 1]):
            assert file_hash(damaged) not in file.path.name


def test_columns_that_are_not_read_need_not_be_whole(tmp_path: Path) -> None:
    file = sealed(tmp_path, "arrow", 300)
    chunk = pq.read_metadata(file.path).row_group(2).column(1)
    (damaged,) = flipped(file.content, [chunk.data_page_offset + 9])
    file.path.write_bytes(damaged)
    with SealedParquet(file.path) as parquet:
        assert parquet.read(row_groups=[0, 1]).equals(file.table.slice(0, 200))
        others = ["customer_id", "parts.b", "lists"]
        assert parquet.read(others)["customer_id"].equals(file.table["customer_id"])
        with pytest.raises(DamagedFileError) as caught:
            parquet.read(["name"])
    text = str(caught.value)
    assert text.startswith(f"{file.path}: column name of row group 2 is damaged (CRC ")
    assert text.endswith(". Publish the day again.")
