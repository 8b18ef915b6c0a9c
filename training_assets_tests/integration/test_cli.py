"""The commands as a user gives them, most of them in this process."""

import json
import os
import re
import shutil
import subprocess
import sys
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import dagster as dg
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner, Result

from training_assets.cli import main
from training_assets.lake import Lake, LocalStore, day_range, list_versions, migrate, open_snapshot
from training_assets.loader import TrainingDays
from training_assets.sample.generate import SampleSpec, generate
from training_assets.tables import SPECS
from training_assets_tests.support.commands import invoke
from training_assets_tests.support.old_lakes import write_old_lake
from training_assets_tests.support.published_days import DAYS, numbers_of, publish_days

LAST = "2024-03-01"


def command(home: Path, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    env = {k: v for k, v in os.environ.items() if not k.startswith(("TRAINING_ASSETS", "DAGSTER"))}
    env |= {"TRAINING_ASSETS_LAKE": str(home / "lake"), "TRAINING_ASSETS_HISTORY_LENGTH": "50"}
    env |= variables
    for name in ("SPARK_CONNECT_MODE_ENABLED", "SPARK_REMOTE", "COLUMNS"):
        env.pop(name, None)
    return subprocess.run(
        [sys.executable, "-m", "training_assets.cli", *arguments],
        capture_output=True,
        text=True,
        env=env,
        cwd=home,
        check=False,
        timeout=600,
    )


def in_this_process(home: Path, *arguments: str, **variables: str) -> Result:
    """Without the seconds that a process takes to begin, and with an engine of its own."""
    env = {"TRAINING_ASSETS_LAKE": str(home / "lake"), "TRAINING_ASSETS_HISTORY_LENGTH": "50"}
    env |= {"DAGSTER_HOME": str(home / "dagster")} | variables
    return invoke(*arguments, **env)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with a small sample, of which one day was built first, and then days around it."""
    home = tmp_path_factory.mktemp("home")
    sizes = ("--customers", "80", "--items", "50", "--interactions", "1800", "--days", "12")
    generated = in_this_process(home, "generate", *sizes, "--end-date", LAST)
    assert generated.exit_code == 0, generated.output
    first = in_this_process(home, "run", "--start-date", "2024-02-29", "--end-date", "2024-02-29")
    assert first.exit_code == 0, first.output
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
    lake = Lake.at(home / "lake")
    assert lake.days("unified_actions") == day_range(date(2024, 2, 19), date(2024, 3, 1))
    assert lake.days("training_input") == day_range(date(2024, 2, 27), date(2024, 3, 1))


def test_run_builds_features_only_where_they_are_asked_for(home: Path, tmp_path: Path) -> None:
    lake = Lake.at(home / "lake")
    features = [name for name, spec in SPECS.items() if spec.group == "features"]
    assert [name for name in features if lake.days(name)] == []
    assert lake.days("training_samples") == day_range(date(2024, 2, 27), date(2024, 3, 1))

    shutil.copytree(home / "lake", tmp_path / "lake")
    wanted = ("--start-date", LAST, "--end-date", LAST)
    built = in_this_process(tmp_path, "run", "--with", "features", *wanted)
    assert built.exit_code == 0, built.output
    with_features = Lake.at(tmp_path / "lake")
    assert {name for name in features if date(2024, 3, 1) in with_features.days(name)} == {
        *features
    }
    again = in_this_process(tmp_path, "run", "--all", *wanted)
    assert "all days are published and up to date" in again.output
    # A day that has no features fails where some of the days asked for have them.
    checked = in_this_process(tmp_path, "check", "--start-date", "2024-02-29", "--end-date", LAST)
    assert checked.exit_code == 1, checked.output
    assert "user_features" in checked.stdout


def test_the_weekly_run_ends_in_splits_an_export_and_a_report(home: Path, tmp_path: Path) -> None:
    shutil.copytree(home / "lake", tmp_path / "lake")
    built = in_this_process(tmp_path, "weekly", "--end-date", LAST, "--days", "5")
    assert built.exit_code == 0, built.output
    root, days = tmp_path / "lake", day_range(date(2024, 2, 26), date(2024, 3, 1))
    lake = Lake.at(root)
    for table in ("customer_history", "training_input", "training_samples"):
        assert lake.days(table) == days
    manifests = [lake.manifest("training_samples", day) for day in days]
    parts = json.loads((root / "splits.json").read_text())["parts"]
    assert [day for part in parts.values() for day in part["days"]] == [str(day) for day in days]
    assert sum(part["rows"] for part in parts.values()) == sum(m["rows"] for m in manifests)
    export = root / "exports" / f"samples-{days[0]}-{days[-1]}.parquet"
    labels = pq.read_table(export)["label"].to_pylist()
    assert len(labels) == sum(m["rows"] for m in manifests)
    assert labels.count(1.0) == sum(m["figures"]["positives"] for m in manifests)
    (report,) = (root / "reports").glob("*.html")
    assert LAST in report.read_text()
    printed = built.stdout.replace("\n", "")
    assert all(str(path) in printed for path in (root / "splits.json", export, report))
    batches = TrainingDays(root, table="training_samples", split="train", batch_size=512)
    assert sum(len(batch.labels) for batch in batches) == parts["train"]["rows"]


def test_runs_are_kept_in_a_persistent_instance(home: Path) -> None:
    with dg.DagsterInstance.from_config(str(home / "dagster")) as instance:
        found = instance.get_materialized_partitions(dg.AssetKey("training_input"))
        assert found == {"2024-02-27", "2024-02-28", "2024-02-29", "2024-03-01"}
        # What is looked back to is built by the same run.
        assert len(instance.get_runs()) == 2


def test_a_second_run_is_told_that_all_is_up_to_date_and_changes_nothing(home: Path) -> None:
    def snapshot() -> dict[str, int]:
        return {str(p): p.stat().st_mtime_ns for p in (home / "lake").rglob("*") if p.is_file()}

    before = snapshot()
    again = in_this_process(home, "run", "--start-date", "2024-02-27", "--end-date", LAST)
    assert again.exit_code == 0, again.output
    assert "all days are published and up to date" in again.output
    assert snapshot() == before


def test_json_lines_say_what_the_table_says(home: Path) -> None:
    built = command(
        home, "--log-format", "json", "run", "--start-date", "2024-02-27", "--end-date", LAST
    )
    lines = [json.loads(line) for line in built.stdout.splitlines()]
    assert all(line["level"] == "info" and line["time"] for line in lines)
    assert next(line["day"] for line in lines if "day" in line) == "2024-02-27"
    assert all(line["training_rows"] > 0 for line in lines if "day" in line)
    refused = in_this_process(
        home, "run", "--log-format", "json", "--start-date", "2024-03-02", "--end-date", LAST
    )
    assert refused.exit_code == 1
    assert json.loads(refused.stderr)["message"].startswith("--start-date: 2024-03-02 is after")


def test_check_passes_on_good_days(home: Path) -> None:
    checked = in_this_process(home, "check", "--start-date", "2024-02-28", "--end-date", LAST)
    assert checked.exit_code == 0, checked.output
    assert "leakage" in checked.stdout


def test_check_fails_on_a_day_that_is_not_published_and_names_it(home: Path) -> None:
    days = ("--start-date", "2024-02-26", "--end-date", "2024-02-27")
    checked = in_this_process(home, "check", *days, "--asset", "training_input")
    assert checked.exit_code == 1
    assert "day 2024-02-26 is not published" in checked.stdout


def test_quarantine_of_good_data_is_empty(home: Path) -> None:
    assert "The quarantine is empty" in in_this_process(home, "quarantine").output


def test_impossible_settings_end_in_one_sentence(home: Path) -> None:
    refused = in_this_process(home, "run", "--start-date", "2024-03-02", "--end-date", LAST)
    assert refused.exit_code == 1
    assert "--start-date: 2024-03-02 is after --end-date 2024-03-01" in refused.output
    assert isinstance(refused.exception, SystemExit)


def test_a_raw_day_that_is_missing_fails_the_run_and_keeps_the_others(tmp_path: Path) -> None:
    sizes = ("--customers", "20", "--items", "20", "--interactions", "300", "--days", "5")
    in_this_process(tmp_path, "generate", *sizes, "--end-date", LAST)
    missing = tmp_path / "lake" / "raw" / "clicks" / "dt=2024-02-28"
    for file in missing.iterdir():
        file.unlink()
    missing.rmdir()
    built = in_this_process(tmp_path, "run", "--start-date", "2024-02-27", "--end-date", LAST)
    assert built.exit_code == 1
    assert "clicks: raw day 2024-02-28 is missing" in built.stdout + built.stderr
    assert (
        "customer_history: 2 days failed in the same way, 2024-02-29 to 2024-03-01; the first: "
        "1 day of the look-back of 2024-02-29 is not published in unified_actions: 2024-02-28; "
        "expected all of them"
    ) in built.stderr
    # Once for each table that looks back: histories and samples.
    assert built.stderr.count("of the look-back of") == 2
    assert "2024-02-29 to │ not published" in re.sub(" +", " ", built.stdout)
    listed = in_this_process(tmp_path, "failures", "--log-format", "json")
    rows = [json.loads(line) for line in listed.stdout.splitlines()]
    assert [(row["table"], row["day"]) for row in rows] == [
        ("unified_actions", "2024-02-28"),
        ("customer_history", "2024-02-29"),
        ("customer_history", "2024-03-01"),
        ("training_input", "2024-02-29"),
        ("training_input", "2024-03-01"),
        ("training_samples", "2024-02-28"),
        ("training_samples", "2024-02-29"),
        ("training_samples", "2024-03-01"),
    ]
    assert "of the look-back of 2024-03-01" in rows[2]["reason"]
    lake = Lake.at(tmp_path / "lake")
    actions = day_range(date(2024, 2, 26), date(2024, 3, 1))
    assert lake.days("unified_actions") == [day for day in actions if day != date(2024, 2, 28)]
    # What looks back to it is blocked; its own histories do not.
    assert lake.days("training_input") == [date(2024, 2, 27), date(2024, 2, 28)]


def test_days_that_are_not_over_are_left_out_and_any_folder_can_hold_the_lake(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    root, today = tmp_path / "Läden [2]" / "lake[1]", datetime.now(UTC).date()
    spec = SampleSpec(
        customers=20, items=20, interactions=300, days=3, end_date=today - timedelta(days=1)
    )
    generate(root, spec)
    raw, tomorrow = root / "raw" / "impressions", today + timedelta(days=1)
    shutil.copytree(raw / f"dt={spec.end_date}", raw / f"dt={tomorrow}")
    variables = {"TRAINING_ASSETS_LAKE": "~/Läden [2]/lake[1]", "HOME": str(tmp_path)}
    done = in_this_process(tmp_path, "run", **variables)
    assert done.exit_code == 0, done.output
    again = in_this_process(tmp_path, "run", **variables)
    assert again.exit_code == 0, again.output
    for number, said in enumerate((done.output, again.output)):
        assert f"raw/impressions: {tomorrow} is not over yet; left for later" in said
        assert ("all days are published and up to date" in said) == bool(number)
    assert Lake.at(root).days("training_input") == spec.dates
    assert not (tmp_path / "~").exists()


def test_unknown_scheme_ends_in_one_sentence_and_makes_no_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TRAINING_ASSETS_LAKE", "s4://shop/lake")
    done = CliRunner().invoke(main, ["run"])
    assert done.exit_code == 1
    assert re.fullmatch(r"Error: settings: the scheme s4:// is unknown; expected .*\n", done.output)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["clicks/dt=20240510/a.csv", "previous_orders/orders.csv"])
def test_no_sample_is_mixed_into_data_that_has_no_days(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    file = tmp_path / "raw" / name
    file.parent.mkdir(parents=True)
    file.write_text("junk")
    monkeypatch.setenv("TRAINING_ASSETS_LAKE", str(tmp_path))
    done = CliRunner().invoke(main, ["run"])
    assert done.exit_code == 1
    assert name in done.output
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == [file]


def _two_tables(root: Path, monkeypatch: pytest.MonkeyPatch) -> LocalStore:
    """Three days of two tables, of which the first has a second version; says where that lies."""
    write_old_lake(root, DAYS[:3])
    migrate(root, [spec.table for spec in SPECS.values()])
    store = LocalStore(root / "unified_actions")
    publish_days(store, DAYS[:3], number=7)
    monkeypatch.setenv("TRAINING_ASSETS_LAKE", str(root))
    return store


@pytest.mark.parametrize(
    ("options", "numbers"),
    [
        (("--start-date", str(DAYS[1])), [7, 2, 3]),
        (("--end-date", str(DAYS[1])), [1, 2, 7]),
        (("--start-date", str(DAYS[1]), "--end-date", str(DAYS[1])), [7, 2, 7]),
        ((), [1, 2, 3]),
    ],
)
def test_restore_changes_only_the_days_from_the_first_or_up_to_the_last_given(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    options: tuple[str, ...],
    numbers: list[int],
) -> None:
    store = _two_tables(tmp_path, monkeypatch)
    chosen = ("--table", "unified_actions", "--version", "0")
    done = CliRunner().invoke(main, ["restore", *chosen, *options])
    assert done.exit_code == 0, done.output
    now = open_snapshot(store, "unified_actions")
    assert [set(numbers_of(now, day)) for day in DAYS[:3]] == [{n} for n in numbers]


def test_no_table_is_restored_where_one_has_no_version_of_then(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = _two_tables(tmp_path, monkeypatch)
    history = LocalStore(tmp_path / "customer_history")
    at = list_versions(history, "customer_history")[0].at.isoformat()
    done = CliRunner().invoke(main, ["restore", "--as-of", at])
    assert done.exit_code == 1
    assert done.output.startswith("Error: training_input: version ")
    assert open_snapshot(store, "unified_actions").version == 1


def test_a_query_that_is_none_ends_in_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _two_tables(tmp_path, monkeypatch)
    done = CliRunner().invoke(main, ["sql", "selec dt\nfrom training_input"])
    assert done.exit_code == 1
    assert re.fullmatch(
        r"Error: sql: Parser Error: [^\\\n]+ \"selec\"; expected a query over unified_actions, "
        r"customer_history. Correct it.\n",
        done.output,
    )


@pytest.mark.parametrize("name", ["outdated", "rebuild", "versions"])
def test_a_lake_without_days_is_not_called_up_to_date(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    root = tmp_path / "mistyped [1]"
    monkeypatch.setenv("TRAINING_ASSETS_LAKE", str(root))
    done = CliRunner().invoke(main, [name])
    assert done.exit_code == 0, done.output
    assert str(root) in done.output
    assert "up to date" not in done.output


def test_no_versions_can_be_asked_for_by_a_limit_below_one() -> None:
    assert CliRunner().invoke(main, ["versions", "--limit", "-3"]).exit_code == 2
