"""Samples built on both engines pass every check; a planted fault fails exactly its check."""

import math
import shutil
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from pyspark.sql import SparkSession

from training_assets.checks import CheckResult
from training_assets.checks.giveaway import auc, ranks
from training_assets.lake import Lake
from training_assets.pipeline import build_days, check_days
from training_assets.provenance import Provenance, find_outdated
from training_assets.schemas import TRAINING_SAMPLES, UNIFIED_ACTIONS
from training_assets.settings import Settings
from training_assets.tables import BUILT_FROM, SPECS, training_samples
from training_assets_tests.support.frames import DAY, at, before
from training_assets_tests.support.planting import publish_day, replant, rows_of

AS_BUILT = {"settings": {"interaction_kinds": "missing"}}
TABLE = TRAINING_SAMPLES.name
DAYS = [before(2), before(1), DAY]
BAD_DAY = before(1)
SETTINGS = Settings(lookback_days=7, negative_ratio=4)
BOT, COLLECTOR = 90, 91
NUM_ITEMS = 60

Row = dict[str, Any]
on_sail_only = pytest.mark.parametrize("engine", ["sail"], indirect=True, scope="session")


def actions_of(n: int) -> list[Row]:
    """Of ``n`` days before DAY: 40 customers at random, a bot, and one who has acted on all.

    One of the 40 is -1, as shops name guests.
    """
    rng, day = np.random.default_rng(n), before(n)
    acted = [
        (int(c) if c > 1 else -1, int(NUM_ITEMS * rng.random() ** 2) + 1, int(rng.integers(1, 6)))
        for c in rng.integers(1, 41, 150)
    ]
    acted += [(BOT, item, 3) for item in range(1, 30)]
    if n in (1, 3):
        acted += [(COLLECTOR, item, 1) for item in range(3 if n == 3 else 58, NUM_ITEMS + 1)]
    acted += [(COLLECTOR, 60, 3)] if n == 1 else []
    return [
        {
            "customer_id": customer,
            "item_id": item,
            "action_type": kind,
            "occurred_at": at(day, f"{int(rng.integers(0, 24)):02d}:{place % 60:02d}"),
            "has_time": place % 9 != 0,
            "is_bot": customer == BOT,
            "session_id": f"{customer}-{place % 3}" if place % 2 else None,
        }
        for place, (customer, item, kind) in enumerate(acted)
    ]


