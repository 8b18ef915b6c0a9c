"""Ranges of customers out of many files: each action once, whatever the row groups."""

from datetime import UTC, date, datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from training_assets.kernels.action_files import ActionFile, ActionReader, Wanted
from training_assets.kernels.day_files import encoded_actions
from training_assets.list_format import SealedParquet
from training_assets.schemas import UNIFIED_ACTIONS

COLUMNS = ("customer_id", "item_id", "action_type", "occurred_at", "dt")
_TYPES = (pa.int64(), pa.int32(), pa.int8(), pa.timestamp("us", "UTC"), pa.date32())
Rows = list[tuple[int, ...]]


def write(path: Path, rows: Rows, group_rows: int, *, keeps_day: bool) -> ActionFile:
    arrays = [
        pa.array(values, pa.int64()).cast(pa.int32()).cast(kind)
        if kind == pa.date32()
        else pa.array(values, pa.int64()).cast(kind)
        for values, kind in zip(zip(*rows, strict=True), _TYPES, strict=True)
    ]
    table = pa.table(arrays, names=COLUMNS)
    if not keeps_day:
        table = table.drop_columns("dt")
    pq.write_table(table, path, row_group_size=group_rows)
    return ActionFile(str(path), None if keeps_day else rows[0][-1])


def by_customer(rng: np.random.Generator, count: int, days: tuple[int, int]) -> Rows:
    rows = [
        (
            int(rng.integers(1, 40)),
            int(rng.integers(1, 9)),
            int(rng.integers(1, 4)),
            -int(rng.integers(0, 999)),
            int(rng.integers(*days)),
        )
        for _ in range(count)
    ]
    return sorted(rows, key=lambda row: (row[0], -row[3], row[1], row[2]))


@pytest.mark.parametrize("group_rows", [1, 7, 1000])
@pytest.mark.parametrize("cuts", [[], [5], [1, 2, 3, 20, 39, 60], list(range(40))])
def test_every_action_is_read_once_in_the_range_of_its_customer(
    tmp_path: Path, group_rows: int, cuts: list[int]
) -> None:
    rng = np.random.default_rng(group_rows)
    block = by_customer(rng, 200, (1, 30))
    days = {day: by_customer(rng, 60, (day, day + 1)) for day in (31, 32)}
    files = [
        write(tmp_path / "block.parquet", block, group_rows, keeps_day=True),
        *(
            write(tmp_path / f"{day}.parquet", rows, group_rows, keeps_day=False)
            for day, rows in days.items()
        ),
    ]
    everything = [*block, *days[31], *days[32]]
    some = np.unique([row[0] for row in everything])[::3]
    for customers in (None, some):
        reader = ActionReader(files, customers=customers, history_length=1000)
        for low, high in pairwise([-(2**63), *cuts, 2**63 - 1]):
            found = reader.read(low, high - 1)
            rows = sorted(zip(*(c.tolist() for c in found.columns()), strict=True))
            expected = sorted(row for row in everything if low <= row[0] < high)
            if customers is not None:
                wanted = set(customers.tolist())
                rows = [row for row in rows if row[0] in wanted]
                expected = [row for row in expected if row[0] in wanted]
            assert rows == expected


def test_of_a_customers_day_no_more_is_read_than_a_history_can_hold(tmp_path: Path) -> None:
    rows = [(customer, 1, 1, -at, 31) for customer in (1, 2) for at in range(customer * 10)]
    files = [write(tmp_path / "a.parquet", rows, 3, keeps_day=False)]
    found = ActionReader(files, customers=None, history_length=4).read(1, 2)
    assert found.micros.tolist() == [0, -1, -2, -3] * 2


@pytest.mark.parametrize("group_rows", [1, 3, 100])
def test_only_wanted_types_are_read_and_bots_left_out(tmp_path: Path, group_rows: int) -> None:
    rows = [(customer, 1, kind, -kind, 31) for customer in range(1, 9) for kind in range(1, 6)]
    file = write(tmp_path / "a.parquet", rows, group_rows, keeps_day=False)
    plain = pq.read_table(file.path)
    is_bot = [row[0] in (2, 8) for row in rows]
    pq.write_table(
        plain.append_column("is_bot", pa.array(is_bot)), file.path, row_group_size=group_rows
    )
    for wanted in (Wanted(), Wanted((1, 2, 3), False), Wanted((4,), True), Wanted(None, False)):
        reader = ActionReader([file], customers=None, history_length=99, wanted=wanted)
        found = reader.read(1, 99)
        expected = [
            row[:3]
            for row, bot in zip(rows, is_bot, strict=True)
            if (wanted.kinds is None or row[2] in wanted.kinds) and (wanted.keeps_bots or not bot)
        ]
        columns = (column.tolist() for column in found.columns()[:3])
        assert list(zip(*columns, strict=True)) == expected


def test_where_the_footer_rules_others_out_no_further_column_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [(customer, 1, 1 + customer % 3, -1, 31) for customer in range(50)]
    file = write(tmp_path / "a.parquet", rows, 10, keeps_day=False)
    plain = pq.read_table(file.path)
    pq.write_table(plain.append_column("is_bot", pa.array([False] * 50)), file.path)
    read: list[list[str]] = []
    real = SealedParquet.read

    def spy(parquet: SealedParquet, columns: list[str], *args: Any, **kwargs: Any) -> pa.Table:
        read.append(columns)
        return real(parquet, columns, *args, **kwargs)

    monkeypatch.setattr(SealedParquet, "read", spy)
    wanted = Wanted((1, 2, 3), False)
    ActionReader([file], customers=None, history_length=9, wanted=wanted).read(0, 99)
    assert read == [["customer_id", "item_id", "action_type", "occurred_at"]]


def test_the_same_actions_in_any_order_give_the_same_file() -> None:
    rng = np.random.default_rng(1)
    schema = pa.schema([("dt", pa.date32()), *UNIFIED_ACTIONS.arrow_schema])
    rows = [
        {
            "dt": date(2024, 5, 1),
            "customer_id": int(rng.integers(3)),
            "item_id": 1,
            "action_type": 4,
            "occurred_at": datetime(2024, 5, 1, tzinfo=UTC),
            "has_time": bool(rng.integers(2)),
            "is_bot": False,
            "session_id": [None, "a", "b"][rng.integers(3)],
            "rating": [None, 1.0][rng.integers(2)],
        }
        for _ in range(60)
    ]
    files = []
    for _ in range(3):
        rng.shuffle(rows)
        files.append(encoded_actions(pa.Table.from_pylist(rows, schema)))
    assert files[0].equals(files[1])
    assert files[0].equals(files[2])
    found = pq.read_table(pa.BufferReader(files[0])).to_pylist()
    key = str
    expected = [
        {name: row.get(name) for name in UNIFIED_ACTIONS.arrow_schema.names} for row in rows
    ]
    assert sorted(found, key=key) == sorted(expected, key=key)
