"""What is known of a file by reading it once, and the metrics from it, against plain loops."""

import statistics
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from training_assets.checks import metrics
from training_assets.checks.facts import Facts, examine
from training_assets.checks.shape import LISTS, lists, shape_of
from training_assets.list_format import file_hash
from training_assets.schemas import (
    CUSTOMER_HISTORY,
    TRAINING_INPUT,
    UNIFIED_ACTIONS,
    Column,
    Table,
)
from training_assets_tests.support.frames import DAY, at
from training_assets_tests.support.planting import sealed, table_of

LENGTH = 4
RUN = "0123456789ab"
Row = dict[str, Any]


def facts_of(folder: Path, table: Table, rows: pa.Table, name: str | None = None) -> Facts:
    """Facts of a sealed file of the rows, two to a row group."""
    content = sealed(rows, row_group_size=2)
    path = folder / (name or f"part-00000-{file_hash(content)}-{RUN}.parquet")
    path.write_bytes(content)
    return examined(path, table)


def examined(path: Path, table: Table) -> Facts:
    files = pa.RecordBatch.from_pylist([{"number": 0, "dt": DAY, "uri": str(path)}])
    ((found,),) = (batch.to_pylist() for batch in examine([files], table, LENGTH))
    return Facts(**found)


def test_actions_are_counted_by_type_and_customer(tmp_path: Path) -> None:
    types = [1, 1, 2, 3, 6, -1, 1]
    customers = [5, 5, -7, -7, 5, 9, 9]
    rows = [
        {"customer_id": c, "item_id": 1, "action_type": t, "occurred_at": at(DAY)}
        for c, t in zip(customers, types, strict=True)
    ]
    found = facts_of(tmp_path, UNIFIED_ACTIONS, table_of(UNIFIED_ACTIONS, rows))
    assert found.problems == []
    assert (found.rows, found.row_groups) == (7, 4)
    # Clicks, carts, orders, views, likes, returns, others.
    assert found.by_type == [3, 1, 1, 0, 0, 1, 1]
    assert (found.customers, found.low, found.high) == (3, -7, 9)


def test_training_rows_are_counted_with_their_rankings_and_orders(tmp_path: Path) -> None:
    padded = {"action_items": [0] * LENGTH, "action_types": [0] * LENGTH}
    shown = [(1, "a", 0), (1, "a", 1), (1, "b", 1), (2, "a", 0), (2, None, 1)]
    rows = [
        {"customer_id": c, "ranking_id": r, "impression_item_id": 3, "is_order": o, **padded}
        for c, r, o in shown
    ]
    found = facts_of(tmp_path, TRAINING_INPUT, table_of(TRAINING_INPUT, rows))
    assert (found.rows, found.row_groups, found.customers) == (5, 3, 2)
    # A ranking without an id is none that could be counted.
    assert (found.rankings, found.positives) == (3, 3)


@pytest.mark.parametrize("table", [UNIFIED_ACTIONS, CUSTOMER_HISTORY, TRAINING_INPUT])
def test_a_file_without_rows_is_as_declared(tmp_path: Path, table: Table) -> None:
    found = facts_of(tmp_path, table, table.arrow_schema.empty_table())
    assert (found.problems, found.rows, found.low, found.newest_days) == ([], 0, None, None)


# --- histories ------------------------------------------------------------------------------------

_LISTS = st.none() | st.lists(
    st.none() | st.sampled_from([-1, 0, 1, 2, 5, 6, 2**31 - 1]), max_size=LENGTH + 1
)


def narrowed(values: list[int | None] | None) -> list[int | None] | None:
    """Types that fit a byte."""
    return values and [None if v is None else min(v, 127) for v in values]


def has_hole(values: Sequence[int | None], high: int) -> bool:
    return any(value is None or not 1 <= value <= high for value in values)


@given(rows=st.lists(st.tuples(_LISTS, _LISTS, st.booleans()), max_size=12), cut=st.integers(0, 3))
def test_shapes_are_those_of_a_plain_loop(rows: list[Any], cut: int) -> None:
    found = [
        # The same length, so that often nothing is wrong of it.
        (items, narrowed(items if is_same else types), items if is_same else types)
        for items, types, is_same in rows
    ]
    columns = [
        pa.chunked_array([pa.array([row[n] for row in found], type_)]).slice(cut)
        for n, type_ in enumerate((pa.list_(pa.int32()), pa.list_(pa.int8()), pa.list_(pa.int32())))
    ]
    shape = shape_of((lists(columns[0]), lists(columns[1]), lists(columns[2])), LENGTH)
    expected = []
    for items, types, ago in found[cut:]:
        sizes = {None if values is None else len(values) for values in (items, types, ago)}
        is_right = len(sizes) == 1 and None not in sizes and max(sizes) <= LENGTH
        holes = is_right and (has_hole(items, 2**31 - 1) or has_hole(types, 5))
        expected.append((not is_right, holes))
    assert list(zip(*(column.tolist() for column in shape), strict=True)) == expected


def history(customer: int, *actions: tuple[int, int]) -> Row:
    """Of (type, days ago)."""
    types, ago = ([action[n] for action in actions] for n in range(2))
    return dict(zip(("customer_id", *LISTS), (customer, [7] * len(types), types, ago), strict=True))


