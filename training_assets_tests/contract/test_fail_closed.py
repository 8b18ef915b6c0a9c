"""A day whose look-back has a faulty raw day is not published, and no other day is kept back.

Each kind of fault is planted into a day of its own of one lake, far enough from the next one: with
a look-back of two days, each must keep back the two days after it and nothing else.
"""

import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import date, timedelta
from pathlib import Path

import pytest
from pyspark.sql import SparkSession

from training_assets.assets.metadata import day_metadata
from training_assets.lake import Lake, day_range
from training_assets.pipeline import DayReport, build_days, check_days, plan_run
from training_assets.provenance import Provenance
from training_assets.schemas import ADD_TO_CARTS, CLICKS, IMPRESSIONS, Table
from training_assets.settings import Settings
from training_assets.tables import TableSpec, customer_history, unified_actions
from training_assets_tests.support.faulty_days import (
    FAULTS,
    LOCAL_FAULTS,
    Fault,
    file_of,
    folder_of,
    good_rows,
    remove_day,
)
from training_assets_tests.support.frames import before
from training_assets_tests.support.late_lakes import CH, TI, UA, rows_of
from training_assets_tests.support.tables import SEQUENCE

SETTINGS = Settings(history_length=6, lookback_days=2)
WARN = replace(SETTINGS, incomplete_window="warn")
ALL = {**FAULTS, **LOCAL_FAULTS}
# A pass over many days fails at these, and each day is then built alone: in a small lake.
READ = {name: fault for name, fault in ALL.items() if fault.seen == "read"}
SEEN_EARLIER = {name: fault for name, fault in ALL.items() if name not in READ}
SPACING = 4
FIRST = before(200)
ONE_DAY = timedelta(days=1)
HISTORIES_AND_ROWS = [SEQUENCE[CH], SEQUENCE[TI]]
on_sail_only = pytest.mark.parametrize("engine", ["sail"], indirect=True, scope="session")

Reports = Mapping[tuple[str, date], DayReport]


@dataclass(frozen=True)
class Built:
    """A lake with faults, what a build of all days said, and then one that lets gaps through."""

    lake: Lake
    faults: Mapping[str, Fault]
    closed: Reports
    let_through: Reports

    @property
    def days(self) -> list[date]:
        return days_for(self.faults)

    def day_of(self, name: str) -> date:
        return FIRST + timedelta(days=1 + SPACING * list(self.faults).index(name))

    @property
    def kept_back(self) -> list[date]:
        return [of + n * ONE_DAY for of in map(self.day_of, self.faults) for n in (1, 2)]


def days_for(faults: Mapping[str, Fault]) -> list[date]:
    return day_range(FIRST, FIRST + timedelta(days=SPACING * len(faults)))


def build(
    spark: SparkSession,
    lake: Lake,
    settings: Settings,
    specs: Iterable[TableSpec],
    days: Iterable[date],
) -> Reports:
    reports = build_days(spark, lake, settings, list(specs), list(days))
    return {(report.table, report.day): report for report in reports}


def deliver(lake: Lake, days: Iterable[date]) -> None:
    """A click, a cart and a ranking of each of three customers, every day; no orders at all."""
    for day in days:
        for table in (CLICKS, ADD_TO_CARTS, IMPRESSIONS):
            ending = "jsonl" if table is IMPRESSIONS else "csv"
            content = file_of(table, day, ending, good_rows(table, day, 3))
            lake.raw.put(f"{folder_of(table, day)}/a.{ending}", content)


def source_of(name: str) -> Table:
    """Faults lie in clicks and carts by turns."""
    return (CLICKS, ADD_TO_CARTS)[list(ALL).index(name) % 2]


def built_with(spark: SparkSession, root: Path, faults: Mapping[str, Fault]) -> Built:
    lake = Lake.at(root)
    built = Built(lake, faults, {}, {})
    deliver(lake, built.days)
    for name, fault in faults.items():
        fault(lake.raw, source_of(name), built.day_of(name))
    closed = build(spark, lake, SETTINGS, SEQUENCE.values(), built.days)
    let_through = build(spark, lake, WARN, HISTORIES_AND_ROWS, built.kept_back)
    lake.refresh()
    return Built(lake, faults, closed, let_through)


