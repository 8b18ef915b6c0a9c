"""Random histories, some of them wrong: each is judged as plain loops judge it."""

import random
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pyarrow as pa
import pytest

from training_assets.checks import compare_histories as module
from training_assets.checks.compare_histories import compare_histories
from training_assets.checks.history_rows import BOTH, BUCKETS, is_sampled, pack_histories
from training_assets.checks.shape import LISTS
from training_assets.schemas import CUSTOMER_HISTORY
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
    monkeypatch.setattr(module, "_PART", at_once)
    monkeypatch.setattr(module, "_PIECE", at_once)
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
    rows = [row for packed in packed_by_day(rows) for row in packed.to_pylist()]
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
    table = pa.Table.from_pylist(rng.sample(rows, len(rows)), BOTH)
    found = pa.Table.from_batches(compare_histories(table.to_batches(10), LENGTH, lookback))

    def key(row: dict[str, Any]) -> Any:
        return row["customer_id"], row["dt"]

    assert sorted(found.to_pylist(), key=key) == sorted(expected, key=key)


def packed_by_day(rows: list[dict[str, Any]]) -> Iterator[pa.RecordBatch]:
    for day in {row["dt"] for row in rows}:
        of_day = [row for row in rows if row["dt"] == day]
        table = pa.Table.from_pylist(of_day, CUSTOMER_HISTORY.arrow_schema)
        for batch in table.to_batches(4):
            yield pack_histories(batch, day, LENGTH)


def test_only_sound_histories_are_compared() -> None:
    items: list[Any] = [[1, 2], [1, None], [1, 0], [1], None, []]
    rows = [
        {
            "customer_id": n,
            "action_items": values,
            "action_types": [1] * (2 if values else 0),
            "action_days_ago": [3] * (2 if values else 0),
        }
        for n, values in enumerate(items)
    ]
    batch = pa.RecordBatch.from_pylist(rows, CUSTOMER_HISTORY.arrow_schema)
    packed = pack_histories(batch.slice(0), DAY, LENGTH)
    assert packed["customer_id"].to_pylist() == [0, 5]
    # A slice is of its own rows.
    assert pack_histories(batch.slice(3), DAY, LENGTH)["customer_id"].to_pylist() == [5]


def test_a_sample_is_a_share_of_any_ids_the_same_each_time_and_another_on_another_day() -> None:
    rng = random.Random(5)
    for ids in (range(100_000), [rng.randrange(-(2**63), 2**63) for _ in range(100_000)]):
        customers = pa.array(ids, pa.int64()).to_numpy()
        found = [is_sampled(customers, day, {day: BUCKETS // 10}) for day in (DAY, DAY, before(1))]
        assert (found[0] == found[1]).all()
        assert all(9_500 < mask.sum() < 10_500 for mask in found)
        # Two tenths have a hundredth in common.
        assert 800 < (found[0] & found[2]).sum() < 1_200
    assert is_sampled(customers, DAY, {}).all()
    assert is_sampled(customers, DAY, {DAY: BUCKETS}).all()


def test_of_a_busy_day_no_more_is_held_than_a_history_can_have(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "_PART", 1_000)
    noon = datetime(2024, 5, 1, 12, tzinfo=UTC)
    rows = {
        "customer_id": [7] * 20_000,
        "dt": [before(3)] * 20_000,
        "occurred_at": [noon + timedelta(microseconds=n) for n in range(20_000)],
        "item_id": [1] * 20_000,
        "action_type": [1] * 20_000,
        "history": [None] * 20_000,
    }
    table = pa.table(rows, schema=BOTH)
    _, parts = module._apart(table.to_batches(500), LENGTH)
    actions = module._Actions.concat(parts)
    # The last part is not worth it.
    assert len(actions.day) <= 20 * LENGTH + 1_000
    assert actions.micros.max() == int(rows["occurred_at"][-1].timestamp() * 1_000_000)


def test_without_rows_there_is_nothing_to_say() -> None:
    assert sum(batch.num_rows for batch in compare_histories(iter(()), LENGTH, 365)) == 0