@pytest.fixture(scope="module")
def built(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> Path:
    lake = Lake.at(tmp_path_factory.mktemp("lake"))
    for n in range(12):
        rows = sorted(actions_of(n), key=lambda row: row["customer_id"])
        table = pa.Table.from_pylist(rows, UNIFIED_ACTIONS.arrow_schema)
        publish_day(lake, UNIFIED_ACTIONS, before(n), table, manifest=AS_BUILT)
    reports = list(build_days(spark, lake, SETTINGS, [SPECS[TABLE]], DAYS))
    assert [report.problem for report in reports] == [None] * 3
    return Path(lake.store.url)


@pytest.fixture
def lake(built: Path, tmp_path: Path) -> Lake:
    return Lake.at(shutil.copytree(built, tmp_path / "lake"))


def failed(spark: SparkSession, lake: Lake, settings: Settings = SETTINGS) -> list[CheckResult]:
    results = check_days(spark, lake, settings, [SPECS[TABLE]], DAYS)
    # Their actions were published without what they were built from.
    return [r for r in results if not r.passed and r.check.name != "up_to_date"]


# ------------------------------------------------------------------------------------- as built


def test_good_samples_pass_and_say_what_is_in_them(spark: SparkSession, built: Path) -> None:
    lake = Lake.at(built)
    assert failed(spark, lake) == []
    figures = lake.manifest(TABLE, BAD_DAY)["figures"]
    positives = {
        (row["customer_id"], row["item_id"])
        for row in actions_of(1)
        if row["action_type"] in (2, 3, 5) and not row["is_bot"]
    }
    # The collector has left two items alone, and four were asked for.
    assert figures["shortfall"] == 2
    assert figures["positives"] == len(positives)
    assert figures["negatives"] == 4 * len(positives) - 2
    assert figures["rows"] == 5 * len(positives) - 2
    rows = rows_of(lake, TABLE, BAD_DAY).to_pylist()
    assert {(r["customer_id"], r["item_number"]) for r in rows if r["label"]} == positives
    collected = [r for r in rows if r["customer_id"] == COLLECTOR and not r["label"]]
    assert {r["item_number"] for r in collected} == {1, 2}
    assert {r["log_q"] for r in collected} == {math.log(2 * 0.5)}
    assert BOT not in {r["customer_id"] for r in rows}


@on_sail_only
def test_days_after_a_look_back_without_actions_have_no_samples(
    spark: SparkSession, tmp_path: Path
) -> None:
    lake = Lake.at(tmp_path)
    for n in range(2):
        table = UNIFIED_ACTIONS.arrow_schema.empty_table()
        publish_day(lake, UNIFIED_ACTIONS, before(n), table, manifest=AS_BUILT)
    (report,) = build_days(spark, lake, SETTINGS, [SPECS[TABLE]], [DAY])
    assert report.problem is None
    assert report.manifest["rows"] == 0


def test_a_negative_has_the_context_of_its_positive(built: Path) -> None:
    names = ("occurred_at", "session_id", "session_position", "time_of_day", "day_of_week")
    rows = rows_of(Lake.at(built), TABLE, DAY).to_pylist()
    positives = {
        (r["customer_id"], r["item_id"]): [r[n] for n in names] for r in rows if r["label"]
    }
    assert len({tuple(found) for found in positives.values()}) > 20
    for row in rows:
        assert [row[n] for n in names] == positives[row["customer_id"], row["positive_item_id"]]
        assert row["user_id"] == str(row["customer_id"])
        assert row["item_id"] == str(row["item_number"])
    assert any(row["occurred_at"] for row in rows if row["customer_id"] == -1)


@on_sail_only
def test_a_day_alone_has_the_same_bytes(spark: SparkSession, lake: Lake) -> None:
    contents = {day: lake.snapshot(TABLE).content(day) for day in DAYS}
    for day in DAYS[1:]:
        (report,) = build_days(spark, lake, SETTINGS, [SPECS[TABLE]], [day])
        assert report.problem is None
    lake.refresh()
    assert {day: lake.snapshot(TABLE).content(day) for day in DAYS} == contents


@on_sail_only
def test_actions_too_many_to_be_held_give_the_same_bytes(
    spark: SparkSession, lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    contents = {day: lake.snapshot(TABLE).content(day) for day in DAYS}
    monkeypatch.setattr(training_samples, "_GATHERED_ACTIONS", 0)
    monkeypatch.setattr(training_samples, "_ACTIONS_PER_TASK", 200)
    assert {r.problem for r in build_days(spark, lake, SETTINGS, [SPECS[TABLE]], DAYS)} == {None}
    lake.refresh()
    assert {day: lake.snapshot(TABLE).content(day) for day in DAYS} == contents


@on_sail_only
@pytest.mark.parametrize(
    "settings",
    [
        Settings(lookback_days=7, positives="new"),
        Settings(lookback_days=7, exclude="positives"),
        Settings(lookback_days=3, negative_strategy="popularity", negative_ratio=2),
        Settings(lookback_days=None, positive_types=(3,), sample_seed=9, check_customers=7),
    ],
)
def test_other_settings_pass_their_checks(
    spark: SparkSession, lake: Lake, settings: Settings
) -> None:
    reports = list(build_days(spark, lake, settings, [SPECS[TABLE]], DAYS))
    assert [report.problem for report in reports] == [None] * 3
    assert all(report.has_changed for report in reports)
    lake.refresh()
    assert failed(spark, lake, settings) == []
    rows = rows_of(lake, TABLE, DAY).to_pylist()
    seen = {(r["label"], r["seen_before"]) for r in rows}
    assert ((1.0, True) in seen) == (settings.positives == "all")
    assert ((0.0, True) in seen) == (settings.exclude == "positives")


@on_sail_only
def test_other_draws_and_later_actions_make_days_out_of_date(lake: Lake) -> None:
    def reasons(settings: Settings) -> dict[Any, str]:
        found = find_outdated(Provenance(Lake(lake.store), settings), BUILT_FROM)
        return {d.day: "; ".join(d.reasons) for d in found.of(SPECS[TABLE].built_from)}

    assert reasons(SETTINGS) == {}
    other = reasons(Settings(lookback_days=7, sample_seed=1))
    assert other == dict.fromkeys(DAYS, "setting sample_seed changed from 0 to 1")
    rows = pa.Table.from_pylist(actions_of(3)[:-1], UNIFIED_ACTIONS.arrow_schema)
    publish_day(lake, UNIFIED_ACTIONS, BAD_DAY, rows, manifest=AS_BUILT)
    why = f"unified_actions changed: {BAD_DAY}"
    assert reasons(SETTINGS) == {BAD_DAY: why, DAY: why}


@on_sail_only
def test_features_of_the_day_are_joined_where_they_are_published(
    spark: SparkSession, lake: Lake
) -> None:
    specs = [SPECS[name] for name in ("user_features", "item_features")]
    assert (
        lake.manifest(TABLE, DAY)["figures"]["without_features"] == "user_features, item_features"
    )
    assert [r.problem for r in build_days(spark, lake, SETTINGS, specs, [DAY])] == [None] * 2
    provenance = Provenance(Lake(lake.store), SETTINGS)
    (late,) = find_outdated(provenance, BUILT_FROM).of(SPECS[TABLE].built_from)
    assert (late.day, "user_features added" in "; ".join(late.reasons)) == (DAY, True)
    reports = list(build_days(spark, lake, SETTINGS, [SPECS[TABLE]], DAYS))
    assert [report.problem for report in reports] == [None] * 3
    lake.refresh()
    assert lake.manifest(TABLE, DAY)["figures"]["without_features"] == ""
    known = {
        "user": {r["customer_id"]: r for r in rows_of(lake, "user_features", DAY).to_pylist()},
        "item": {r["item_id"]: r for r in rows_of(lake, "item_features", DAY).to_pylist()},
    }
    rows = rows_of(lake, TABLE, DAY).to_pylist()
    names = [n for n in rows[0] if n.startswith(("user_", "item_"))]
    names = [
        n for n in names if n not in ("user_id", "item_id", "item_number", "user_item_affinity")
    ]
    assert len(names) > 40
    for row in rows:
        for name in names:
            of, _, feature = name.partition("_")
            found = known[of].get(row["customer_id" if of == "user" else "item_number"], {})
            assert row[name] == found.get(feature), name
    assert any(row["item_popularity_score"] for row in rows if not row["label"])
    before = rows_of(lake, TABLE, BAD_DAY)
    assert all(before[name].null_count == len(before) for name in names)


# --------------------------------------------------------------------------------------- planted


def edit(change: Callable[[list[Row]], list[Row] | None]) -> Callable[[Lake], None]:
    def plant(lake: Lake) -> None:
        table = rows_of(lake, TABLE, BAD_DAY)
        rows = table.to_pylist()
        changed = change(rows)
        new = rows if changed is None else changed
        replant(lake, TABLE, BAD_DAY, pa.Table.from_pylist(new, SPECS[TABLE].table.arrow_schema))

    return plant


def negative(rows: list[Row]) -> Row:
    return next(r for r in rows if not r["label"] and r["customer_id"] < COLLECTOR)


def swap_in_a_seen_item(rows: list[Row]) -> None:
    row = negative(rows)
    day = next(n for n in range(1, 9) if before(n) == BAD_DAY)
    acted = {
        a["item_id"]
        for n in range(day, day + 8)
        for a in actions_of(n)
        if a["customer_id"] == row["customer_id"]
    }
    taken = {r["item_number"] for r in rows if r["customer_id"] == row["customer_id"]}
    item = min(acted - taken)
    # Said to be seen, so that nothing but its being a negative is wrong.
    row.update(item_number=item, item_id=str(item), seen_before=True)


def say_seen(rows: list[Row]) -> None:
    negative(rows).update(seen_before=True)


def repeat_a_negative(rows: list[Row]) -> list[Row]:
    row = negative(rows)
    (other, *_) = [
        r
        for r in rows
        if r["positive_item_id"] == row["positive_item_id"]
        and r["customer_id"] == row["customer_id"]
        and not r["label"]
        and r is not row
    ]
    other.update({n: row[n] for n in ("item_number", "item_id")})
    return rows


def drop_a_negative(rows: list[Row]) -> None:
    rows.remove(negative(rows))


def drop_a_positive(rows: list[Row]) -> list[Row]:
    """And its negatives."""
    of = next(r for r in rows if r["label"] and r["customer_id"] < COLLECTOR)
    counted = [r for r in rows if r["customer_id"] == of["customer_id"]]
    gone = [r for r in counted if r["positive_item_id"] == of["positive_item_id"]]
    k = sum(not r["label"] for r in counted) - sum(not r["label"] for r in gone)
    for row in counted:
        if not row["label"] and k:
            row["log_q"] = math.log(k * row["sampling_probability"])
    return [r for r in rows if r not in gone]


def spoil_probability(rows: list[Row]) -> None:
    negative(rows)["sampling_probability"] = None


def spoil_log_q(rows: list[Row]) -> None:
    negative(rows)["log_q"] -= 1.0


def forget_times_of_negatives(rows: list[Row]) -> None:
    for row in rows:
        if not row["label"]:
            row.update(occurred_at=None, time_of_day=None, day_of_week=None)


FAULTS = [
    (swap_in_a_seen_item, "leakage", "1 negatives that their customers had acted on"),
    (say_seen, "leakage", "1 with a seen_before that is not so"),
    (repeat_a_negative, "sampling", "1 pairs that come again"),
    (drop_a_negative, "sampling", "customers"),
    (drop_a_positive, "row_counts", "1 missing, 0 surplus"),
    (spoil_probability, "sampling", "1 with a probability or log_q that cannot be"),
    (spoil_log_q, "sampling", "1 customers whose log_q is not ln(k * probability)"),
    (forget_times_of_negatives, "giveaway", "being null gives the label away in occurred_at"),
]


@on_sail_only
@pytest.mark.parametrize(
    ("fault", "check", "says"), FAULTS, ids=lambda v: getattr(v, "__name__", "")
)
def test_a_planted_fault_fails_its_check(
    spark: SparkSession, lake: Lake, fault: Any, check: str, says: str
) -> None:
    edit(fault)(lake)
    (result,) = failed(spark, lake)
    assert (result.check.name, result.day, result.severity) == (check, BAD_DAY, "error")
    assert says in result.message


def test_every_error_level_check_has_a_planted_fault() -> None:
    checks = {c.name for c in SPECS[TABLE].checks if c.severity == "error"}
    # Files that are not as declared, and values out of range, are planted for all tables alike.
    assert {check for _, check, _ in FAULTS} == checks - {"schema", "ranges"}


@on_sail_only
def test_a_column_that_is_nearly_the_label_warns(spark: SparkSession, lake: Lake) -> None:
    def give_away(rows: list[Row]) -> None:
        for row in rows:
            row["time_of_day"] = int(row["label"]) * 3

    edit(give_away)(lake)
    (result,) = failed(spark, lake)
    assert (result.check.name, result.severity) == ("giveaway", "warn")
    assert "the AUC of one column alone is above 0.9 for time_of_day (1.000)" in result.message
    assert result.metrics["highest_auc_column"] == "time_of_day"


# ------------------------------------------------------------------------------------------- AUC


def test_auc_is_the_share_of_pairs_in_order() -> None:
    rng = np.random.default_rng(2)
    for _ in range(20):
        values = [None if v == 0 else int(v) for v in rng.integers(0, 6, 30)]
        label = rng.random(30) < 0.4
        pairs = [
            1.0 if (p or 0) > (n or 0) else 0.5 if (p or 0) == (n or 0) else 0.0
            for p, is_p in zip(values, label, strict=True)
            if is_p
            for n, is_n in zip(values, ~label, strict=True)
            if is_n
        ]
        found = auc(ranks(pa.chunked_array([pa.array(values, pa.int64())]))[0], label)
        assert found == pytest.approx(sum(pairs) / len(pairs))


@pytest.mark.parametrize(
    "column",
    [
        pa.array([True, None, False]),
        pa.array(["b", None, "a"]),
        pa.array([2.5, float("nan"), 1.0]),
        pa.array([DAY, None, DAY - timedelta(days=1)]),
    ],
)
def test_values_of_any_type_have_ranks(column: pa.Array) -> None:
    values, is_null = ranks(pa.chunked_array([column]))
    assert is_null.tolist() == [False, True, False]
    assert values[0] > values[2] > values[1] == 0