def test_histories_are_counted_by_length_and_type(tmp_path: Path) -> None:
    rows = [
        history(1),
        history(2, (1, 3), (3, 9)),
        history(3, (2, 5)),
        history(4, *[(1, 2)] * LENGTH),
        history(5, *[(1, 6)] * (LENGTH + 1)),
        history(6, (6, 8)),
    ]
    found = facts_of(tmp_path, CUSTOMER_HISTORY, table_of(CUSTOMER_HISTORY, rows))
    assert (found.wrong_lengths, found.holes) == (1, 1)
    assert found.lengths == [1, 2, 1, 0, 1]
    assert found.by_type == [10, 1, 1, 0, 0, 1, 0]
    assert found.newest_days == 2


# --- metrics --------------------------------------------------------------------------------------


@given(st.lists(st.lists(st.integers(0, LENGTH), max_size=9), min_size=1, max_size=3))
def test_metrics_of_histories_are_those_of_their_lengths(parts: list[list[int]]) -> None:
    files = [
        Facts(
            DAY,
            f"{n}",
            [],
            len(part),
            by_type=(sum(part), 0, 0, 0, 0, 0, 0),
            lengths=tuple(np.bincount(part, minlength=LENGTH + 1).tolist()),
            newest_days=min(part, default=None),
        )
        for n, part in enumerate(parts)
    ]
    sizes = sorted(size for part in parts for size in part)
    found = metrics._of_histories(files)
    assert (found["rows"], found["num_clicks"]) == (len(sizes), sum(sizes))
    if not sizes:
        assert found["median_length"] == 0.0
        assert "age_days" not in found
        return
    assert found["actions"] == sum(sizes)
    assert found["median_length"] == statistics.median(sizes)
    assert found["p99_length"] == pytest.approx(np.percentile(sizes, 99), abs=1e-6)
    assert found["share_without_history"] == round(sizes.count(0) / len(sizes), 6)
    assert found["share_at_limit"] == round(sizes.count(LENGTH) / len(sizes), 6)
    assert found["age_days"] == sizes[0]
    ends = [-1, *metrics.HISTOGRAM_BINS, 2**31]
    bins = [sum(low < n <= high for n in sizes) for low, high in pairwise(ends)]
    assert found["length_histogram"] == bins


def test_a_table_that_the_checks_do_not_know_has_a_schema_and_rows(tmp_path: Path) -> None:
    activity = Table(
        "activity", "one customer", (Column("dt", "date", "Day."), Column("num", "int", "Number."))
    )
    rows = pa.table({"num": pa.array([1, 2, 3], pa.int32())})
    found = facts_of(tmp_path, activity, rows)
    assert (found.problems, found.rows, found.customers) == ([], 3, 0)


# --- what is wrong with a file --------------------------------------------------------------------


def test_whichever_byte_is_another_is_damage(tmp_path: Path) -> None:
    content = sealed(table_of(CUSTOMER_HISTORY, [history(1, (1, 2)), history(2)]))
    path = tmp_path / f"part-00000-{file_hash(content)}-{RUN}.parquet"
    for place in range(len(content)):
        path.write_bytes(content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :])
        (problem,) = examined(path, CUSTOMER_HISTORY).problems
        assert problem.startswith(f"{path.name} is damaged ("), place


def test_more_or_fewer_bytes_or_those_of_another_file_are_damage(tmp_path: Path) -> None:
    content = sealed(table_of(CUSTOMER_HISTORY, [history(1, (1, 2))]))
    other = sealed(table_of(CUSTOMER_HISTORY, [history(1, (1, 3))]))
    path = tmp_path / f"part-00000-{file_hash(content)}-{RUN}.parquet"
    for found in (content + b"\0", content[:-1], content[:100], content[1:], b"", other):
        path.write_bytes(found)
        (problem,) = examined(path, CUSTOMER_HISTORY).problems
        assert problem.startswith(f"{path.name} is damaged (")
    assert problem == (
        f"{path.name} is damaged (it has the hash {file_hash(other)}; expected the one in its name)"
    )


def test_a_file_that_is_not_there_is_missing(tmp_path: Path) -> None:
    (problem,) = examined(tmp_path / "part-00000.parquet", CUSTOMER_HISTORY).problems
    assert problem == "part-00000.parquet is missing"


def test_an_older_file_that_is_no_parquet_cannot_be_read(tmp_path: Path) -> None:
    path = tmp_path / "part-00000.parquet"
    path.write_bytes(b"nothing")
    (problem,) = examined(path, CUSTOMER_HISTORY).problems
    assert problem.startswith(f"{path.name} cannot be read (")


def test_a_file_of_an_older_lake_has_no_seal_and_no_hash(tmp_path: Path) -> None:
    path = tmp_path / "part-00000.parquet"
    pq.write_table(table_of(CUSTOMER_HISTORY, [history(1, (1, 2))]), path)
    found = examined(path, CUSTOMER_HISTORY)
    assert (found.problems, found.lengths) == ([], [0, 1, 0, 0, 0])


def test_other_columns_are_named(tmp_path: Path) -> None:
    rows = table_of(CUSTOMER_HISTORY, [history(1, (1, 2))])
    found = facts_of(tmp_path, UNIFIED_ACTIONS, rows, "part-00000.parquet")
    assert found.problems == [
        "part-00000.parquet: found columns customer_id, action_items, action_types, "
        "action_days_ago; expected customer_id, item_id, action_type, occurred_at, has_time, "
        "is_bot, session_id, rating, price, quantity, amount"
    ]
