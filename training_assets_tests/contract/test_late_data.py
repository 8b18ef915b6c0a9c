"""Late and corrected data on real lakes: what is reported, what is rebuilt, and that it is right.

The lake is ``support/lakes.py``'s: 30 days of actions, five of impressions, look-back 20 days. Each
change is made to the raw files of a copy; after the rebuild the copy must hold, row for row, what
plain loops make of the changed raw files.
"""

import os
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import date
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from pyspark.sql import SparkSession

from training_assets.lake import Lake, contiguous, days_in_words
from training_assets.pipeline import build_days, check_days
from training_assets.provenance import Provenance
from training_assets.provenance.provenance import CODE_VERSION, pack, unpack
from training_assets.schemas import ACTION_SOURCES, Table
from training_assets.settings import Settings
from training_assets.sources import files_of_days
from training_assets.tables import (
    customer_history,
    training_input,
    unified_actions,
)
from training_assets_tests.support.frames import DAY, at, before, order, ranking
from training_assets_tests.support.lakes import (
    ACTION_DAYS,
    FIRST_TIME,
    IMPRESSION_DAYS,
    SETTINGS,
    SHORT,
    SILENT,
    write_tiny_lake,
)
from training_assets_tests.support.late_lakes import (
    CH,
    TI,
    UA,
    Days,
    build,
    everything,
    grow_orders,
    late_click,
    outdated,
    put,
    raw_file,
    reasons,
    rebuild,
    root_of,
    truth,
    unordered,
)
from training_assets_tests.support.tables import SEQUENCE

HISTORIES, ROWS = customer_history.SPEC, training_input.SPEC
on_sail_only = pytest.mark.parametrize("engine", ["sail"], indirect=True)


def build_all(spark: SparkSession, lake: Lake, settings: Settings, action_days: Days) -> Lake:
    assert build(spark, lake, settings, [unified_actions.SPEC], action_days) == []
    assert build(spark, lake, settings, [HISTORIES, ROWS], IMPRESSION_DAYS) == []
    return lake


@pytest.fixture
def lake(tiny_copy: Lake) -> Lake:
    return tiny_copy