@pytest.fixture(scope="module")
def many(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> Built:
    return built_with(spark, tmp_path_factory.mktemp("many") / "lake", SEEN_EARLIER)


@pytest.fixture(scope="module")
def few(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> Built:
    return built_with(spark, tmp_path_factory.mktemp("few") / "lake", READ)


def require_kept_back(built: Built, name: str) -> None:
    """The faulty day and the two after it are not published; those around them are."""
    faulty = built.day_of(name)
    problem = built.closed[UA, faulty].problem or ""
    fault = built.faults[name]
    assert ("valid_share" if fault.seen == "judged" else fault.says) in problem
    for n in (1, 2):
        day = faulty + n * ONE_DAY
        assert built.closed[CH, day].problem == (
            f"{CH}: 1 day of the look-back of {day} is not published in {UA}: {faulty}; expected "
            "all of them, since histories would lack their actions. Build unified_actions of "
            "these days, or set TRAINING_ASSETS_INCOMPLETE_WINDOW=warn to leave them out."
        )
        assert built.closed[TI, day].problem == (
            f"{TI}: day {day} was not built, because its {CH} failed."
        )
    around = [(UA, faulty + n * ONE_DAY) for n in (-1, 1, 2, 3)]
    around += [(table, faulty + n * ONE_DAY) for table in (CH, TI) for n in (-1, 0, 3)]
    assert [built.closed[key].problem for key in around] == [None] * len(around)


def require_let_through(built: Built, name: str) -> None:
    """Published without the actions of the faulty day, which the record names."""
    faulty = built.day_of(name)
    for n in (1, 2):
        day, other = faulty + n * ONE_DAY, 3 - n
        for table in (CH, TI):
            assert built.let_through[table, day].problem is None
        report = built.let_through[CH, day]
        assert report.manifest["incomplete_window"] == [str(faulty)]
        assert day_metadata(report, WARN, "", 1)["incomplete_window"] == str(faulty)
        (warned,) = [r for r in report.checks if r.check.name == "history_window"]
        assert (warned.passed, warned.severity) == (False, "warn")
        assert str(faulty) in warned.message
        # A click and a cart of the day that is there.
        assert [row["action_days_ago"] for row in rows_of(built.lake, CH, day)] == [[other] * 2] * 3


@on_sail_only
def test_there_are_twenty_kinds_and_only_their_days_are_kept_back(many: Built) -> None:
    assert len(many.faults) >= 20
    failed = {key for key, report in many.closed.items() if report.problem}
    assert failed == {(UA, many.day_of(name)) for name in many.faults} | {
        (table, day) for table in (CH, TI) for day in many.kept_back
    }
    assert len(many.closed) == 3 * len(many.days)


@on_sail_only
@pytest.mark.parametrize("name", SEEN_EARLIER)
def test_faulty_day_keeps_back_exactly_the_days_that_need_it(many: Built, name: str) -> None:
    require_kept_back(many, name)


@on_sail_only
@pytest.mark.parametrize("name", SEEN_EARLIER)
def test_gap_is_let_through_on_demand_and_recorded(many: Built, name: str) -> None:
    require_let_through(many, name)


@on_sail_only
@pytest.mark.parametrize("name", READ)
def test_day_that_fails_on_the_workers_keeps_back_the_days_that_need_it(
    few: Built, name: str
) -> None:
    require_kept_back(few, name)
    require_let_through(few, name)


@pytest.mark.first_on_spark
@pytest.mark.parametrize("name", READ)
def test_day_that_fails_on_the_workers_of_either_engine_fails_alone(
    spark: SparkSession, tmp_path: Path, name: str
) -> None:
    """What other days make of it is the same on both: it depends on what is published."""
    lake, days = Lake.at(tmp_path), day_range(FIRST, FIRST + 2 * ONE_DAY)
    deliver(lake, days)
    READ[name](lake.raw, source_of(name), days[1])
    reports = build(spark, lake, SETTINGS, [unified_actions.SPEC], days)
    assert READ[name].says in (reports[UA, days[1]].problem or "")
    assert [reports[UA, day].problem for day in (days[0], days[2])] == [None, None]


@on_sail_only
def test_day_that_is_complete_has_no_gap_in_its_record(few: Built) -> None:
    for (table, day), report in few.closed.items():
        assert "incomplete_window" not in report.manifest, (table, day)


@on_sail_only
def test_published_day_stays_when_its_raw_data_becomes_faulty(
    spark: SparkSession, few: Built, tmp_path: Path
) -> None:
    """Histories are built from what is published, which is whole."""
    lake = Lake.at(shutil.copytree(few.lake.store.url, tmp_path / "lake"))
    faulty, day = FIRST + 3 * ONE_DAY, FIRST + 4 * ONE_DAY
    remove_day(lake.raw, CLICKS, faulty)
    reports = build(spark, lake, SETTINGS, SEQUENCE.values(), [faulty, day])
    assert f"clicks: raw day {faulty} is missing" in (reports[UA, faulty].problem or "")
    assert [reports[table, day].problem for table in (CH, TI)] == [None, None]
    assert Lake(lake.store).days(UA) == few.lake.days(UA)


@on_sail_only
def test_mended_day_is_built_with_those_that_waited_for_it(
    spark: SparkSession, tmp_path: Path
) -> None:
    days = days_for({"missing folder": FAULTS["missing folder"]})
    lake = Lake.at(tmp_path / "lake")
    deliver(lake, days)
    faulty = days[1]
    remove_day(lake.raw, CLICKS, faulty)
    build(spark, lake, SETTINGS, SEQUENCE.values(), days)
    deliver(lake, [faulty])
    plan = plan_run(Provenance(Lake(lake.store), SETTINGS), days, force=False)
    assert plan.before == ()
    assert set(plan.days) >= {faulty, days[2], days[3]}
    reports = build(spark, lake, SETTINGS, SEQUENCE.values(), plan.days)
    assert [report.problem for report in reports.values() if report.problem] == []
    assert Lake(lake.store).days(TI) == days
    results = list(check_days(spark, Lake(lake.store), SETTINGS, HISTORIES_AND_ROWS, days))
    assert [r.message for r in results if not r.passed] == []


@on_sail_only
def test_look_back_begins_with_the_first_raw_day_of_any_source(
    spark: SparkSession, tmp_path: Path
) -> None:
    lake, days = Lake.at(tmp_path / "lake"), day_range(FIRST, FIRST + 3 * ONE_DAY)
    deliver(lake, days)
    remove_day(lake.raw, CLICKS, days[0])
    specs = [unified_actions.SPEC, customer_history.SPEC]
    # Carts begin a day earlier than clicks: for clicks that day does not exist.
    reports = build(spark, lake, SETTINGS, specs, [days[0], days[1]])
    assert [report.problem for report in reports.values()] == [None] * 4
    found = [len(row["action_items"]) for row in rows_of(Lake(lake.store), CH, days[1])]
    assert found == [1] * 3
    # The next day was delivered and not built: it blocks, published or not beside it.
    reports = build(spark, lake, SETTINGS, [customer_history.SPEC], [days[3]])
    assert f"not published in {UA}: {days[2]};" in (reports[CH, days[3]].problem or "")
