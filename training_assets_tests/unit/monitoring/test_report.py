"""The report of a day and what Prometheus is told: from what is recorded, without an engine."""

import json
import re
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest

from training_assets.errors import DayNotPublishedError
from training_assets.lake import Lake, new_run, publish
from training_assets.monitoring.charts import bar_chart
from training_assets.monitoring.profile_files import profile_rows
from training_assets.monitoring.prometheus import METRICS, lake_metrics
from training_assets.monitoring.report import MAX_BYTES, render_report
from training_assets.monitoring.report_data import DayOfReport, collect_report
from training_assets.schemas import TRAINING_INPUT, UNIFIED_ACTIONS, Table
from training_assets.settings import Settings
from training_assets.tables import SPECS
from training_assets.tables.watched import watched_tables
from training_assets_tests.support.planting import table_of, write_day

DAY = date(2026, 3, 29)
SETTINGS = Settings(lookback_days=7)
WATCHED = watched_tables(SPECS.values())
DASHBOARD = Path(__file__).parents[3] / "deploy" / "grafana" / "lake.json"


def put(lake: Lake, table: Table, day: date, rows: list[dict], figures: dict) -> None:
    """A day with its profile and figures, as a build records them."""
    rows_ = table_of(table, rows)
    new = write_day(lake, table, day, [rows_], new_run())
    profile = profile_rows(rows_, table, SPECS[table.name].watched_elsewhere)
    built_at = datetime(day.year, day.month, day.day, 3, tzinfo=UTC) + timedelta(days=1)
    manifest = {
        **new.manifest,
        "bytes": 1_000,
        "figures": {"rows": len(rows), **figures},
        "built_at": built_at.isoformat(),
        "seconds": {"build": 0.5},
    }
    new = replace(new, manifest=manifest, profile=profile.to_json())
    before = lake.snapshot(table.name)
    publish(lake.table_store(table.name), table, {day: new}, before, {"run": "test"})
    lake.refresh()


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Lake:
    """29 days, on the last of which everything is ordered at 3 in the morning."""
    found = Lake.at(tmp_path_factory.mktemp("lake") / "<b>lake")
    for n in range(28, -1, -1):
        day = DAY - timedelta(days=n)
        kinds = [3] * 200 if n == 0 else [1] * 160 + [2] * 24 + [3] * 16
        rows = [
            {
                "customer_id": k % 50,
                "item_id": k % 9 + 1,
                "action_type": kind,
                "occurred_at": datetime(
                    day.year, day.month, day.day, 3 if n == 0 else 8 + k % 12, tzinfo=UTC
                ),
                "has_time": True,
                "is_bot": False,
            }
            for k, kind in enumerate(kinds)
        ]
        put(found, UNIFIED_ACTIONS, day, rows, {"quarantined": {"clicks": 2}})
        shown = [{"customer_id": k, "is_order": int(k % 20 == 0)} for k in range(100)]
        put(found, TRAINING_INPUT, day, shown, {"positives": 5, "quarantined": {"impressions": 0}})
    return found


@pytest.fixture(scope="module")
def found(lake: Lake) -> DayOfReport:
    return collect_report(lake, SETTINGS, WATCHED, DAY)


def test_the_drifted_day_is_seen_first(lake: Lake, found: DayOfReport) -> None:
    page = render_report(found, lake.store.url)
    assert "watches fail" in page
    first = page[page.index("<h2>Drift") :]
    worst = re.findall(r"<figcaption>([^<]*)<b>PSI ([\d.]+)", first)
    assert worst[0][0].startswith("unified_actions: ")
    assert {name for name, _ in worst[:2]} == {
        "unified_actions: action_type",
        "unified_actions: occurred_at.hour",
    }
    assert float(worst[0][1]) > 0.25
    assert page.index("unified_actions drift") < page.index("<h2>Drift")