@on_sail_only
def test_raw_folders_are_looked_through_once_for_all_days(
    lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks: list[Days] = []

    def look(lake: Lake, table: Table, days: Days, *known: Any, **knobs: Any) -> Any:
        looks.append(days)
        return files_of_days(lake, table, days, *known, **knobs)

    monkeypatch.setattr("training_assets.provenance.provenance.files_of_days", look)
    assert Provenance(lake, SETTINGS).outdated(unified_actions.BUILT_FROM, ACTION_DAYS) == []
    assert looks == [ACTION_DAYS] * len(ACTION_SOURCES)
    # A day that cannot be looked at says nothing of the others.
    shutil.rmtree(raw_file(root_of(lake), "clicks", before(5)).parent)
    assert Provenance(lake, SETTINGS).outdated(unified_actions.BUILT_FROM, ACTION_DAYS) == [
        before(5)
    ]


# --- the scenarios --------------------------------------------------------------------------------


def correct_clicks(root: Path) -> None:
    file = raw_file(root, "clicks", before(5))
    rows = pq.ParquetFile(file).read().to_pylist()
    for row in rows:
        if row["item_id"] == 205:
            row["item_id"] = 299
    put(file, "clicks", rows)


def correct_labels(root: Path) -> None:
    file = raw_file(root, "impressions", before(1))
    rows = pq.ParquetFile(file).read().to_pylist()
    rows[0]["impressions"][0]["is_order"] = True
    put(file, "impressions", rows)


@dataclass(frozen=True)
class Change:
    """A change of raw files, and by table the days that it must lead to.

    ``touched`` and ``rebuilt`` are days of histories and of training input; the actions that are
    rebuilt are those that are reported. ``changed`` are the days with other bytes than before.
    """

    name: str
    make: Callable[[Path], object]
    outdated: dict[str, Days]
    touched: tuple[Days, Days]
    rebuilt: tuple[Days, Days]
    changed: tuple[Days, Days, Days]
    says: str
    settings: Settings = field(default=SETTINGS)


LAST = IMPRESSION_DAYS
EMPTY_IS_FINE = replace(SETTINGS, missing_raw="empty")
CHANGES = [
    Change("nothing", lambda root: None, {}, ([], []), ([], []), ([], [], []), ""),
    Change(
        "late file at the old end of the look-back",
        late_click(SHORT, 222, before(22)),
        {UA: [before(22)]},
        (LAST[:3], LAST[:3]),
        (LAST[:3], LAST[:3]),
        ([before(22)], LAST[:3], LAST[:3]),
        f"raw files added: raw/clicks/dt={before(22)}/late.parquet",
    ),
    Change(
        "late file of a customer who is shown nothing",
        late_click(SILENT, 5, before(2)),
        {UA: [before(2)]},
        (LAST[3:], LAST[3:]),
        (LAST[3:], []),
        ([before(2)], [], []),
        f"raw files added: raw/clicks/dt={before(2)}/late.parquet",
    ),
    Change(
        "corrected file",
        correct_clicks,
        {UA: [before(5)]},
        (LAST, LAST),
        (LAST, LAST),
        ([before(5)], LAST, LAST),
        f"raw/clicks/dt={before(5)}/part-0.parquet",
    ),
    Change(
        "removed file",
        lambda root: raw_file(root, "add_to_carts", before(9)).unlink(),
        {UA: [before(9)]},
        (LAST, LAST),
        (LAST, LAST),
        ([before(9)], LAST, LAST),
        f"raw files removed: raw/add_to_carts/dt={before(9)}/part-0.parquet",
    ),
    Change(
        "touched file",
        lambda root: os.utime(raw_file(root, "clicks", before(5))),
        {UA: [before(5)]},
        (LAST, LAST),
        ([], []),
        ([], [], []),
        "raw files touched or replaced by one of the same size: "
        f"raw/clicks/dt={before(5)}/part-0.parquet",
    ),
    Change(
        "empty file",
        lambda root: put(raw_file(root, "clicks", before(5), "empty.parquet"), "clicks", []),
        {UA: [before(5)]},
        (LAST, LAST),
        ([], []),
        ([], [], []),
        f"raw files added: raw/clicks/dt={before(5)}/empty.parquet",
    ),
    Change(
        "flat orders with one order more",
        lambda root: grow_orders(root, order(FIRST_TIME, 503, before(3), at(before(3)))),
        {UA: [before(3)]},
        (LAST[2:], LAST[2:]),
        (LAST[2:], LAST[2:]),
        ([before(3)], LAST[2:], LAST[2:]),
        "raw files changed: raw/previous_orders/orders.parquet (2 to 3 rows of the day)",
    ),
    Change(
        "corrected impressions",
        correct_labels,
        {CH: [before(1)], TI: [before(1)]},
        ([], []),
        ([before(1)], [before(1)]),
        ([], [], [before(1)]),
        f"raw/impressions/dt={before(1)}/part-0.parquet",
    ),
    Change(
        "impressions of one more customer",
        lambda root: put(
            raw_file(root, "impressions", before(1), "late.parquet"),
            "impressions",
            [ranking(SILENT, [7], before(1))],
        ),
        {CH: [before(1)], TI: [before(1)]},
        ([], []),
        ([before(1)], [before(1)]),
        ([], [before(1)], [before(1)]),
        f"raw files added: raw/impressions/dt={before(1)}/late.parquet",
    ),
    Change(
        "deleted raw day that may be empty",
        lambda root: shutil.rmtree(raw_file(root, "clicks", before(9)).parent),
        {UA: [before(9)]},
        (LAST, LAST),
        (LAST, LAST),
        ([before(9)], LAST, LAST),
        f"raw files removed: raw/clicks/dt={before(9)}/part-0.parquet",
        EMPTY_IS_FINE,
    ),
    Change(
        "shorter histories",
        lambda root: None,
        {CH: LAST, TI: LAST},
        ([], []),
        (LAST, LAST),
        ([], LAST, LAST),
        "setting history_length changed from 6 to 4",
        replace(SETTINGS, history_length=4),
    ),
    Change(
        "shorter look-back",
        lambda root: None,
        {CH: LAST, TI: LAST},
        ([], []),
        (LAST, LAST),
        ([], LAST, LAST),
        "setting lookback_days changed from 20 to 5",
        replace(SETTINGS, lookback_days=5),
    ),
]


def runs_of(lake: Lake) -> dict[tuple[str, date], str]:
    """The run that wrote each published day."""
    return {
        (table, day): lake.snapshot(table).run(day)
        for table in SEQUENCE
        for day in lake.days(table)
    }


@on_sail_only
@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.name)
def test_change_is_reported_and_rebuilt(
    spark: SparkSession, tiny: Path, lake: Lake, tmp_path: Path, change: Change
) -> None:
    time.sleep(0.01)  # for another modification time
    change.make(root_of(lake))
    late, touched = outdated(lake, change.settings)
    assert late == change.outdated
    expected = dict(zip((CH, TI), change.touched, strict=True))
    assert touched == {table: days for table, days in expected.items() if days}
    assert change.says in reasons(lake, change.settings)
    runs = runs_of(lake)

    done = rebuild(spark, lake, change.settings)

    assert [result.days for result in done if result.table in (UA, CH, TI)] == [
        change.outdated.get(UA, []),
        *change.rebuilt,
    ]
    assert [result.changed for result in done] == list(change.changed)
    assert [result.failed for result in done] == [{}, {}, {}]
    for result in done:
        sizes = [lake.manifest(result.table, day)["bytes"] for day in result.changed]
        assert result.changed_bytes == sum(sizes)
    # Nothing else was written.
    ours = {(result.table, day) for result in done for day in result.days}
    assert ours == {key for key, run in runs_of(lake).items() if run != runs[key]}
    assert outdated(lake, change.settings) == ({}, {})
    assert unordered(everything(lake)) == truth(lake, change.settings)


