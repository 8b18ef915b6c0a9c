"""Published histories, read for some customers at a time, equal plain loops."""

from datetime import date
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from training_assets.errors import SchemaError
from training_assets.kernels import day_files
from training_assets.kernels.day_files import HistoryColumns, encoded_histories
from training_assets.kernels.training_rows import HistoryReader, write_training_rows
from training_assets.list_format import LIST_FORMATS, JaggedLists, ListFormat, SealedParquet
from training_assets.schemas import IMPRESSIONS

Actions = list[tuple[int, int]]

DAY, EPOCH = date(2024, 3, 1), date(1970, 1, 1).toordinal()
RUN = "0123456789ab"
RANKINGS = pa.schema(
    [
        ("dt", pa.date32()),
        ("part", pa.int32()),
        *(IMPRESSIONS.arrow_schema.field(n) for n in ("customer_id", "ranking_id", "impressions")),
    ]
)


def columns(histories: dict[int, Actions]) -> HistoryColumns:
    """Customers in the order of the dict."""
    offsets = np.cumsum([0, *map(len, histories.values())])
    actions = [action for own in histories.values() for action in own]
    items = np.array([item for item, _ in actions], np.int32)
    dictionary, places = np.unique(items, return_inverse=True)
    kind = np.uint16 if len(dictionary) <= 2**16 else np.uint32
    return HistoryColumns(
        np.array(list(histories), np.int64),
        JaggedLists(places.astype(kind), offsets, dictionary),
        JaggedLists(np.array([kind for _, kind in actions], np.int8), offsets),
        JaggedLists(np.ones(len(actions), np.int16), offsets),
    )


def plain(lists: JaggedLists) -> list[list[int]]:
    own = lists.plain()
    return [own.values[low:high].tolist() for low, high in pairwise(own.offsets)]


@settings(max_examples=60, deadline=None)
@given(
    histories=st.dictionaries(
        st.integers(0, 30),
        st.lists(st.tuples(st.integers(1, 2**31 - 1), st.integers(1, 3)), max_size=6),
        max_size=20,
    ),
    first_of_second_file=st.integers(0, 30),
    wanted=st.sets(st.integers(0, 30), min_size=1),
    length=st.integers(1, 7),
)
def test_the_newest_of_histories_are_those_found_by_hand(
    tmp_path_factory: pytest.TempPathFactory,
    histories: dict[int, Actions],
    first_of_second_file: int,
    wanted: set[int],
    length: int,
) -> None:
    folder = tmp_path_factory.mktemp("day")
    paths = [folder / "part-00000.parquet", folder / "part-00001.parquet"]
    with pytest.MonkeyPatch.context() as patch:
        # Row groups of three histories.
        patch.setattr(day_files, "_MIN_GROUP", 3)
        for path, is_second in zip(paths, (False, True), strict=True):
            own = {c: histories[c] for c in sorted(histories)}
            own = {c: h for c, h in own.items() if (c >= first_of_second_file) == is_second}
            path.write_bytes(encoded_histories([columns(own)] if own else []))
    reader = HistoryReader([str(path) for path in paths])
    customers = sorted(wanted)
    half = max(1, len(customers) // 2)
    for some in filter(None, (customers[:half], customers[half:])):
        items, kinds = reader.newest(np.array(some), length)
        newest = [histories.get(customer, [])[:length] for customer in some]
        assert plain(items) == [[item for item, _ in own] for own in newest]
        assert plain(kinds) == [[kind for _, kind in own] for own in newest]


def test_customers_out_of_order_are_named(tmp_path: Path) -> None:
    path = tmp_path / "part-00000.parquet"
    path.write_bytes(encoded_histories([columns({7: [(1, 1)], 3: [(2, 1)]})]))
    with pytest.raises(SchemaError, match="customers of a day do not ascend"):
        HistoryReader([str(path)]).newest(np.array([3, 7]), 5)


@pytest.mark.parametrize("list_format", LIST_FORMATS)
# With so many customers the items of a file are used often enough to stay as they were read.
@pytest.mark.parametrize(
    ("distinct", "customers"),
    [(n, many) for n in (255, 256, 257) for many in (2, 20)]
    + [(n, 2) for n in (65_535, 65_536, 65_537)],
)
def test_a_day_of_as_many_items_as_a_place_can_count_is_built(
    tmp_path: Path, distinct: int, customers: int, list_format: ListFormat
) -> None:
    items = np.random.default_rng(0).permutation(distinct) + 1
    histories = {n: [(int(item), 1) for item in items[n % 2 :: 2]] for n in range(customers)}
    length = len(histories[0]) + 3
    path = tmp_path / "part-00000.parquet"
    path.write_bytes(encoded_histories([columns(histories)], list_format))
    shown = [{"item_id": 7, "is_order": True}, {"item_id": 8, "is_order": False}]
    # The last one has no history.
    rows = [
        {"dt": DAY, "part": 0, "customer_id": n, "impressions": shown}
        for n in reversed(range(customers + 1))
    ]
    rankings = pa.RecordBatch.from_pylist(rows, RANKINGS)
    files = {DAY.toordinal() - EPOCH: [str(path)]}
    (written,) = write_training_rows([rankings], str(tmp_path), RUN, files, length, list_format)
    (file,) = written.to_pylist()
    assert (file["rows"], file["low"], file["high"]) == (2 * (customers + 1), 0, customers)
    found = SealedParquet(tmp_path / file["name"]).read()
    ids = np.repeat(np.arange(customers + 1), 2).tolist()
    own = [[item for item, _ in histories.get(n, [])] for n in ids]
    assert found["customer_id"].to_pylist() == ids
    assert found["action_items"].to_pylist() == [n + [0] * (length - len(n)) for n in own]
