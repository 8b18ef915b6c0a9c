"""Lists are read back as they were written, places in a dictionary as places."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from training_assets.list_format import DamagedFileError, ListParquetReader
from training_assets.list_format.pages import Limits
from training_assets.list_format.writer import CREATED_BY
from training_assets_tests.unit.list_format.columns import LISTS, as_lists, jagged, write_groups

WIDE = pa.schema([LISTS.field("wide")])


def random_lists(top: int) -> list[list[int]]:
    rng = np.random.default_rng(top)
    return [rng.integers(0, top, n % 7, endpoint=True).tolist() for n in range(400)]


@pytest.mark.parametrize("page_bytes", [16, 100, 1 << 20])
@pytest.mark.parametrize("top", [3, 4, 200, 5000, 70_000])
def test_lists_stay_places_in_a_dictionary(path: Path, top: int, page_bytes: int) -> None:
    lists = random_lists(top)
    write_groups(path, WIDE, [[jagged(lists, np.int32)]], limits=Limits(page_bytes))
    found = ListParquetReader(path).lists(0, "wide")
    # Where Arrow had to read, there is none.
    assert found.dictionary is not None
    assert as_lists(found.plain()) == lists


def test_lists_of_another_writer_are_read_by_arrow(path: Path) -> None:
    lists = random_lists(100)
    pq.write_table(pa.table({"wide": pa.array(lists, pa.list_(pa.int32()))}), path)
    found = ListParquetReader(path).lists(0, "wide")
    assert found.dictionary is None
    assert as_lists(found) == lists


@pytest.mark.parametrize("version", [b"version 1.0.0", b"version 3.0.0"])
def test_lists_of_another_version_are_read_by_arrow(path: Path, version: bytes) -> None:
    lists = random_lists(100)
    write_groups(path, WIDE, [[jagged(lists, np.int32)]])
    content = path.read_bytes()
    assert content.count(CREATED_BY.encode()) == 1
    path.write_bytes(content.replace(b"version 2.0.0", version))
    found = ListParquetReader(path).lists(0, "wide")
    assert found.dictionary is None
    assert as_lists(found) == lists


def test_pages_of_an_unsealed_file_are_verified(path: Path) -> None:
    lists = random_lists(5000)
    write_groups(path, WIDE, [[jagged(lists, np.int32)]])
    chunk = pq.read_metadata(path).row_group(0).column(0)
    whole, rng = path.read_bytes(), np.random.default_rng(0)
    start, size = chunk.dictionary_page_offset, chunk.total_compressed_size
    messages, unnoticed = [], 0
    for place in (start + rng.choice(size, 300, replace=False)).tolist():
        damaged = bytearray(whole)
        damaged[place] ^= int(rng.integers(1, 256))
        path.write_bytes(damaged)
        try:
            found = ListParquetReader(path).lists(0, "wide")
        except DamagedFileError as error:
            messages.append(str(error))
        else:
            # A field of a header that nobody reads.
            assert as_lists(found.plain()) == lists
            unnoticed += 1
    assert unnoticed < 5
    start = f"{path}: column wide of row group 0 is damaged ("
    assert all(message.startswith(start) for message in messages)


def test_arrow_finds_the_checksums_of_pages_in_order(path: Path) -> None:
    lists = random_lists(5000)
    write_groups(path, WIDE, [[jagged(lists, np.int32)]], limits=Limits(page_bytes=100))
    with pq.ParquetFile(path, page_checksum_verification=True) as file:
        assert file.read()["wide"].to_pylist() == lists
    chunk = pq.read_metadata(path).row_group(0).column(0)
    for offset in (chunk.dictionary_page_offset, chunk.data_page_offset):
        damaged = bytearray(path.read_bytes())
        # Behind a header, which is shorter.
        damaged[offset + 40] ^= 1
        with (
            pq.ParquetFile(pa.BufferReader(damaged), page_checksum_verification=True) as file,
            pytest.raises(OSError, match="CRC checksum verification failed"),
        ):
            file.read()