@on_sail_only
def test_day_that_was_missing_in_the_look_back_is_built_when_it_arrives(
    spark: SparkSession, tiny: Path, tmp_path: Path
) -> None:
    late = before(9)
    lake = Lake.at(write_tiny_lake(tmp_path / "lake"))
    folder = raw_file(root_of(lake), "clicks", late).parent
    folder.rename(tmp_path / "not yet")
    settings = replace(SETTINGS, incomplete_window="warn")
    build_all(spark, lake, settings, [day for day in ACTION_DAYS if day != late])
    assert lake.manifest(CH, DAY)["incomplete_window"] == [str(late)]
    assert outdated(lake) == ({UA: [late]}, {})
    assert (
        f"5 days of {CH} look back to it; it cannot be built: clicks: raw day {late} is missing"
        in reasons(lake)
    )
    (tmp_path / "not yet").rename(folder)
    assert outdated(lake) == ({UA: [late]}, {CH: LAST, TI: LAST})
    assert "not published, though its raw data is there and 5 days of" in reasons(lake)
    done = rebuild(spark, lake, SETTINGS)
    assert [result.days for result in done if result.table in (UA, CH, TI)] == [[late], LAST, LAST]
    assert outdated(lake) == ({}, {})
    assert everything(lake) == everything(Lake.at(tiny))


@on_sail_only
def test_day_whose_raw_data_is_gone_is_reported_and_stays_as_it_is(
    spark: SparkSession, lake: Lake
) -> None:
    before_it = everything(lake)
    shutil.rmtree(raw_file(root_of(lake), "clicks", before(8)).parent)
    raw_file(root_of(lake), "impressions", before(1)).write_bytes(b"PAR1")
    late, touched = outdated(lake)
    assert (late, touched) == ({UA: [before(8)], CH: [before(1)], TI: [before(1)]}, {})
    assert f"it cannot be built any more: clicks: raw day {before(8)} is missing" in reasons(lake)
    assert "the file cannot be read as parquet" in reasons(lake)
    done = rebuild(spark, lake, SETTINGS)
    assert [result.days for result in done if result.table in (UA, CH, TI)] == [[], [], []]
    assert [list(result.failed) for result in done] == [[before(8)], [before(1)], [before(1)]]
    assert everything(lake) == before_it


@on_sail_only
def test_day_that_fails_stays_and_the_others_are_rebuilt(spark: SparkSession, lake: Lake) -> None:
    for day in (before(8), before(9)):
        late_click(SHORT, 5, day)(root_of(lake))
    broken = raw_file(root_of(lake), "clicks", before(8))
    content = broken.read_bytes()
    # The footer, which is all that is looked at before a job starts, stays whole.
    broken.write_bytes(content[:4] + b"\xff" * 40 + content[44:])
    done = rebuild(spark, lake, SETTINGS)
    assert (done[0].days, list(done[0].failed)) == ([before(9)], [before(8)])
    assert [result.days for result in done[1:]] == [LAST, LAST]
    assert outdated(lake) == ({UA: [before(8)]}, {CH: LAST, TI: LAST})


# --- what is recorded -----------------------------------------------------------------------------


@on_sail_only
def test_manifest_names_what_a_day_was_built_from(tiny: Path) -> None:
    lake = Lake.at(tiny)
    file = raw_file(tiny, "impressions", DAY)
    found = lake.manifest(CH, DAY)["built_from"]
    window = [day for day in ACTION_DAYS if before(20) <= day < DAY]
    assert found == {
        "code_version": CODE_VERSION,
        "settings": {
            "action_types": [1, 2, 3],
            "bots": "leave_out",
            "history_length": 6,
            "lookback_days": 20,
        },
        "raw": {
            "impressions": {
                f"raw/impressions/dt={DAY}/part-0.parquet": [
                    file.stat().st_size,
                    file.stat().st_mtime_ns,
                ]
            }
        },
        "upstream": {
            UA: {str(window[0]): "".join(lake.manifest(UA, d)["content"][:8] for d in window)}
        },
    }
    assert list(lake.manifest(TI, DAY)["built_from"]["upstream"][CH]) == [str(DAY)]
    ((name, (rows, found_hash)),) = lake.manifest(UA, before(14))["built_from"]["raw"][
        "previous_orders"
    ].items()
    assert (name, rows, len(found_hash)) == ("raw/previous_orders/orders.parquet", 1, 32)
    assert lake.manifest(UA, before(15))["built_from"]["raw"]["previous_orders"] == {}


