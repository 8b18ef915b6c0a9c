"""Random small lakes, and what must stand in them by plain loops over their raw rows."""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Any

from pyspark.sql import SparkSession

from training_assets.lake import Lake
from training_assets.pipeline import build_days
from training_assets.settings import Settings
from training_assets.tables import (
    TableSpec,
    unified_actions,
)
from training_assets_tests.support import reference
from training_assets_tests.support.frames import DAY, at, before, cart, click, order, ranking
from training_assets_tests.support.lakes import Row, write_raw_lake
from training_assets_tests.support.late_lakes import tables_of
from training_assets_tests.support.tables import SEQUENCE

UA, CH, TI = SEQUENCE
CUSTOMERS = (-(2**63), -7, 0, 1, 2, 3, 4, 5, 2**40, 2**63 - 1)
NEVER_ACTS, NEVER_SHOWN = 6, 7
RANKING_DAYS = (before(3), before(2), DAY)
QUIET_DAY = before(77)


@dataclass(frozen=True)
class World:
    """Raw rows, and the settings to build them with."""

    rankings: list[Row]
    actions: list[Row]
    length: int
    lookback: int | None
    ranking_days: Sequence[date] = RANKING_DAYS

    @property
    def action_days(self) -> list[date]:
        """Days of the lake, of which one has no actions for certain."""
        return sorted({_day(row) for row in self.actions} | {*self.ranking_days, QUIET_DAY})

    @property
    def settings(self) -> Settings:
        return Settings(
            history_length=self.length,
            lookback_days=self.lookback,
            missing_raw="empty",
            min_valid_share=0,
        )

    def sources(self) -> tuple[list[Row], list[Row], list[Row]]:
        clicks = [row for row in self.actions if "click_time" in row]
        orders = [row for row in self.actions if "order_date" in row]
        carts = [row for row in self.actions if "dt" in row and "config_id" in row]
        return clicks, carts, orders

    def write(self, root: Path) -> Lake:
        write_raw_lake(
            root,
            self.rankings,
            self.actions,
            impression_days=self.ranking_days,
            action_days=self.action_days,
        )
        return Lake.at(root)


def _day(row: Row) -> date:
    day: date = row["order_date"] if "order_date" in row else row["dt"]
    return day


def random_world(seed: int, *, length: int, lookback: int | None, ages: Sequence[int]) -> World:
    """Actions on the days that are ``ages`` days before ``DAY``; a day may have none at all."""
    rng = random.Random(seed)
    actions: list[Row] = []
    for age in ages:
        day = before(age)
        for _ in range(rng.choice([0, 3, 8, 20])):
            make = rng.choice([click, cart, order])
            customer = rng.choice([*CUSTOMERS, NEVER_SHOWN, None])
            item = rng.choice([1, 2, 3, 2**31 - 1, 100 + age, rng.choice([None, 0, -1])])
            # Some come days late, and some without a time.
            at_day = day - timedelta(days=rng.choice([0, 0, 0, 1, 9, 40]))
            when = rng.choice([None, *(at(at_day, f"{hour:02d}:00") for hour in (0, 8, 23))])
            # A source of which no row is valid would keep the day from being published.
            actions.append(make(1, 1, day, None))
            actions += [make(customer, item, day, when)] * rng.choice([1, 1, 1, 2])
    # On two days one customer does far more than a history can hold.
    for day in (before(ages[4]), before(ages[-2])):
        actions += [click(5, n % 7 + 1, day, at(day, f"{n % 24:02d}:00")) for n in range(60)]
    return World(_random_rankings(rng), actions, length, lookback)


def _random_rankings(rng: random.Random) -> list[Row]:
    """All kinds of rankings on the first and last of the days, and none on the one between."""
    rankings = []
    for day in (RANKING_DAYS[0], RANKING_DAYS[-1]):
        for customer in (*CUSTOMERS, NEVER_ACTS, None):
            for _ in range(rng.choice([0, 1, 1, 2])):
                items: Any = [
                    rng.choice([(rng.randint(1, 9), rng.random() < 0.3), (4, False)])
                    for _ in range(rng.randint(1, 4))
                ]
                faults = [None, (None, True), (0, False), (5, None)]
                items = rng.choice([items, items, items, [*items, rng.choice(faults)]])
                row = ranking(customer, items, day, rng.choice(["a", "b", "é", "", None]))
                rankings += [row] * rng.choice([1, 1, 1, 2])
        # The same name with other items, an item twice, no item that is valid, none at all.
        rankings += [
            ranking(1, [9, 3], day, "a"),
            ranking(1, [(3, True), 9, 9], day, "a"),
            ranking(2, [None, (None, True)], day, "only faults"),
            ranking(3, [], day, "empty"),
            ranking(4, None, day, "null"),
        ]
    return rng.sample(rankings, len(rankings))


