"""A lake in a bucket: the main job, a backfill, late data, checks, cleaning up, and training."""

import json
import subprocess
import sys
from contextlib import ExitStack
from datetime import date
from pathlib import Path

import pytest
from pyspark.sql import SparkSession

from training_assets.engine import spark_session
from training_assets.lake import Lake, day_range, list_versions
from training_assets.loader import TrainingDays
from training_assets.pipeline import build_days, check_days, rebuild_outdated, vacuum_lake
from training_assets.settings import Settings
from training_assets.tables import unified_actions
from training_assets_tests.conftest import HAS_JAVA, NO_JAVA
from training_assets_tests.support.commands import invoke
from training_assets_tests.support.frames import DAY, at, before, click
from training_assets_tests.support.lakes import (
    IMPRESSION_DAYS,
    SHORT,
    write_tiny_lake,
)
from training_assets_tests.support.late_lakes import put
from training_assets_tests.support.s3 import S3Place
from training_assets_tests.support.tables import SEQUENCE

sys.path.append(str(Path(__file__).parents[2] / "examples"))
from local_cluster import _Processes, local_cluster

ONLY_SAIL = pytest.mark.parametrize("engine", ["sail"], indirect=True, scope="session")
EVERYTHING = list(SEQUENCE.values())
# A look-back of few days: each of them is built, in the folder and in the bucket.
SETTINGS = Settings(history_length=6, lookback_days=8)
ACTION_DAYS = day_range(before(12), DAY)
# Java must start quickly here, and has nothing to do that would be worth compiling well.
QUICK_JAVA = (
    "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC "
    "-XX:+UnlockDiagnosticVMOptions -XX:-BytecodeVerificationRemote"
)
SMALL = (
    f"spark.executor.extraJavaOptions={QUICK_JAVA}",
    f"spark.driver.extraJavaOptions={QUICK_JAVA}",
    "spark.sql.shuffle.partitions=2",
    "spark.sql.adaptive.enabled=false",
    "spark.sql.codegen.wholeStage=false",
    "spark.ui.enabled=false",
)


def build(spark: SparkSession, lake: Lake) -> None:
    for specs, days in (([unified_actions.SPEC], ACTION_DAYS), (EVERYTHING[1:], IMPRESSION_DAYS)):
        reports = list(build_days(spark, lake, SETTINGS, specs, days))
        assert [report.problem for report in reports if report.problem] == []
    lake.refresh()


def contents(lake: Lake) -> dict[tuple[str, date], str]:
    """Hashes of the bytes of all days of all tables."""
    snapshots = [lake.snapshot(name) for name in SEQUENCE]
    return {(found.table, day): found.content(day) for found in snapshots for day in found.days}


def upload_raw(folder: Path, lake: Lake) -> None:
    raw = folder / "raw"
    for file in (path for path in raw.rglob("*") if path.is_file()):
        lake.raw.put(str(file.relative_to(raw)), file.read_bytes())
    # A bucket has no empty folders.
    for day in (path for path in raw.glob("*/dt=*") if not any(path.iterdir())):
        lake.raw.put(f"{day.relative_to(raw)}/_SUCCESS", b"")


