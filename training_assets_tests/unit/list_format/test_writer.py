"""What the list writer writes, Arrow reads, as if a general writer had written it."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from training_assets.list_format import JaggedLists, SharedLists
from training_assets.list_format.pages import Limits
from training_assets.list_format.writer import Values
from training_assets.schemas import CUSTOMER_HISTORY, TRAINING_INPUT
from training_assets_tests.unit.list_format.columns import (
    LISTS,
    SCALARS,
    Rows,
    full,
    jagged,
    list_rows,
    of_lists,
    read,
    scalar_rows,
    scalars,
    some_rows,
    write_groups,
)


@settings(max_examples=50)
@given(groups=st.lists(scalar_rows, max_size=3))
@example(groups=[])
@example(groups=[[{"customer_id": None, "label": None, "name": None}]])
@example(groups=[[{"customer_id": 0, "label": 0, "name": ""}] * 9])
def test_scalars_are_read_back(write: Any, path: Path, groups: list[Rows]) -> None:
    write(path, SCALARS, map(scalars, groups))
    assert read(path) == [row for rows in groups for row in rows]


@settings(max_examples=50)
@given(groups=st.lists(list_rows, max_size=3))
@example(groups=[[{"customer_id": 1, "tiny": [], "small": [], "wide": []}]])
@example(groups=[[{"customer_id": n, "tiny": [], "small": [], "wide": [1]} for n in range(9)]])
def test_jagged_lists_are_read_back(write: Any, path: Path, groups: list[Rows]) -> None:
    write(path, LISTS, map(of_lists, groups))
    assert read(path) == [row for rows in groups for row in rows]


@pytest.mark.parametrize(
    "lists",
    [
        [[]],
        [[], [], []],
        [[], [1, 2]],
        [[1, 2], []],
        [[], [3], [], [], [2, 1, 0], []],
        [[0]],
        [[0] * 7, [1] * 8, [2] * 9],
        [[], *([n % 4] * n for n in range(20)), []],
    ],
)
@pytest.mark.parametrize("scale", [1, 60, 300, 100_000])
def test_empty_lists_stand_where_they_were(
    write: Any, path: Path, lists: list[list[int]], scale: int
) -> None:
    wide = [[value * scale for value in values] for values in lists]
    rows = [
        {"customer_id": 1, "tiny": values, "small": values, "wide": scaled}
        for values, scaled in zip(lists, wide, strict=True)
    ]
    write(path, LISTS, [of_lists(rows)])
    assert read(path) == rows


@settings(max_examples=50)
@given(
    length=st.sampled_from([1, 2, 3, 4, 5, 8, 12, 16, 17]),
    top=st.sampled_from([0, 1, 3, 4, 7, 255, 256, 4095, 4096, 2**16, 2**31 - 1]),
    lists=st.integers(1, 6),
    index=st.lists(st.integers(0, 5), min_size=1, max_size=40),
    seed=st.integers(0, 9),
)
def test_shared_lists_are_read_back(
    write: Any, path: Path, length: int, top: int, lists: int, index: list[int], seed: int
) -> None:
    rng = np.random.default_rng(seed)
    index = [n % lists for n in index]
    schema = pa.schema([("wide", LISTS.field("wide").type)])
    # The largest is there only now and then: bits follow from what there is.
    values = rng.integers(0, top, (lists, length), np.int32, endpoint=True)
    write(path, schema, [[full(values, index)]])
    assert read(path) == [{"wide": values[n].tolist()} for n in index]


@pytest.mark.parametrize("length", [1, 3, 4, 5, 8, 1000])
@pytest.mark.parametrize("distinct", [1, 4, 5, 256, 257])
def test_shared_lists_of_every_length_and_width_are_read_back(
    write: Any, path: Path, length: int, distinct: int
) -> None:
    values = (np.arange(7 * length) * 31 % distinct).reshape(7, length).astype(np.int32)
    index = np.array([6, 0, 0, 0, 5, 1, 6])
    codes = np.minimum(values, 127).astype(np.int8)
    schema = pa.schema([LISTS.field("tiny"), LISTS.field("wide")])
    write(path, schema, [[full(codes, index), full(values, index)]])
    expected = [{"tiny": codes[n].tolist(), "wide": values[n].tolist()} for n in index]
    assert read(path) == expected


@settings(max_examples=75, deadline=None)
@given(
    length=st.sampled_from([1, 5, 8, 70, 131, 264, 1000]),
    top=st.sampled_from([3, 200, 5000, 70_000]),
    sizes=st.lists(st.integers(0, 1000), min_size=1, max_size=5),
    repeats=st.lists(st.tuples(st.integers(0, 4), st.integers(1, 60)), min_size=1, max_size=9),
    page_bytes=st.sampled_from([1, 3000, 100_000, 1 << 20]),
    has_dictionary=st.booleans(),
    is_framed=st.booleans(),
)
def test_padded_lists_are_read_back(
    write: Any,
    path: Path,
    length: int,
    top: int,
    sizes: list[int],
    repeats: list[tuple[int, int]],
    page_bytes: int,
    has_dictionary: bool,
    is_framed: bool,
) -> None:
    rng = np.random.default_rng(top)
    lists = [rng.integers(1, top, min(n, length), np.int32).tolist() for n in sizes]
    index = [n % len(lists) for n, times in repeats for _ in range(times)]
    own, padding = jagged(lists, np.int32), 0
    if has_dictionary:
        own = own.encoded()
        assert own.dictionary is not None
        padding = len(own.dictionary)
        own = replace(own, dictionary=np.append(own.dictionary, np.int32(0)))
    schema = pa.schema([LISTS.field("wide")])
    limits = Limits(page_bytes, long_list=0 if is_framed else 10**9, large_dictionary=0)
    shared = SharedLists(own, np.array(index), length, padding)
    write(path, schema, [[shared]], limits=limits)
    padded = [values + [0] * (length - len(values)) for values in lists]
    assert read(path) == [{"wide": padded[n]} for n in index]


def test_long_lists_are_written_once_in_each_page(path: Path) -> None:
    lists, times = 40, 25
    values = np.random.default_rng(0).integers(0, 60_000, (lists, 1000), np.int32)
    shared = full(values, np.repeat(np.arange(lists), times))
    write_groups(path, pa.schema([LISTS.field("wide")]), [[shared]])
    assert [row["wide"] for row in read(path)] == values[shared.index].tolist()
    size = pq.read_metadata(path).row_group(0).column(0).total_compressed_size
    # Two bytes for each value, what the dictionary takes, and little else.
    assert size < values.size * 2 + 4 * len(np.unique(values)) + 40 * lists + 1000


def test_lists_of_few_items_are_left_to_the_compressor(path: Path) -> None:
    values = np.random.default_rng(0).integers(0, 5000, (100, 1000), np.int32)
    shared = full(values, np.repeat(np.arange(100), 25))
    sizes = []
    for limits in (Limits(), Limits(large_dictionary=0)):
        write_groups(path, pa.schema([LISTS.field("wide")]), [[shared]], limits=limits)
        sizes.append(pq.read_metadata(path).row_group(0).column(0).total_compressed_size)
    assert sizes[0] < 0.95 * sizes[1]


@pytest.mark.parametrize("distinct", [2**16, 2**16 + 1, 2**16 + 9])
@pytest.mark.parametrize("offset", [0, 2**31 - 2**17])
def test_more_values_than_16_bits_can_count_are_read_back(
    write: Any, path: Path, distinct: int, offset: int
) -> None:
    flat = (np.arange(distinct) * 7919 % distinct + offset).astype(np.int32)
    cuts = [0, 0, 5, 1005, distinct // 2, distinct, distinct]
    shared = flat[: distinct // 3 * 3].reshape(-1, 3)
    rows = np.arange(len(shared))[::-1]
    schema = pa.schema([LISTS.field("wide")])
    write(path, schema, [[JaggedLists(flat, np.array(cuts))], [full(shared, rows)]])
    found = pq.ParquetFile(path).read()["wide"]
    assert found.slice(0, 6).to_pylist() == [
        flat[low:high].tolist() for low, high in pairwise(cuts)
    ]
    rest = found.slice(6).combine_chunks()
    assert (rest.value_lengths().to_numpy() == 3).all()
    assert (rest.flatten().to_numpy().reshape(-1, 3) == shared[::-1]).all()


@pytest.mark.parametrize("distinct", [255, 256, 257, 2**16 - 1, 2**16, 2**16 + 1])
@pytest.mark.parametrize("spare", [0, 1, 7])
def test_as_many_distinct_values_as_a_place_can_count_are_read_back(
    write: Any, path: Path, distinct: int, spare: int
) -> None:
    """``spare`` values of each row are padding, whose place is the one after all others."""
    values = np.random.default_rng(1).permutation(distinct).astype(np.int32) + 1
    places = np.uint8 if distinct <= 2**8 else np.uint16 if distinct <= 2**16 else np.uint32
    order = np.arange(distinct) * 7919 % distinct
    cuts = np.array([0, 3, 3, distinct // 2, distinct])
    rows = np.array([3, 0, 0, 1, 2, 2, 2])
    length = int(np.diff(cuts).max()) + spare
    lists = JaggedLists(order.astype(places), cuts, values)
    padded = replace(lists, dictionary=np.append(values, np.int32(0)))
    shared = SharedLists(padded, rows, length, distinct)
    plain = SharedLists(lists.plain(), rows, length)
    schema = pa.schema([(name, pa.list_(pa.int32())) for name in ("jagged", "shared", "plain")])
    write(path, schema, [[lists.take(rows, at_most=length), shared, plain]])
    own = [values[order][low:high].tolist() for low, high in pairwise(cuts)]
    found = pq.ParquetFile(path).read().to_pylist()
    for row, n in zip(found, rows, strict=True):
        assert row["jagged"] == own[n]
        assert row["shared"] == row["plain"] == own[n] + [0] * (length - len(own[n]))


def test_offsets_that_begin_late_leave_out_what_is_before(write: Any, path: Path) -> None:
    lists = JaggedLists(np.arange(50, dtype=np.int32), np.array([7, 9, 9, 30, 31]))
    write(path, pa.schema([LISTS.field("wide")]), [[lists]])
    expected = [[7, 8], [], list(range(9, 30)), [30]]
    assert [row["wide"] for row in read(path)] == expected


@pytest.mark.parametrize("page_bytes", [1, 3, 8, 64, 1 << 20])
def test_lists_over_many_pages_and_row_groups_are_read_back(
    write: Any, path: Path, page_bytes: int
) -> None:
    rng = np.random.default_rng(page_bytes)
    groups, expected = [], []
    for top, length in ((3, 8), (200, 5), (5000, 3), (2**31 - 1, 1), (2, 1)):
        values = rng.integers(0, top, (5, length), np.int32, endpoint=True)
        codes = np.minimum(values, 100).astype(np.int8)
        index = rng.integers(0, 5, 40)
        lists = [rng.integers(0, top, n % 7, endpoint=True).tolist() for n in range(40)]
        groups.append([full(codes, index), full(values, index), jagged(lists, np.int32)])
        expected += [
            {"codes": codes[n].tolist(), "shared": values[n].tolist(), "jagged": own}
            for n, own in zip(index, lists, strict=True)
        ]
    schema = pa.schema(
        [
            ("codes", pa.list_(pa.int8())),
            ("shared", pa.list_(pa.int32())),
            ("jagged", pa.list_(pa.int32())),
        ]
    )
    write(path, schema, groups, limits=Limits(page_bytes))
    assert read(path) == expected
    with pq.ParquetFile(path) as file:
        assert file.num_row_groups == 5
        # Row groups alone, from the last one back, and single columns.
        parts = [file.read_row_group(n, columns=["jagged"]).to_pylist() for n in (4, 3, 2, 1, 0)]
    found = [row["jagged"] for part in reversed(parts) for row in part]
    assert found == [row["jagged"] for row in expected]


def test_batches_and_columns_of_a_file_can_be_read_alone(write: Any, path: Path) -> None:
    rows = some_rows(500)
    write(path, LISTS, [of_lists(rows[:333]), of_lists(rows[333:])])
    with pq.ParquetFile(path) as file:
        batches = list(file.iter_batches(7, columns=["customer_id", "small.list.element"]))
    found = [row for batch in batches for row in batch.to_pylist()]
    assert found == [{"customer_id": r["customer_id"], "small": r["small"]} for r in rows]


@pytest.mark.parametrize(
    "schema",
    [SCALARS, LISTS, TRAINING_INPUT.arrow_schema, CUSTOMER_HISTORY.arrow_schema],
    ids=["scalars", "lists", "training_input", "customer_history"],
)
@pytest.mark.parametrize("num_groups", [0, 1])
def test_schema_is_the_one_that_a_general_writer_gives(
    write: Any, path: Path, tmp_path: Path, schema: pa.Schema, num_groups: int
) -> None:
    columns = [
        jagged([[1, 2], []], np.int32)
        if pa.types.is_list(field.type)
        else pa.array([1, None]).cast(field.type)
        for field in schema
    ]
    write(path, schema, [columns] * num_groups)
    other = tmp_path / "general.parquet"
    pq.write_table(schema.empty_table(), other, store_schema=False)
    found, expected = pq.ParquetFile(path), pq.ParquetFile(other)
    assert found.schema_arrow.equals(schema)
    assert found.schema_arrow.equals(expected.schema_arrow)
    assert found.schema.equals(expected.schema)
    # Types, annotations and nullability of every level, as text.
    assert str(found.schema).split("\n", 1)[1] == str(expected.schema).split("\n", 1)[1]
    for n in range(len(found.schema)):
        ours, theirs = found.schema.column(n), expected.schema.column(n)
        assert ours.max_definition_level == theirs.max_definition_level
        assert ours.max_repetition_level == theirs.max_repetition_level
        assert str(ours.logical_type) == str(theirs.logical_type)
        assert ours.converted_type == theirs.converted_type


@settings(max_examples=50)
@given(groups=st.lists(scalar_rows, min_size=1, max_size=3))
def test_statistics_say_what_is_in_a_row_group(path: Path, groups: list[Rows]) -> None:
    write_groups(path, SCALARS, map(scalars, groups))
    metadata = pq.read_metadata(path)
    assert metadata.num_row_groups == len(groups)
    for n, rows in enumerate(groups):
        assert metadata.row_group(n).num_rows == len(rows)
        for number, name in enumerate(SCALARS.names):
            there = [row[name] for row in rows if row[name] is not None]
            statistics = metadata.row_group(n).column(number).statistics
            assert statistics.null_count == len(rows) - len(there)
            if name == "name":
                assert not statistics.has_min_max
            else:
                assert statistics.has_min_max == bool(there)
                if there:
                    assert (statistics.min, statistics.max) == (min(there), max(there))


def test_footer_says_what_lies_where(path: Path) -> None:
    rows = some_rows(100)
    write_groups(path, LISTS, [of_lists(rows[:60]), of_lists(rows[60:])])
    metadata, end = pq.read_metadata(path), 4
    for group in (metadata.row_group(n) for n in range(2)):
        columns = [group.column(n) for n in range(group.num_columns)]
        assert group.total_byte_size == sum(c.total_uncompressed_size for c in columns)
        for column in columns:
            start = column.data_page_offset
            if column.has_dictionary_page:
                start = column.dictionary_page_offset
            # Chunks stand one after another without a gap.
            assert start == end
            end += column.total_compressed_size
            assert column.compression == "ZSTD"
    assert path.stat().st_size == end + metadata.serialized_size + 8


def test_same_rows_give_the_same_bytes(write: Any, path: Path, tmp_path: Path) -> None:
    rows = some_rows(200)
    first = write(path, LISTS, [of_lists(rows)]).read_bytes()
    assert write(tmp_path / "again", LISTS, [of_lists(rows)]).read_bytes() == first


def test_file_of_a_failed_write_has_no_end(write: Any, tmp_path: Path) -> None:
    def fail() -> Iterable[Sequence[Values]]:
        yield of_lists(some_rows(10))
        raise RuntimeError

    with pytest.raises(RuntimeError):
        write(tmp_path / "f", LISTS, fail())
    with pytest.raises(pa.ArrowInvalid, match=r"size is|magic bytes not found"):
        pq.read_metadata(tmp_path / "f")