def test_contents_of_a_year_are_recorded_in_three_kilobytes() -> None:
    days = [date.fromordinal(DAY.toordinal() + n) for n in range(365)]
    contents = {day: f"{n:08x}".ljust(32, "f") for n, day in enumerate(days) if n != 100}
    packed = pack(contents)
    assert sum(map(len, packed.values())) == 364 * 8
    assert list(packed) == [str(days[0]), str(days[101])]
    assert unpack(packed) == {day: content[:8] for day, content in contents.items()}
    assert unpack(pack({DAY: "None"})) == {DAY: "None----"}


def test_days_are_grouped_and_said_in_order() -> None:
    days = [before(1), before(4), before(3), before(9)]
    assert contiguous(days) == [[before(9)], [before(4), before(3)], [before(1)]]
    assert days_in_words(days) == "2024-05-01, 2024-05-06..2024-05-07, 2024-05-09"
    assert contiguous([]) == []


@on_sail_only
def test_versions_that_changed_are_named(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("training_assets.provenance.provenance.CODE_VERSION", CODE_VERSION + 1)
    monkeypatch.setattr("training_assets.provenance.outdated.CODE_VERSION", CODE_VERSION + 1)
    late, touched = outdated(Lake.at(tiny))
    assert (late, touched) == ({UA: ACTION_DAYS, CH: LAST, TI: LAST}, {})
    changed = f"code version changed from {CODE_VERSION} to {CODE_VERSION + 1}"
    assert reasons(Lake.at(tiny)).count(changed) == 40


@on_sail_only
@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('{"inputs": "0"}', "it was built by a version that did not record"),
        ("{broken", f"the manifest of {DAY} is damaged"),
        ("[]", "is damaged (it holds no object"),
        (None, "is damaged (it is missing"),
    ],
)
def test_manifest_that_says_nothing_leads_to_a_rebuild(
    spark: SparkSession, lake: Lake, text: str | None, says: str
) -> None:
    manifest = root_of(lake) / TI / lake.snapshot(TI).manifest_path(DAY)
    manifest.unlink()
    if text is not None:
        manifest.write_text(text)
    assert outdated(lake) == ({TI: [DAY]}, {})
    assert says in reasons(lake)
    assert [result.days for result in rebuild(spark, lake, SETTINGS)] == [[], [], [DAY]]
    assert outdated(lake) == ({}, {})


# --- settings -------------------------------------------------------------------------------------


@on_sail_only
@pytest.mark.parametrize("knobs", [{"history_length": 8}, {"lookback_days": 10}])
def test_training_input_is_not_made_of_histories_of_other_settings(
    spark: SparkSession, lake: Lake, knobs: dict[str, int]
) -> None:
    settings = replace(SETTINGS, **knobs)
    before_it = everything(lake)
    (problem,) = build(spark, lake, settings, [ROWS], [DAY])
    assert "history_length 6, lookback_days 20; expected " in problem
    assert everything(lake) == before_it
    assert build(spark, lake, settings, [HISTORIES, ROWS], [DAY]) == []


# --- the check ------------------------------------------------------------------------------------


def outcomes(spark: SparkSession, lake: Lake, settings: Settings = SETTINGS) -> dict[str, Days]:
    failed: dict[str, Days] = {}
    for result in check_days(spark, lake, settings, list(SEQUENCE.values()), LAST):
        if result.check.name == "up_to_date" and not result.passed:
            assert result.check.severity == "warn"
            assert str(result.day) in result.message
            failed.setdefault(result.check.table, []).append(result.day)
    return failed


@on_sail_only
def test_planted_changes_fail_the_up_to_date_check_of_each_table(
    spark: SparkSession, lake: Lake
) -> None:
    assert outcomes(spark, lake) == {}
    late_click(SHORT, 5, before(1))(root_of(lake))
    assert outcomes(spark, lake) == {UA: [before(1)]}
    assert build(spark, lake, SETTINGS, [unified_actions.SPEC], [before(1)]) == []
    assert outcomes(spark, lake) == {CH: [DAY]}
    assert build(spark, lake, SETTINGS, [HISTORIES], [DAY]) == []
    assert outcomes(spark, lake) == {TI: [DAY]}


@on_sail_only
def test_days_that_are_being_built_are_up_to_date(spark: SparkSession, lake: Lake) -> None:
    late_click(SHORT, 5, before(1))(root_of(lake))
    correct_labels(root_of(lake))
    for report in build_days(spark, lake, SETTINGS, list(SEQUENCE.values()), LAST[3:]):
        (found,) = [r for r in report.checks if r.check.name == "up_to_date"]
        assert found.passed, found.message
