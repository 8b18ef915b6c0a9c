"""The commands as a user gives them: each in a process of its own, on a lake of its own."""

import os
import re
import subprocess
import sys
from datetime import date
from pathlib import Path

import dagster as dg
import pytest

LAST = "2024-03-01"


def command(home: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    env = {k: v for k, v in os.environ.items() if not k.startswith(("TRAINING_ASSETS", "DAGSTER"))}
    env |= {"TRAINING_ASSETS_LAKE": str(home / "lake"), "TRAINING_ASSETS_HISTORY_LENGTH": "50"}
    for name in ("SPARK_CONNECT_MODE_ENABLED", "SPARK_REMOTE", "COLUMNS"):
        env.pop(name, None)
    return subprocess.run(
        [sys.executable, "-m", "training_assets.cli", *arguments],
        capture_output=True,
        text=True,
        env=env,
        cwd=home,
        check=False,
        timeout=120,
    )


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with a small sample, built once by the command itself."""
    home = tmp_path_factory.mktemp("home")
    sizes = ("--customers", "80", "--items", "50", "--interactions", "3000", "--days", "20")
    generated = command(home, "generate", *sizes, "--end-date", LAST)
    assert generated.returncode == 0, generated.stderr
    built = command(home, "run", "--start-date", "2024-02-27", "--end-date", LAST)
    assert built.returncode == 0, built.stderr + built.stdout
    (home / "built.txt").write_text(built.stdout)
    return home


def test_run_prints_one_row_per_day_and_where_the_output_lies(home: Path) -> None:
    printed = (home / "built.txt").read_text()
    assert re.findall(r"│ (2024-\d\d-\d\d) │ +[\d,]+ │", printed) == [
        "2024-02-27",
        "2024-02-28",
        "2024-02-29",
        "2024-03-01",
    ]
    assert str(home / "lake" / "training_input") in printed


def test_run_builds_the_look_back_first(home: Path) -> None:
    days = sorted(p.name for p in (home / "lake" / "unified_actions").iterdir())
    assert (days[0], days[-1], len(days)) == ("dt=2024-02-11", "dt=2024-03-01", 20)


def test_runs_are_kept_in_a_persistent_instance(home: Path) -> None:
    with dg.DagsterInstance.from_config(str(home / "dagster")) as instance:
        found = instance.get_materialized_partitions(dg.AssetKey("training_input"))
        assert found == {"2024-02-27", "2024-02-28", "2024-02-29", "2024-03-01"}
        assert len(instance.get_runs()) == 2


def test_a_second_run_is_told_that_all_is_up_to_date_and_changes_nothing(home: Path) -> None:
    def snapshot() -> dict[str, int]:
        return {str(p): p.stat().st_mtime_ns for p in (home / "lake").rglob("*") if p.is_file()}

    before = snapshot()
    again = command(home, "run", "--start-date", "2024-02-27", "--end-date", LAST)
    assert again.returncode == 0, again.stderr
    assert "all days are published and up to date" in again.stdout
    assert snapshot() == before


def test_check_passes_on_good_days(home: Path) -> None:
    checked = command(home, "check", "--start-date", "2024-02-28", "--end-date", LAST)
    assert checked.returncode == 0, checked.stdout + checked.stderr
    assert "leakage" in checked.stdout


def test_check_fails_on_a_day_that_is_not_published_and_names_it(home: Path) -> None:
    checked = command(
        home,
        "check",
        "--start-date",
        "2024-02-26",
        "--end-date",
        "2024-02-27",
        "--asset",
        "training_input",
    )
    assert checked.returncode == 1
    assert "day 2024-02-26 is not published" in checked.stdout


def test_quarantine_of_good_data_is_empty(home: Path) -> None:
    assert "The quarantine is empty" in command(home, "quarantine").stdout


def test_impossible_settings_end_in_one_sentence(home: Path) -> None:
    refused = command(home, "run", "--start-date", "2024-03-02", "--end-date", LAST)
    assert refused.returncode == 1
    assert "--start-date: 2024-03-02 is after --end-date 2024-03-01" in refused.stderr
    assert "Traceback" not in refused.stderr


def test_a_raw_day_that_is_missing_fails_the_run_and_keeps_the_others(tmp_path: Path) -> None:
    sizes = ("--customers", "20", "--items", "20", "--interactions", "300", "--days", "5")
    command(tmp_path, "generate", *sizes, "--end-date", LAST)
    missing = tmp_path / "lake" / "raw" / "clicks" / "dt=2024-02-28"
    for file in missing.iterdir():
        file.unlink()
    missing.rmdir()
    built = command(tmp_path, "run", "--start-date", "2024-02-27", "--end-date", LAST)
    assert built.returncode == 1
    assert "clicks: raw day 2024-02-28 is missing" in built.stdout + built.stderr
    published = sorted(p.name for p in (tmp_path / "lake" / "unified_actions").iterdir())
    assert f"dt={date(2024, 2, 28)}" not in published
    assert len(published) == 4
