"""Lists as they lie in a file are those that Arrow reads; others are left to it."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from training_assets.checks.encoded_rows import certainly_right, encoded_histories
from training_assets.checks.files import File
from training_assets.checks.list_pages import EncodedLists, encoded_lists
from training_assets.checks.padded_pages import PaddedRows
from training_assets.list_format import JaggedLists, SealedParquet, file_hash, seal
from training_assets.list_format.pages import Limits
from training_assets.schemas import CUSTOMER_HISTORY
from training_assets_tests.support.frames import DAY
from training_assets_tests.unit.list_format.columns import write_groups

SCHEMA = pa.schema([("customer_id", pa.int64()), ("lists", pa.list_(pa.int32()))])
TOPS = st.sampled_from([1, 3, 4, 255, 300, 70_000, 2**31 - 1])
LENGTH = 3


def sealed(folder: Path, unsealed: bytes) -> SealedParquet:
    content = seal(unsealed)
    path = folder / f"part-00000-{file_hash(content)}-0123456789ab.parquet"
    path.write_bytes(content)
    return SealedParquet(path)


def as_lists(found: EncodedLists) -> list[list[int]]:
    values, ends = found.dictionary.take(found.places), found.offsets[1:]
    return [row.tolist() for row in np.split(values, ends[:-1])] if len(ends) else []


@st.composite
def jagged_lists(draw: Any) -> list[list[int]]:
    values = st.integers(0, draw(TOPS))
    rows: list[list[int]] = draw(st.lists(st.lists(values, max_size=40), min_size=1, max_size=9))
    return rows


@pytest.mark.parametrize("page_bytes", [16, 1 << 20])
@given(rows=jagged_lists())
def test_lists_of_our_own_writer_are_those_that_were_written(
    tmp_path: Path, page_bytes: int, rows: list[list[int]]
) -> None:
    flat = np.array([value for row in rows for value in row], np.int32)
    lists = JaggedLists(flat, np.cumsum([0, *map(len, rows)]))
    columns = [[pa.array(range(len(rows)), pa.int64()), lists]]
    path = write_groups(tmp_path / "u", SCHEMA, columns, limits=Limits(page_bytes=page_bytes))
    with sealed(tmp_path, path.read_bytes()) as parquet:
        found = encoded_lists(parquet, 0, "lists")
        assert found is not None
        assert as_lists(found) == rows
        assert found.uses().sum() == len(flat)
        low, high = int(flat.min(initial=0)), int(flat.max(initial=0))
        assert found.is_within(low, high)
        assert found.is_within(low, high - 1) == (high not in flat)


def other_lists() -> dict[str, list[Any]]:
    return {
        "long ones": [[n % 7 for n in range(size)] for size in (3, 900, 0, 41)],
        "the same ones": [[5] * 9] * 40,
        "a null in a list": [[1, 2], [3, None]],
        "no list": [[1, 2], None],
        "empty ones": [[], []],
    }


@pytest.mark.parametrize("name", other_lists())
@pytest.mark.parametrize("encoding", ["dictionary", "plain", "page of version 2"])
def test_files_of_other_writers_are_read_rightly_or_left_to_arrow(
    tmp_path: Path, name: str, encoding: str
) -> None:
    rows = other_lists()[name]
    sink = pa.BufferOutputStream()
    pq.write_table(
        pa.table([pa.array(range(len(rows)), pa.int64()), pa.array(rows)], schema=SCHEMA),
        sink,
        compression="zstd",
        use_dictionary=encoding != "plain",
        data_page_version="2.0" if encoding == "page of version 2" else "1.0",
    )
    with sealed(tmp_path, sink.getvalue().to_pybytes()) as parquet:
        found = encoded_lists(parquet, 0, "lists")
        assert found is None or as_lists(found) == rows


def histories(folder: Path, rows: Sequence[tuple[int, list[int], list[int]]]) -> File:
    customers, items, types = (list(column) for column in zip(*rows, strict=True))
    lists = [
        JaggedLists(
            np.array([value for row in column for value in row], np.int32),
            np.cumsum([0, *map(len, column)]),
        )
        for column in (items, types, types)
    ]
    columns = [[pa.array(customers, pa.int64()), *lists]]
    path = write_groups(folder / "u", CUSTOMER_HISTORY.arrow_schema, columns)
    with sealed(folder, path.read_bytes()) as parquet:
        return File(DAY, repr(parquet)[len("SealedParquet('") : -2])


def padded(values: Sequence[Sequence[int]]) -> PaddedRows:
    dictionary, places = np.unique(np.array(values, np.int32), return_inverse=True)
    rows = np.asarray(places).reshape(len(values), LENGTH).astype(np.uint16)
    return PaddedRows(np.ones(len(values), bool), rows, dictionary.astype(np.int32))


# What customer, items and types a row has, and whether its places say that it is right.
ROWS: list[tuple[int, list[int], list[int], bool]] = [
    (1, [7, 9, 0], [1, 3, 0], True),
    (1, [7, 9, 9], [1, 3, 0], False),
    (1, [9, 7, 0], [3, 1, 0], False),
    (1, [7, 9, 0], [1, 2, 0], False),
    (2, [0, 0, 0], [0, 0, 0], True),
    (2, [7, 0, 0], [1, 0, 0], False),
    (3, [4, 4, 4], [2, 2, 2], True),
    # Longer than a row: it is for the values to say that it must be cut.
    (4, [5, 5, 5], [1, 1, 1], False),
    (99, [0, 0, 0], [0, 0, 0], False),
]


def test_rows_that_carry_their_history_are_seen_by_their_places(tmp_path: Path) -> None:
    file = histories(
        tmp_path, [(1, [7, 9], [1, 3]), (2, [], []), (3, [4] * 3, [2] * 3), (4, [5] * 4, [1] * 4)]
    )
    customers, items, types, expected = (list(column) for column in zip(*ROWS, strict=True))
    ids = np.array(customers)
    known = encoded_histories([file], np.unique(ids))
    carried = [padded(items), padded(types)]
    found = certainly_right(known, ids, np.arange(len(ids)), carried, LENGTH)
    assert found.tolist() == expected
    # A customer with two histories is not judged here.
    twice = certainly_right([*known, *known], ids, np.arange(len(ids)), carried, LENGTH)
    assert not twice.any()


@pytest.mark.parametrize("broken", [([0, 9], [1, 3]), ([7, 9], [1, 6]), ([7], [1, 3])])
def test_of_broken_histories_nothing_is_said(
    tmp_path: Path, broken: tuple[list[int], list[int]]
) -> None:
    assert encoded_histories([histories(tmp_path, [(1, *broken)])], np.array([1])) == []
