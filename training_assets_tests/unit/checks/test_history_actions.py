"""Actions that are left out where they are read: no history is another without them."""

import random
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from training_assets.checks.history_actions import Wanted, actions_of
from training_assets.schemas import UNIFIED_ACTIONS
from training_assets_tests.support import reference
from training_assets_tests.support.frames import DAY, before

CUSTOMERS = (-(2**63), -1, 0, 7, 2**63 - 1)
LENGTH = 6
DAYS = (DAY, before(2))


def random_actions(rng: random.Random) -> list[reference.Action]:
    """Many ties, and some that came up to weeks late; one of two customers does most."""
    found = []
    for _ in range(400):
        day = before(rng.randint(-1, 30))
        late = timedelta(days=rng.choice([0, 0, 1, 2, 20]))
        at = datetime(day.year, day.month, day.day, 12, tzinfo=UTC) - late
        customer = rng.choice([*CUSTOMERS, 0, 0, 0, 7, 7, 7])
        kind, item = rng.choice([1, 2, 3]), rng.choice([1, 2, 2**31 - 1])
        found.append(reference.Action(day, customer, item, kind, at))
    return found


def batches_of(
    actions: list[reference.Action], folder: Path, rng: random.Random
) -> list[pa.RecordBatch]:
    """A file a day, as workers are told of them: in any order."""
    files = []
    for day in {action.day for action in actions}:
        rows = [
            {
                "customer_id": a.customer_id,
                "item_id": a.item_id,
                "action_type": a.action_type,
                "occurred_at": a.at,
                "has_time": True,
                "is_bot": a.customer_id == -1,
            }
            for a in sorted((a for a in actions if a.day == day), key=lambda a: a.customer_id)
        ]
        path = folder / f"{day}.parquet"
        pq.write_table(pa.Table.from_pylist(rows, UNIFIED_ACTIONS.arrow_schema), path)
        files.append({"number": 0, "dt": day, "uri": str(path)})
    rng.shuffle(files)
    return [pa.RecordBatch.from_pylist([file]) for file in files]


def common_days(lookback: int | None) -> frozenset[date]:
    days = [before(ago) for ago in range(-1, 31)]
    is_old = lookback or 10_000
    return frozenset(d for d in days if all(0 < (day - d).days <= is_old for day in DAYS))


@pytest.mark.parametrize("lookback", [None, 7, 25])
@pytest.mark.parametrize("seed", range(6))
def test_histories_are_the_same_of_the_actions_that_are_left(
    tmp_path: Path, seed: int, lookback: int | None
) -> None:
    rng = random.Random(seed)
    actions = random_actions(rng)
    wanted = Wanted(np.array([7, 0, -1, -(2**63)]), (1, 2), False, LENGTH, common_days(lookback))
    found = [
        reference.Action(
            row["dt"],
            row["customer_id"],
            row["item_id"],
            row["action_type"],
            row["occurred_at"],
        )
        for batch in actions_of(iter(batches_of(actions, tmp_path, rng)), wanted)
        for row in batch.to_pylist()
    ]
    counting = [
        a for a in actions if a.customer_id in (7, 0, -(2**63)) and a.action_type in wanted.types
    ]
    for customer in CUSTOMERS:
        for day in DAYS:
            true = reference.history(counting, customer, day, LENGTH, lookback)
            assert reference.history(found, customer, day, LENGTH, lookback) == true
    assert len(found) < len(counting) * 0.9
    for action in found:
        counting.remove(action)


def test_an_action_as_early_as_the_first_one_seen_is_kept(tmp_path: Path) -> None:
    noon = datetime(2026, 3, 1, 12, tzinfo=UTC)
    newer = [reference.Action(before(1), 7, 9, 1, noon) for _ in range(LENGTH)]
    tied = reference.Action(before(2), 7, 1, 1, noon)
    actions = [*newer, tied, reference.Action(before(2), 7, 1, 1, noon - timedelta(seconds=1))]
    wanted = Wanted(np.array([7]), (1,), True, LENGTH, frozenset({before(1), before(2)}))
    batches = actions_of(iter(batches_of(actions, tmp_path, random.Random(0))), wanted)
    found = [(row["dt"], row["item_id"]) for batch in batches for row in batch.to_pylist()]
    assert sorted(found) == [(before(2), 1), *[(before(1), 9)] * LENGTH]


def test_nothing_is_left_out_where_no_day_counts_for_all_histories(tmp_path: Path) -> None:
    rng = random.Random(0)
    actions = random_actions(rng)
    wanted = Wanted(np.array(CUSTOMERS), (1, 2, 3), True, LENGTH, frozenset())
    found = actions_of(iter(batches_of(actions, tmp_path, rng)), wanted)
    assert sum(map(len, found)) == len(actions)


def test_files_are_not_opened_for_nobody(tmp_path: Path) -> None:
    nowhere = pa.RecordBatch.from_pylist([{"number": 0, "dt": DAY, "uri": str(tmp_path / "no")}])
    nobody = Wanted(np.empty(0, np.int64), (1,), True, LENGTH, frozenset())
    assert list(actions_of(iter([nowhere]), nobody)) == []
