"""What the list writer writes, every reader reads, as if a general writer had written it."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from training_assets.errors import SchemaError
from training_assets.kernels import list_parquet
from training_assets.kernels.list_parquet import ListParquetWriter, Values
from training_assets.kernels.list_reader import ListParquetReader
from training_assets.kernels.lists import JaggedLists, SharedLists
from training_assets.kernels.timelines import Ints
from training_assets.schemas import CUSTOMER_HISTORY, TRAINING_INPUT

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


def write(path: Path, schema: pa.Schema, groups: Iterable[Sequence[Values]]) -> Path:
    with ListParquetWriter(path, schema) as writer:
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


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("lists") / "part-00000.parquet"


# --- Arrow reads what was written -----------------------------------------------------------------


@settings(max_examples=100)
@given(groups=st.lists(scalar_rows, max_size=3))
@example(groups=[])
@example(groups=[[{"customer_id": None, "label": None, "name": None}]])
@example(groups=[[{"customer_id": 0, "label": 0, "name": ""}] * 9])
def test_scalars_are_read_back(path: Path, groups: list[Rows]) -> None:
    write(path, SCALARS, map(scalars, groups))
    assert read(path) == [row for rows in groups for row in rows]


@settings(max_examples=50)
@given(groups=st.lists(list_rows, max_size=3))
@example(groups=[[{"customer_id": 1, "tiny": [], "small": [], "wide": []}]])
@example(groups=[[{"customer_id": n, "tiny": [], "small": [], "wide": [1]} for n in range(9)]])
def test_jagged_lists_are_read_back(path: Path, groups: list[Rows]) -> None:
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
def test_empty_lists_stand_where_they_were(path: Path, lists: list[list[int]], scale: int) -> None:
    wide = [[value * scale for value in values] for values in lists]
    rows = [
        {"customer_id": 1, "tiny": values, "small": values, "wide": scaled}
        for values, scaled in zip(lists, wide, strict=True)
    ]
    write(path, LISTS, [of_lists(rows)])
    assert read(path) == rows


@settings(max_examples=100)
@given(
    length=st.sampled_from([1, 2, 3, 4, 5, 8, 12, 16, 17]),
    top=st.sampled_from([0, 1, 3, 4, 7, 255, 256, 4095, 4096, 2**16, 2**31 - 1]),
    lists=st.integers(1, 6),
    index=st.lists(st.integers(0, 5), min_size=1, max_size=40),
    seed=st.integers(0, 9),
)
def test_shared_lists_are_read_back(
    path: Path, length: int, top: int, lists: int, index: list[int], seed: int
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
    path: Path, length: int, distinct: int
) -> None:
    values = (np.arange(7 * length) * 31 % distinct).reshape(7, length).astype(np.int32)
    index = np.array([6, 0, 0, 0, 5, 1, 6])
    codes = np.minimum(values, 127).astype(np.int8)
    schema = pa.schema([LISTS.field("tiny"), LISTS.field("wide")])
    write(path, schema, [[full(codes, index), full(values, index)]])
    expected = [{"tiny": codes[n].tolist(), "wide": values[n].tolist()} for n in index]
    assert read(path) == expected


@settings(max_examples=150, deadline=None)
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
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(list_parquet, "_PAGE_BYTES", page_bytes)
        patch.setattr(list_parquet, "_LONG_LIST", 0 if is_framed else 10**9)
        patch.setattr(list_parquet, "_LARGE_DICTIONARY", 0)
        write(path, schema, [[SharedLists(own, np.array(index), length, padding)]])
    padded = [values + [0] * (length - len(values)) for values in lists]
    assert read(path) == [{"wide": padded[n]} for n in index]


def test_long_lists_are_written_once_in_each_page(path: Path) -> None:
    lists, times = 40, 25
    values = np.random.default_rng(0).integers(0, 60_000, (lists, 1000), np.int32)
    shared = full(values, np.repeat(np.arange(lists), times))
    write(path, pa.schema([LISTS.field("wide")]), [[shared]])
    assert [row["wide"] for row in read(path)] == values[shared.index].tolist()
    size = pq.read_metadata(path).row_group(0).column(0).total_compressed_size
    # Two bytes for each value, what the dictionary takes, and little else.
    assert size < values.size * 2 + 4 * len(np.unique(values)) + 40 * lists + 1000


def test_lists_of_few_items_are_left_to_the_compressor(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    values = np.random.default_rng(0).integers(0, 5000, (100, 1000), np.int32)
    shared = full(values, np.repeat(np.arange(100), 25))
    sizes = []
    for large in (list_parquet._LARGE_DICTIONARY, 0):
        monkeypatch.setattr(list_parquet, "_LARGE_DICTIONARY", large)
        write(path, pa.schema([LISTS.field("wide")]), [[shared]])
        sizes.append(pq.read_metadata(path).row_group(0).column(0).total_compressed_size)
    assert sizes[0] < 0.95 * sizes[1]


@pytest.mark.parametrize("distinct", [2**16, 2**16 + 1, 2**16 + 9])
@pytest.mark.parametrize("offset", [0, 2**31 - 2**17])
def test_more_values_than_16_bits_can_count_are_read_back(
    path: Path, distinct: int, offset: int
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


def test_offsets_that_begin_late_leave_out_what_is_before(path: Path) -> None:
    lists = JaggedLists(np.arange(50, dtype=np.int32), np.array([7, 9, 9, 30, 31]))
    write(path, pa.schema([LISTS.field("wide")]), [[lists]])
    expected = [[7, 8], [], list(range(9, 30)), [30]]
    assert [row["wide"] for row in read(path)] == expected


def as_lists(lists: JaggedLists) -> list[list[int]]:
    return [lists.values[low:high].tolist() for low, high in pairwise(lists.offsets)]


some_lists = st.lists(st.lists(st.integers(0, 9), max_size=4), min_size=1, max_size=9)


@settings(max_examples=100)
@given(lists=some_lists, start=st.integers(0, 8), count=st.integers(1, 9))
def test_slices_are_those_of_plain_lists(lists: list[list[int]], start: int, count: int) -> None:
    start = start % len(lists)
    part = jagged(lists, np.int32).slice(start, count)
    assert as_lists(part) == lists[start : start + count]
    assert len(part) == len(lists[start : start + count])


def with_dictionary(lists: list[list[int]], dictionary: list[int]) -> JaggedLists:
    places = jagged([[dictionary.index(value) for value in one] for one in lists], np.uint16)
    return JaggedLists(places.values, places.offsets, np.array(dictionary, np.int32))


@settings(max_examples=100)
@given(
    lists=some_lists,
    cuts=st.sets(st.integers(1, 8)),
    dictionaries=st.lists(st.permutations(range(10)), min_size=9, max_size=9),
)
def test_lists_of_many_dictionaries_are_one_and_leave_out_what_none_uses(
    lists: list[list[int]], cuts: set[int], dictionaries: list[list[int]]
) -> None:
    bounds = [0, *sorted(cut for cut in cuts if cut < len(lists)), len(lists)]
    parts = [
        with_dictionary(lists[low:high], dictionary)
        for (low, high), dictionary in zip(pairwise(bounds), dictionaries, strict=False)
    ]
    whole = JaggedLists.concat(parts)
    uses = Counter(value for one in lists for value in one)
    used = sorted(uses, key=lambda value: (-uses[value], value))
    assert whole.dictionary is not None
    assert whole.dictionary.tolist() == (used or [0])
    assert [[used[place] for place in one] for one in as_lists(whole)] == lists
    plain = JaggedLists.concat(
        [jagged(lists[low:high], np.int32) for low, high in pairwise(bounds)]
    )
    assert as_lists(plain) == lists


# --- the list reader ------------------------------------------------------------------------------


def random_lists(top: int) -> list[list[int]]:
    rng = np.random.default_rng(top)
    return [rng.integers(0, top, n % 7, endpoint=True).tolist() for n in range(400)]


@pytest.mark.parametrize("page_bytes", [16, 100, 1 << 20])
@pytest.mark.parametrize("top", [3, 4, 200, 5000, 70_000])
def test_lists_stay_places_in_a_dictionary(
    path: Path, monkeypatch: pytest.MonkeyPatch, top: int, page_bytes: int
) -> None:
    monkeypatch.setattr(list_parquet, "_PAGE_BYTES", page_bytes)
    lists = random_lists(top)
    write(path, pa.schema([LISTS.field("wide")]), [[jagged(lists, np.int32)]])
    monkeypatch.setattr(ListParquetReader, "scalars", None)
    found = ListParquetReader(path).lists(0, "wide")
    assert found.dictionary is not None
    assert as_lists(found.plain()) == lists


def test_lists_of_another_writer_are_read_by_arrow(path: Path) -> None:
    lists = random_lists(100)
    pq.write_table(pa.table({"wide": pa.array(lists, pa.list_(pa.int32()))}), path)
    found = ListParquetReader(path).lists(0, "wide")
    assert found.dictionary is None
    assert as_lists(found) == lists


def lists_or_none(path: Path) -> JaggedLists | None:
    """None where an error says that the column is damaged."""
    try:
        return ListParquetReader(path).lists(0, "wide")
    except SchemaError:
        return None


def test_damage_is_named_or_gives_other_numbers(path: Path) -> None:
    lists = random_lists(5000)
    write(path, pa.schema([LISTS.field("wide")]), [[jagged(lists, np.int32)]])
    chunk = pq.read_metadata(path).row_group(0).column(0)
    whole, rng = path.read_bytes(), np.random.default_rng(0)
    start, size = chunk.dictionary_page_offset, chunk.total_compressed_size
    # All of the headers, and some of the rest.
    places = {start + n for n in range(60)} | {chunk.data_page_offset + n for n in range(60)}
    places |= set((start + rng.choice(size, 200, replace=False)).tolist())
    named = 0
    for place in sorted(places):
        damaged = bytearray(whole)
        damaged[place] ^= int(rng.integers(1, 256))
        path.write_bytes(damaged)
        if (found := lists_or_none(path)) is None:
            named += 1
            continue
        assert found.offsets[0] == 0
        assert (np.diff(found.offsets) >= 0).all()
        assert found.offsets[-1] == len(found.values)
    assert named > 50


# --- pages and row groups -------------------------------------------------------------------------


@pytest.mark.parametrize("page_bytes", [1, 3, 8, 64, 1 << 20])
def test_lists_over_many_pages_and_row_groups_are_read_back(
    path: Path, monkeypatch: pytest.MonkeyPatch, page_bytes: int
) -> None:
    monkeypatch.setattr(list_parquet, "_PAGE_BYTES", page_bytes)
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
    write(path, schema, groups)
    assert read(path) == expected
    with pq.ParquetFile(path) as file:
        assert file.num_row_groups == 5
        # Row groups alone, from the last one back, and single columns.
        parts = [file.read_row_group(n, columns=["jagged"]).to_pylist() for n in (4, 3, 2, 1, 0)]
    found = [row["jagged"] for part in reversed(parts) for row in part]
    assert found == [row["jagged"] for row in expected]


def test_batches_and_columns_of_a_file_can_be_read_alone(path: Path) -> None:
    rows = some_rows(500)
    write(path, LISTS, [of_lists(rows[:333]), of_lists(rows[333:])])
    with pq.ParquetFile(path) as file:
        batches = list(file.iter_batches(7, columns=["customer_id", "small.list.element"]))
    found = [row for batch in batches for row in batch.to_pylist()]
    assert found == [{"customer_id": r["customer_id"], "small": r["small"]} for r in rows]


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


# --- schema, statistics, bytes --------------------------------------------------------------------


@pytest.mark.parametrize(
    "schema",
    [SCALARS, LISTS, TRAINING_INPUT.arrow_schema, CUSTOMER_HISTORY.arrow_schema],
    ids=["scalars", "lists", "training_input", "customer_history"],
)
@pytest.mark.parametrize("num_groups", [0, 1])
def test_schema_is_the_one_that_a_general_writer_gives(
    path: Path, tmp_path: Path, schema: pa.Schema, num_groups: int
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
    write(path, SCALARS, map(scalars, groups))
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
    write(path, LISTS, [of_lists(rows[:60]), of_lists(rows[60:])])
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


def test_same_rows_give_the_same_bytes(path: Path, tmp_path: Path) -> None:
    rows = some_rows(200)
    first = write(path, LISTS, [of_lists(rows)]).read_bytes()
    assert write(tmp_path / "again", LISTS, [of_lists(rows)]).read_bytes() == first


def test_file_of_a_failed_write_has_no_end(tmp_path: Path) -> None:
    def fail() -> Iterable[Sequence[Values]]:
        yield of_lists(some_rows(10))
        raise RuntimeError

    with pytest.raises(RuntimeError):
        write(tmp_path / "f", LISTS, fail())
    assert (tmp_path / "f").stat().st_size > 4
    with pytest.raises(pa.ArrowInvalid):
        pq.read_metadata(tmp_path / "f")


# --- other readers --------------------------------------------------------------------------------


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
    write(path, schema, groups)
    return pa.Table.from_pylist(rows, schema)


@pytest.fixture
def small_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(list_parquet, "_PAGE_BYTES", 10_000)
    monkeypatch.setattr(list_parquet, "_LARGE_DICTIONARY", 0)


@pytest.mark.usefixtures("small_pages")
def test_arrow_reads_every_kind_of_column(path: Path) -> None:
    assert full_file(path).equals(pq.ParquetFile(path).read())


@pytest.mark.usefixtures("small_pages")
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


@pytest.mark.usefixtures("small_pages")
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


@pytest.mark.usefixtures("small_pages")
def test_polars_reads_every_kind_of_column(tmp_path: Path) -> None:
    polars = pytest.importorskip("polars")
    expected = full_file(tmp_path / "f.parquet")
    found = polars.read_parquet(tmp_path / "f.parquet")
    assert found.rows() == [tuple(row.values()) for row in expected.to_pylist()]
