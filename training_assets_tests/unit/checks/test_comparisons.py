"""The outcomes of the workers on random histories and rows, some of them wrong, by plain loops."""

import random
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from training_assets.checks import comparisons
from training_assets.checks.comparisons import (
    ACTION,
    LISTS,
    compare_histories,
    count_other_rows,
    pack_histories,
)
from training_assets.schemas import CUSTOMER_HISTORY, TRAINING_INPUT, UNIFIED_ACTIONS
from training_assets_tests.support import reference
from training_assets_tests.support.frames import DAY, before

CUSTOMERS = (-(2**63), -1, 0, 7, 2**63 - 1)
LENGTH = 6
Triple = tuple[int, int, int | None]


def random_actions(rng: random.Random) -> list[reference.Action]:
    """Few times and items, so that many ties; on one day a customer does a lot."""
    days = [before(rng.choice([*range(-2, 12), 300])) for _ in range(60)] + [before(2)] * 30
    return [
        reference.Action(
            day,
            7 if n >= 60 else rng.choice(CUSTOMERS),
            rng.choice([1, 2, 2**31 - 1]),
            rng.choice([1, 2, 3]),
            datetime(2024, 5, rng.randint(1, 9), rng.choice([0, 12]), tzinfo=UTC),
        )
        for n, day in enumerate(days)
    ]


def right(history: list[Triple]) -> list[Triple]:
    return history


def reversed_(history: list[Triple]) -> list[Triple]:
    return history[::-1]


def without_the_last(history: list[Triple]) -> list[Triple]:
    return history[:-1]


def of_the_day_itself(history: list[Triple]) -> list[Triple]:
    return [(5, 1, 0), *history[1:]]


def with_other_days(history: list[Triple]) -> list[Triple]:
    return [(item, kind, days and days + 1) for item, kind, days in history]


def without_days(history: list[Triple]) -> list[Triple]:
    return [(item, kind, None) for item, kind, _ in history]


FAULTS: list[Callable[[list[Triple]], list[Triple]]] = [
    right,
    reversed_,
    without_the_last,
    of_the_day_itself,
    with_other_days,
    without_days,
]


@pytest.mark.parametrize("lookback", [None, 1, 7, 365])
@pytest.mark.parametrize("at_once", [4, 2**20])
@pytest.mark.parametrize("seed", range(8))
def test_each_history_is_judged_as_the_reference_says(
    monkeypatch: pytest.MonkeyPatch, seed: int, at_once: int, lookback: int | None
) -> None:
    monkeypatch.setattr(comparisons, "_PART", at_once)
    rng = random.Random(seed)
    actions = random_actions(rng)
    rows: list[dict[str, Any]] = []
    expected = []
    for customer in CUSTOMERS:
        for day in (DAY, before(1), before(5)):
            newest = reference.history(actions, customer, day, LENGTH, lookback)
            true: list[Triple] = [(a.item_id, a.action_type, (day - a.day).days) for a in newest]
            claimed = rng.choice(FAULTS)(true)
            is_misordered = claimed != true and sorted(claimed, key=str) == sorted(true, key=str)
            ago = [days for _, _, days in claimed]
            expected.append(
                {
                    "dt": day,
                    "customer_id": customer,
                    "wrong": claimed != true and not is_misordered,
                    "misordered": is_misordered,
                    "not_before": sum(days is None or days < 1 for days in ago),
                    "too_old": lookback is not None and any(d and d > lookback for d in ago),
                }
            )
            lists = zip(*claimed, strict=True) if claimed else ((), (), ())
            arrays = dict(zip(LISTS, map(list, lists), strict=True))
            rows.append({"customer_id": customer, "dt": day, **arrays})
    histories = pa.Table.from_pylist(rows, HISTORIES_SCHEMA).to_batches(4)
    rows = pa.Table.from_batches(pack_histories(histories)).to_pylist()
    rows += [
        {
            "customer_id": a.customer_id,
            "dt": a.day,
            "occurred_at": a.at,
            "item_id": a.item_id,
            "action_type": a.action_type,
        }
        for a in actions
    ]
    table = pa.Table.from_pylist(rng.sample(rows, len(rows)), SCHEMA)
    found = pa.Table.from_batches(compare_histories(table.to_batches(10), LENGTH, lookback))

    def key(row: dict[str, Any]) -> Any:
        return row["customer_id"], row["dt"]

    assert sorted(found.to_pylist(), key=key) == sorted(expected, key=key)


KEYS = [("customer_id", pa.int64()), ("dt", pa.date32())]
HISTORIES_SCHEMA = pa.schema(
    [*KEYS, *(CUSTOMER_HISTORY.arrow_schema.field(name) for name in LISTS)]
)
SCHEMA = pa.schema(
    [
        *KEYS,
        *(UNIFIED_ACTIONS.arrow_schema.field(name) for name in ACTION),
        ("history", pa.binary()),
    ]
)