@pytest.fixture(scope="module")
def local(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_lake(tmp_path_factory.mktemp("local"))


@pytest.fixture
def bucket(s3_server: S3Place, local: Path) -> Lake:
    lake = Lake.at(s3_server.new_url())
    upload_raw(local, lake)
    return lake


@ONLY_SAIL
def test_a_bucket_holds_what_a_folder_holds_byte_for_byte(
    spark: SparkSession, local: Path, bucket: Lake, tmp_path: Path
) -> None:
    of_folder = Lake.at(local)
    build(spark, of_folder)
    build(spark, bucket)
    assert contents(bucket) == contents(of_folder)
    build(spark, bucket)
    assert {len(list_versions(bucket.table_store(name), name)) for name in SEQUENCE} == {2}
    late_click_is_rebuilt_and_the_old_days_go_with_a_vacuum(spark, bucket, tmp_path)


def problems(spark: SparkSession, lake: Lake) -> list[str]:
    lake.refresh()
    results = list(check_days(spark, lake, SETTINGS, EVERYTHING, IMPRESSION_DAYS))
    assert len(results) > 50
    return [r.message for r in results if not r.passed and r.severity == "error"]


def late_click_is_rebuilt_and_the_old_days_go_with_a_vacuum(
    spark: SparkSession, lake: Lake, scratch: Path
) -> None:
    before_it = TrainingDays(lake.store.url, batch_size=64, shuffle="none")
    state = before_it.state_dict()
    expected = [batch.actions.tolist() for batch in before_it]
    file = scratch / f"dt={before(5)}" / "late.parquet"
    file.parent.mkdir()
    put(file, "clicks", [click(SHORT, 5, before(5), at(before(5)))])
    lake.raw.put(f"clicks/dt={before(5)}/late.parquet", file.read_bytes())
    done = rebuild_outdated(
        lake,
        SETTINGS,
        lambda days, specs: all(
            not report.problem for report in build_days(spark, lake, SETTINGS, specs, days)
        ),
    )
    told = {found.table: (bool(found.changed), found.failed) for found in done}
    assert {name: told[name] for name in SEQUENCE} == dict.fromkeys(SEQUENCE, (True, {}))
    now = TrainingDays(lake.store.url, batch_size=64, shuffle="none")
    assert [batch.actions.tolist() for batch in now] != expected
    # As it was, by the state of then, until a vacuum.
    now.load_state_dict(state)
    assert [batch.actions.tolist() for batch in now] == expected
    keep_nothing = Settings(keep_versions_days=0)
    removed = vacuum_lake(lake, keep_nothing)
    assert all(removed[name].files for name in SEQUENCE)
    assert problems(spark, lake) == []
    assert not any(found.files for found in vacuum_lake(lake, keep_nothing).values())


def test_the_commands_work_on_a_bucket(
    s3_server: S3Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Sample data, the main job as a Dagster run, a backfill of other days, checks, SQL."""
    monkeypatch.setenv("TRAINING_ASSETS_LAKE", s3_server.new_url())
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path / "dagster"))
    monkeypatch.chdir(tmp_path)

    def elsewhere(*words: str) -> str:
        """In a process of its own, whose engine has all that it knows from the environment."""
        done = subprocess.run(
            [sys.executable, "-m", "training_assets.cli", *words],
            capture_output=True,
            text=True,
            timeout=600,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        assert s3_server.secret not in done.stdout + done.stderr
        return done.stdout

    def here(*words: str) -> str:
        done = invoke(*words)
        assert done.exit_code == 0, done.output
        assert s3_server.secret not in done.output
        return done.output

    size = ["--customers", "40", "--items", "30", "--interactions", "300", "--days", "4"]
    here("generate", *size, "--end-date", "2026-11-19")
    elsewhere("run", "--start-date", "2026-11-18")
    assert "all days are published" in here("run", "--start-date", "2026-11-18")
    here("run", "--start-date", "2026-11-16", "--end-date", "2026-11-17")
    here("check", "--start-date", "2026-11-16", "--end-date", "2026-11-19")
    assert "4" in here("sql", "select count(distinct dt) n from training_input")
    # Click-through rates of later days know of more items shown now.
    here("rebuild")
    assert "Every published day is up to date" in here("outdated")
    # Nothing of the lake lies here.
    assert {path.name for path in tmp_path.iterdir()} == {"dagster"}


def test_a_master_that_answers_with_a_page_is_not_there_yet(tmp_path: Path) -> None:
    """For a moment Spark's own has the page for people at every address."""
    answers = iter(["<!DOCTYPE html>", '{"status": "ALIVE"}'])
    with ExitStack() as stack:
        _Processes(stack, tmp_path, {}).wait_until(
            "the master answers", lambda: json.loads(next(answers))["status"] == "ALIVE"
        )
    assert list(answers) == []


@pytest.mark.spark
@pytest.mark.skipif(not HAS_JAVA, reason=NO_JAVA)
def test_a_cluster_needs_the_bucket_and_nothing_shared(
    local: Path, bucket: Lake, tmp_path: Path
) -> None:
    settings = Settings(history_length=6, lookback_days=2)
    stages = ([unified_actions.SPEC], day_range(before(2), DAY)), (EVERYTHING[1:], [DAY])
    # Executors have pyarrow and NumPy, but not the platform, and work in a folder of their own.
    bare = tmp_path / "bare"
    bare.mkdir()
    (bare / "sitecustomize.py").write_text("import sys; sys.modules['training_assets'] = None")
    conf = dict(line.split("=", 1) for line in (*SMALL, f"spark.executorEnv.PYTHONPATH={bare}"))
    with (
        local_cluster(workers=1, memory_mb=512, conf=conf) as cluster,
        spark_session("remote", remote=cluster.remote) as spark,
    ):
        for specs, some in stages:
            reports = list(build_days(spark, bucket, settings, specs, some))
            assert [report.problem for report in reports if report.problem] == []
    of_folder = Lake.at(local)
    with spark_session("sail") as spark:
        for specs, some in stages:
            list(build_days(spark, of_folder, settings, specs, some))
    for lake in (bucket, of_folder):
        lake.refresh()
    found, expected = contents(bucket), contents(of_folder)
    assert [found[name, DAY] for name in SEQUENCE] == [expected[name, DAY] for name in SEQUENCE]