def build_world(spark: SparkSession, lake: Lake, world: World) -> None:
    """Actions of all days in one range, then all tables of the days with rankings in another."""
    earlier = [day for day in world.action_days if day not in world.ranking_days]
    for specs, days in ((SEQUENCE.values(), world.ranking_days), ([unified_actions.SPEC], earlier))[
        ::-1
    ]:
        build_tables(spark, lake, world.settings, list(specs), days)


def build_tables(
    spark: SparkSession,
    lake: Lake,
    settings: Settings,
    specs: list[TableSpec],
    days: Sequence[date],
) -> None:
    reports = list(build_days(spark, lake, settings, specs, list(days)))
    lake.refresh()
    assert [report.problem for report in reports if report.problem] == []
    assert {(report.table, report.day) for report in reports} == {
        (spec.name, day) for spec in specs for day in days
    }


def files_of(lake: Lake, table: str, day: date) -> list[list[tuple[Any, ...]]]:
    """Rows of each file of the day, as they stand in it."""
    tables = tables_of(lake, table, day)
    assert all(t.schema.equals(SEQUENCE[table].table.arrow_schema) for t in tables)
    return [[tuple(row.values()) for row in t.to_pylist()] for t in tables]


def require_truth(lake: Lake, world: World) -> None:
    """Every row of every day and file, in its order, is that of the reference."""
    actions = reference.unified_actions(*world.sources())
    for day in world.action_days:
        require_actions(files_of(lake, UA, day), [a for a in actions if a.day == day])
    require_histories(lake, world, actions)
    require_training_rows(lake, world)


def require_actions(files: list[list[tuple]], actions: list[reference.Action]) -> None:
    def contract(action: tuple) -> tuple:
        customer, item, kind, when = action
        return (customer, -when.timestamp(), item, kind)

    rows = [action[1:] for action in actions]
    # What only an event stream tells of an action comes after that.
    files = [[row[: len(reference.Action._fields) - 1] for row in file] for file in files]
    found = [row for file in files for row in file]
    assert sorted(found, key=contract) == sorted(rows, key=contract)
    for file in files:
        assert file == sorted(file, key=contract)
    owners = [{row[0] for row in file} for file in files]
    assert sum(map(len, owners)) == len(set().union(*owners))


def require_histories(lake: Lake, world: World, actions: list[reference.Action]) -> None:
    for day in world.ranking_days:
        shown = {key[0] for keys in in_contract_order(world.rankings, day) for key in keys}
        expected = []
        for customer in sorted(shown):
            newest = reference.history(actions, customer, day, world.length, world.lookback)
            items, types = [a.item_id for a in newest], [a.action_type for a in newest]
            expected.append((customer, items, types, [(day - a.day).days for a in newest]))
        # The customers of a day ascend from file to file.
        assert [row for file in files_of(lake, CH, day) for row in file] == expected


def require_training_rows(lake: Lake, world: World) -> None:
    truth = reference.training_input(
        world.rankings, *world.sources(), history_length=world.length, lookback_days=world.lookback
    )
    padded = {(row[0], row[1]): row[5:] for row in truth}
    found_rows = []
    for day in world.ranking_days:
        keys = [key for ranked in in_contract_order(world.rankings, day) for key in ranked]
        expected = [(*key, *padded[str(day), key[0]]) for key in keys]
        found = [row for file in files_of(lake, TI, day) for row in file]
        assert found == expected
        found_rows += [(str(day), *row) for row in found]
    assert sorted(found_rows, key=repr) == truth


def in_contract_order(rankings: list[Row], day: date) -> list[list[tuple]]:
    """(customer, ranking, item, label) by ranking: those without a name first, ties by items."""
    shown = []
    for row in rankings:
        if row["dt"] != day or row["customer_id"] is None:
            continue
        items = [
            (item["item_id"], item["is_order"])
            for item in row["impressions"] or []
            if item and item["item_id"] and item["is_order"] is not None
        ]
        name = row["ranking_id"]
        shown.append((row["customer_id"], name is not None, name or "", items))
    return [
        [(customer, name if has_name else None, item, int(label)) for item, label in items]
        for customer, has_name, name, items in sorted(shown)
    ]


SPARSE = [0, 1, 2, 3, 4, 9, 30, 31, 40, 47, 55, 70, 71, 90, 100, 101, 110, 118, 119, 120, 121, 150]
WORLDS = [
    random_world(1, length=5, lookback=120, ages=SPARSE),
    random_world(2, length=1, lookback=1, ages=range(6)),
    random_world(3, length=50, lookback=7, ages=range(13)),
    random_world(4, length=3, lookback=None, ages=[*SPARSE[::2], 2000]),
    random_world(5, length=1000, lookback=365, ages=[2, 3, 200, 362, 363, 364, 365, 366, 367, 368]),
]