def test_of_a_busy_day_no_more_is_held_than_a_history_can_have(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(comparisons, "_PART", 1_000)
    noon = datetime(2024, 5, 1, 12, tzinfo=UTC)
    rows = {
        "customer_id": [7] * 20_000,
        "dt": [before(3)] * 20_000,
        "occurred_at": [noon + timedelta(microseconds=n) for n in range(20_000)],
        "item_id": [1] * 20_000,
        "action_type": [1] * 20_000,
        "history": [None] * 20_000,
    }
    table = pa.table(rows, schema=SCHEMA)
    _, actions = comparisons._apart(table.to_batches(500), LENGTH)
    # The last part is not worth it.
    assert len(actions.day) <= 20 * LENGTH + 1_000
    assert actions.micros.max() == int(rows["occurred_at"][-1].timestamp() * 1_000_000)


def test_without_rows_there_is_nothing_to_say() -> None:
    assert sum(batch.num_rows for batch in compare_histories(iter(()), LENGTH, 365)) == 0
    assert list(count_other_rows(iter(()), {}, LENGTH)) == []


# --- training rows against histories --------------------------------------------------------------

Values = list[int | None] | None
History = tuple[int, Values, Values]
HISTORIES: list[History] = [
    (-(2**63), [], []),
    (1, [4, 5], [1, 2]),
    (2, [2**31 - 1] * LENGTH, [3] * LENGTH),
    (3, [1] * (LENGTH + 3), [1] * (LENGTH + 3)),
    # What nobody can carry rightly.
    (4, [0, 5], [1, 2]),
    (5, [4, 5], [1, 4]),
    (6, [4, None], [1, 2]),
    (7, [4, 5], [1]),
    (8, None, None),
    (9, None, []),
    (2**63 - 1, [8], [2]),
]
BAD_HISTORIES, WITHOUT_HISTORY = (4, 5, 6, 7, 8, 9), 99


def padded(values: Values) -> list[int | None]:
    return [*(values or []), *[0] * LENGTH][:LENGTH]


def random_rows(rng: random.Random) -> Iterator[tuple[int, Any, Any, bool]]:
    """(customer, items, types, whether they are right)."""
    for _ in range(200):
        customer, items, types = rng.choice(HISTORIES)
        row: tuple[int, Any, Any] = (customer, padded(items), padded(types))
        others = [
            (WITHOUT_HISTORY, padded([]), padded([])),
            (customer, row[1][:-1], row[2]),
            (customer, row[1], [*row[2], 0]),
            (customer, None, row[2]),
            (customer, row[1], None),
            (customer, [None, *row[1][1:]], row[2]),
            (customer, [9, *row[1][1:]], row[2]),
            (customer, row[1], [*row[2][:-1], 3 - row[2][-1]]),
        ]
        other = rng.choice(others)
        if rng.random() < 0.5:
            yield (*row, customer not in BAD_HISTORIES)
        else:
            yield (*other, other == row and customer not in BAD_HISTORIES)


@pytest.mark.parametrize("at_once", [1, 3, 2_048])
@pytest.mark.parametrize("seed", range(5))
def test_rows_that_do_not_carry_the_history_of_their_customer_are_counted(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, seed: int, at_once: int
) -> None:
    monkeypatch.setattr(comparisons, "_ROWS_AT_ONCE", at_once)
    rows = list(random_rows(random.Random(seed)))
    file = tmp_path / "rows.parquet"
    table = pa.table(
        {
            "customer_id": [row[0] for row in rows],
            "ranking_id": [None] * len(rows),
            "impression_item_id": [1] * len(rows),
            "is_order": [0] * len(rows),
            "action_items": [row[1] for row in rows],
            "action_types": [row[2] for row in rows],
        },
        schema=TRAINING_INPUT.arrow_schema,
    )
    pq.write_table(table, file, row_group_size=30)
    histories = []
    for number, some in enumerate((HISTORIES[:4], HISTORIES[4:])):
        histories.append(str(tmp_path / f"histories-{number}.parquet"))
        columns = dict(
            zip(("customer_id", *LISTS[:2]), map(list, zip(*some, strict=True)), strict=True)
        )
        columns["action_days_ago"] = columns["action_types"]
        table = pa.table(columns, schema=CUSTOMER_HISTORY.arrow_schema)
        pq.write_table(table, histories[-1], row_group_size=2)
    groups = [{"number": n, "dt": DAY, "path": str(file), "row_group": n} for n in range(7)]
    batch = pa.RecordBatch.from_pylist(groups)
    counted = [b.to_pylist()[0] for b in count_other_rows([batch], {DAY: histories}, LENGTH)]
    expected = [rows[start : start + 30] for start in range(0, len(rows), 30)]
    assert counted == [
        {"dt": DAY, "rows": len(some), "others": sum(not row[3] for row in some)}
        for some in expected
    ]


def test_without_any_history_all_rows_are_others(tmp_path: Path) -> None:
    file = tmp_path / "rows.parquet"
    columns = {name: [1, 1] for name in TRAINING_INPUT.arrow_schema.names}
    columns |= {"ranking_id": ["a", "b"], **{name: [padded([])] * 2 for name in LISTS[:2]}}
    pq.write_table(pa.table(columns, schema=TRAINING_INPUT.arrow_schema), file)
    groups = pa.RecordBatch.from_pylist([{"dt": DAY, "path": str(file), "row_group": 0}])
    (counted,) = count_other_rows([groups], {DAY: []}, LENGTH)
    assert counted.to_pylist() == [{"dt": DAY, "rows": 2, "others": 2}]
