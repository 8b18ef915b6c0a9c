"""Rows of padded lists as they lie in a file are those that Arrow reads; others are left to it."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from training_assets.checks.padded_pages import PaddedRows, padded_rows
from training_assets.list_format import JaggedLists, SealedParquet, SharedLists, file_hash, seal
from training_assets.list_format.pages import Limits
from training_assets_tests.unit.list_format.columns import write_groups

SCHEMA = pa.schema([("customer_id", pa.int64()), ("lists", pa.list_(pa.int32()))])
TOPS = st.sampled_from([1, 3, 4, 255, 300, 70_000, 2**31 - 1])
# Of rows in few and in many pages; put together, or said to be repeated by the compressed page.
LIMITS = [
    Limits(),
    Limits(page_bytes=64),
    Limits(long_list=0, large_dictionary=0),
    Limits(page_bytes=4096, long_list=0, large_dictionary=0),
]


@st.composite
def shared_lists(draw: Any) -> SharedLists:
    length = draw(st.sampled_from([1, 3, 8, 40, 128]))
    values = st.integers(0, draw(TOPS))
    lists = draw(st.lists(st.lists(values, max_size=length), min_size=1, max_size=5))
    times = draw(st.lists(st.integers(1, 12), min_size=len(lists), max_size=len(lists)))
    offsets = np.cumsum([0, *map(len, lists)])
    flat = np.array([value for found in lists for value in found], np.int32)
    index = np.repeat(np.arange(len(lists)), times)
    return SharedLists(JaggedLists(flat, offsets), index, length)


def sealed(folder: Path, groups: Sequence[Any], limits: Limits) -> SealedParquet:
    columns = [[pa.array(range(len(lists)), pa.int64()), lists] for lists in groups]
    path = write_groups(folder / "unsealed", SCHEMA, columns, limits=limits)
    return sealed_content(folder, path.read_bytes())


def sealed_content(folder: Path, unsealed: bytes) -> SealedParquet:
    content = seal(unsealed)
    path = folder / f"part-00000-{file_hash(content)}-0123456789ab.parquet"
    path.write_bytes(content)
    return SealedParquet(path)


def all_values(found: PaddedRows) -> list[list[int]]:
    rows: list[list[int]] = found.values(np.arange(len(found.is_new))).tolist()
    return rows


@pytest.mark.parametrize("limits", LIMITS)
@given(groups=st.lists(shared_lists(), min_size=1, max_size=2))
def test_rows_are_those_that_arrow_reads(
    tmp_path: Path, limits: Limits, groups: list[SharedLists]
) -> None:
    with sealed(tmp_path, groups, limits) as parquet:
        for number, lists in enumerate(groups):
            found = padded_rows(parquet, number, "lists", lists.length)
            expected = parquet.read(["lists"], [number])["lists"].to_pylist()
            assert found is None or all_values(found) == expected
            # Left out are only rows that do not fill whole bytes.
            assert found is not None or lists.length % 4
            if found is not None:
                same = [a == b for a, b in zip(expected[1:], expected[:-1], strict=True)]
                assert not any(
                    not s and not new for s, new in zip(same, found.is_new[1:], strict=True)
                )


def test_what_is_repeated_is_there_once(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    values = rng.integers(1, 70_000, (50, 200), dtype=np.int32)
    index = np.repeat(np.arange(50), 11)
    flat = JaggedLists(values.reshape(-1), 200 * np.arange(51))
    with sealed(tmp_path, [SharedLists(flat, index, 200)], Limits()) as parquet:
        found = padded_rows(parquet, 0, "lists", 200)
        assert found is not None
        assert found.values(np.arange(len(index))).tolist() == values[index].tolist()
        assert 50 <= len(found.places) < 55


def other_files() -> dict[str, pa.Array]:
    rows = [[1, 2, 3, 4]] * 9
    kind = pa.list_(pa.int32())
    return {
        "a shorter list": pa.array([*rows, [1, 2, 3]], kind),
        "a longer list": pa.array([*rows, [1, 2, 3, 4, 5]], kind),
        "a list less and one more": pa.array([*rows, [1, 2, 3], [1, 2, 3, 4, 5]], kind),
        "no list": pa.array([*rows, None], kind),
        "an empty list": pa.array([*rows, []], kind),
        "a null": pa.array([*rows, [1, None, 3, 4]], kind),
        "as they must be": pa.array(rows, kind),
    }


@pytest.mark.parametrize("name", other_files())
@pytest.mark.parametrize("encoding", ["dictionary", "plain", "page of version 2"])
def test_files_of_other_writers_are_read_rightly_or_left_to_arrow(
    tmp_path: Path, name: str, encoding: str
) -> None:
    lists = other_files()[name]
    sink = pa.BufferOutputStream()
    pq.write_table(
        pa.table([pa.array(range(len(lists)), pa.int64()), lists], schema=SCHEMA),
        sink,
        compression="zstd",
        use_dictionary=encoding != "plain",
        data_page_version="2.0" if encoding == "page of version 2" else "1.0",
        write_page_checksum=True,
    )
    with sealed_content(tmp_path, sink.getvalue().to_pybytes()) as parquet:
        found = padded_rows(parquet, 0, "lists", 4)
        assert found is None or (name, all_values(found)) == ("as they must be", lists.to_pylist())


def test_lists_of_any_length_are_left_to_arrow(tmp_path: Path) -> None:
    lists = JaggedLists(np.array([1, 2, 3, 4], np.int32), np.array([0, 1, 4]))
    with sealed(tmp_path, [lists], Limits()) as parquet:
        assert padded_rows(parquet, 0, "lists", 2) is None
