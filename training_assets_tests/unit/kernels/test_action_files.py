"""Ranges of customers out of many files: each action once, whatever the row groups."""

from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from training_assets.kernels.action_files import ActionFile, ActionReader

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
