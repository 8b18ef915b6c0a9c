"""``training-assets validate``: each planted kind of fault is found with its rows, and no other."""

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from pyspark.sql import SparkSession

from training_assets.cli.main import main
from training_assets.pipeline.validation import lake_of, validate_day, write_report
from training_assets_tests.support.shops import DAYS, interactions, items, put, users

pytestmark = pytest.mark.parametrize("engine", ["sail"], indirect=True, scope="session")
DAY = DAYS[0]
ROWS = interactions(DAY, count=200)


def write(root: Path, rows: list[dict[str, Any]]) -> Path:
    put(root, "interactions", DAY, rows)
    put(root, "items", DAY, items())
    put(root, "items", DAY + timedelta(days=2), [*items(), *items(first=50, last=50)])
    put(root, "users", DAY, users())
    return root


def changed(count: int, **cells: Any) -> list[dict[str, Any]]:
    return [{**row, **(cells if n < count else {})} for n, row in enumerate(ROWS)]


def again(count: int, **cells: Any) -> list[dict[str, Any]]:
    return [*ROWS, *({**row, **cells} for row in ROWS[:count])]


PLANTED = [
    ("user_id.required", "error", 3, changed(3, user_id=None)),
    ("interaction_type.allowed", "error", 4, changed(4, interaction_type="buy")),
    ("rating.range", "error", 2, changed(2, rating=6)),
    ("price.range", "error", 2, changed(2, price="-1")),
    ("item_id.length", "error", 1, changed(1, item_id="x" * 256)),
    ("timestamp.future", "error", 2, changed(2, timestamp="2024-06-01T00:00:00Z")),
    ("timestamp.past", "error", 2, changed(2, timestamp="1999-12-31T23:59:59Z")),
    ("interaction_id.unique", "error", 5, again(5, rating=3)),
    ("row.repeated", "warn", 5, [dict(r, interaction_id=None) for r in again(5)]),
    ("session_id.nulls", "warn", 20, changed(20, session_id=None)),
    ("session_id.order", "warn", 1, [ROWS[7], ROWS[0], *ROWS[1:7], *ROWS[8:]]),
    ("item_id.known", "error", 3, changed(3, item_id=77)),
    ("item_id.known", "warn", 1, changed(1, item_id=77)),
    ("user_id.known", "error", 3, changed(3, user_id=99)),
    ("timestamp.before_item", "warn", 2, changed(2, timestamp="2023-12-31T23:59:59Z")),
    ("types: rating is not a number", "error", 2, changed(2, rating="good")),
]


@pytest.mark.parametrize(("rule", "verdict", "broken", "rows"), PLANTED)
def test_planted_fault_is_found_with_its_rows(
    spark: SparkSession, tmp_path: Path, rule: str, verdict: str, broken: int, rows: Any
) -> None:
    report = validate_day(spark, lake_of(str(write(tmp_path, rows))), "interactions", DAY)
    found = {line.rule: line for line in report.broken()}
    line = found.pop(f"interactions.{rule}")
    assert (line.broken, line.verdict) == (broken, verdict)
    also = {"timestamp.before_item": {"interactions.timestamp.before_user"}}.get(rule, set())
    # A row out of its place in a file is out of its place in the session of those around it.
    assert found.keys() - {"interactions.session_id.order"} <= also
    assert report.rows == len(rows)


def test_nothing_is_found_in_good_data_and_early_items_are_not_unknown(
    spark: SparkSession, tmp_path: Path
) -> None:
    root = write(tmp_path, changed(9, item_id=50))
    report = validate_day(spark, lake_of(str(root)), "interactions", DAY)
    assert (report.verdict, report.rejected) == ("ok", 0)
    line = report.lines["interactions.item_id.known"]
    assert (line.rows, line.broken, line.early) == (200, 0, 9)
    for source in ("items", "users"):
        assert validate_day(spark, lake_of(str(root)), source, DAY).verdict == "ok"


def test_report_says_the_same_as_json_and_markdown(spark: SparkSession, tmp_path: Path) -> None:
    lake = lake_of(str(write(tmp_path, changed(3, item_id="<b>|x"))))
    report = validate_day(spark, lake, "interactions", DAY)
    place = Path(write_report(lake, report))
    known = json.loads(place.with_suffix(".json").read_text())
    (rule,) = (r for r in known["rules"] if r["rule"] == "interactions.item_id.known")
    assert (rule["rows"], rule["broken"], rule["verdict"]) == (200, 3, "error")
    assert rule["examples"] == ["<b>|x"]
    assert "<b>" not in place.read_text()
    assert "&#60;b&#62;&#124;x" in place.read_text()


def test_command_exits_by_the_verdict(spark: SparkSession, tmp_path: Path) -> None:
    root = write(tmp_path, ROWS)
    call = ["validate", "--date", str(DAY), "--path", str(root)]
    done = CliRunner().invoke(main, call)
    assert done.exit_code == 0, done.output
    assert f"interactions of {DAY}: ok; 200 rows" in done.output
    write(tmp_path, changed(3, interaction_type="buy"))
    done = CliRunner().invoke(main, [*call, "--source", "interactions"])
    assert done.exit_code == 1
    report = (root / "_validation" / "interactions" / f"dt={DAY}" / "report.md").read_text()
    assert "| interactions.interaction_type.allowed | 200 | 3 | 1.5 % | 0 % | error |" in report
    done = CliRunner().invoke(main, ["validate", "--date", "2020-01-01", "--path", str(root)])
    assert done.exit_code == 1
    assert "has no day 2020-01-01" in done.output