def test_the_page_asks_for_nothing_and_is_small(lake: Lake, found: DayOfReport) -> None:
    page = render_report(found, lake.store.url)
    assert len(page.encode()) < MAX_BYTES
    # The names of the formats of SVG are no addresses that a browser opens.
    bare = re.sub(r'xmlns(?::\w+)?="[^"]*"', "", page)
    assert not re.search(r"https?:|//\w|<script|<link|<img|@import|url\((?!#)|src=", bare)
    assert "default-src 'none'" in page


def test_what_comes_from_outside_is_escaped(lake: Lake, found: DayOfReport) -> None:
    page = render_report(found, lake.store.url)
    assert "<b>lake" not in page
    assert "&lt;b&gt;lake" in page


def test_the_same_day_gives_the_same_page(lake: Lake, found: DayOfReport) -> None:
    assert render_report(found, "x") == render_report(
        collect_report(Lake.at(lake.store), SETTINGS, WATCHED, DAY), "x"
    )


def test_series_hold_what_was_recorded(found: DayOfReport) -> None:
    actions, rows = found.tables
    assert found.missing == [n for n in SPECS if n not in ("unified_actions", "training_input")]
    assert actions.rows["clicks"][DAY] == 0
    assert actions.rows["clicks"][DAY - timedelta(days=1)] == 160
    assert actions.valid_share["clicks"][DAY - timedelta(days=1)] == 160 / 162
    # The newest event was at 03:00, and the day was built at 03:00 of the next.
    assert actions.latency_hours[DAY] == 24
    assert rows.positives_rate == {DAY - timedelta(days=n): 0.05 for n in range(29)}


def test_a_day_that_no_table_has_is_refused(lake: Lake) -> None:
    with pytest.raises(DayNotPublishedError, match="no table has the day 2020-01-01"):
        collect_report(lake, SETTINGS, WATCHED, date(2020, 1, 1))


def test_prometheus_is_told_of_the_newest_day(lake: Lake) -> None:
    text = lake_metrics(lake, SETTINGS, WATCHED)
    assert 'training_assets_day_rows{table="unified_actions",source="clicks"} 0\n' in text
    assert 'training_assets_published_days{table="training_input"} 29\n' in text
    assert 'training_assets_published_days{table="customer_history"} 0\n' in text
    (psi,) = re.findall(r'feature_psi\{table="unified_actions",feature="action_type"\} (.*)', text)
    assert float(psi) > 0.25
    declared = re.findall(r"^# TYPE (\S+) gauge$", text, re.MULTILINE)
    assert declared == list(METRICS)


def test_prometheus_own_parser_reads_it(lake: Lake) -> None:
    parser = pytest.importorskip("prometheus_client.parser")
    text = lake_metrics(lake, SETTINGS, WATCHED)
    families = list(parser.text_string_to_metric_families(text))
    assert {family.name for family in families} == set(METRICS)


def test_every_metric_and_label_of_the_dashboard_is_told(lake: Lake) -> None:
    text = lake_metrics(lake, SETTINGS, WATCHED)
    labels: dict[str, set[str]] = {}
    for name, inside in re.findall(r"^(\w+)\{(.*)\} ", text, re.MULTILINE):
        labels.setdefault(name, set()).update(re.findall(r'(\w+)="', inside))
    board = json.loads(DASHBOARD.read_text())
    targets = [target for panel in board["panels"] for target in panel["targets"]]
    assert len(targets) >= len(METRICS)
    used = set()
    for target in targets:
        for name in re.findall(r"training_assets_\w+", target["expr"]):
            used.add(name)
            asked = set(re.findall(r"(\w+)=~", target["expr"]))
            asked |= set(re.findall(r"\{\{(\w+)\}\}", target["legendFormat"]))
            assert asked <= labels[name], name
    assert used == set(METRICS)


def test_categories_are_no_formulas() -> None:
    labels = ["$0-$25", "$x^$", "a_b"]
    chart = bar_chart(labels, [1, 2, 3], [3, 2, 1], "items category")
    assert [chart.count(f">{label}<") for label in labels] == [1, 1, 1]
