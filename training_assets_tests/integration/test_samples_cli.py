"""From published days to a file, a split and batches, by command."""

import csv
import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from training_assets.cli.main import main
from training_assets.lake import Lake
from training_assets.loader import TrainingDays
from training_assets_tests.unit.loader.test_samples import DAYS, TABLE, publish, rows_of

RANGE = ("--start-date", str(DAYS[0]), "--end-date", str(DAYS[-1]))


@pytest.fixture
def lake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    root = tmp_path / "lake"
    for day in DAYS:
        publish(Lake.at(root), day, rows_of(day))
    monkeypatch.setenv("TRAINING_ASSETS_LAKE", str(root))
    return root


def run(*arguments: str) -> tuple[int, str]:
    result = CliRunner().invoke(main, list(arguments))
    return result.exit_code, result.output


def test_split_writes_days_that_the_loader_takes(lake: Path) -> None:
    code, text = run("split", *RANGE, "--ratios", "1/3,1/3,1/3")
    assert code == 0, text
    found = json.loads((lake / "splits.json").read_text())
    assert found["parts"]["validation"] == {"days": [str(DAYS[1])], "rows": 30, "positives": 6}
    assert found["cuts"] == [str(DAYS[1]), str(DAYS[2])]
    assert found["versions"][TABLE] == Lake.at(lake).snapshot(TABLE).version
    test = TrainingDays(lake, table="training_samples", split="test", batch_size=8)
    assert test.days == (DAYS[2],)


def test_split_says_what_cannot_be(lake: Path) -> None:
    code, text = run("split", *RANGE)
    assert code == 1
    assert "validation would be empty: 3 days with 90 rows" in text
    code, text = run("split", *RANGE, "--ratios", "0.5,0.5")
    assert code == 1
    assert "expected three" in text
    code, text = run("split", *RANGE, "--ratios", "a,b,c")
    assert code == 1
    assert "a,b,c is no list of numbers" in text
    assert not (lake / "splits.json").exists()


def test_days_that_are_not_published_are_left_out_and_said(lake: Path, tmp_path: Path) -> None:
    end = ("--start-date", str(DAYS[0]), "--end-date", "2024-05-04")
    other = tmp_path / "own" / "splits.json"
    code, text = run("split", *end, "--ratios", "1/3,1/3,1/3", "--output", str(other))
    assert code == 0, text
    assert "not published, left out: 2024-05-04" in text
    assert json.loads(other.read_text())["left_out"] == ["2024-05-04"]


def test_export_writes_ids_and_labels(lake: Path) -> None:
    code, text = run("export", "samples", *RANGE, "--without-features")
    assert code == 0, text
    path = lake / "exports" / f"samples-{DAYS[0]}-{DAYS[-1]}.csv"
    assert f"90 rows in {path}" in text.replace("\n", "")
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["user_id", "item_id", "label"]
    expected = [(r["user_id"], r["item_id"], r["label"]) for day in DAYS for r in rows_of(day)]
    assert [(r["user_id"], r["item_id"], float(r["label"])) for r in rows] == expected


def test_export_of_days_that_are_missing_fails(lake: Path) -> None:
    code, text = run("export", "samples", "--start-date", "2024-05-03", "--end-date", "2024-05-04")
    assert code == 1
    assert "training_samples of 2024-05-04 is not published" in text
