"""Whole runs that are killed, or whose store gives way: every day is old or new, and whole.

What each step of a commit leaves is tested in ``test_lake_kills.py``.
"""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from pyspark.sql import SparkSession

from training_assets.lake import Lake
from training_assets.pipeline import DayReport
from training_assets_tests.reliability.campaign.two_versions import (
    DAYS,
    KEYS,
    World,
    build,
    child,
    num_left,
    num_left_after_vacuum,
    published,
    put_raw,
)
from training_assets_tests.support.tables import SEQUENCE

pytestmark = pytest.mark.parametrize("engine", ["sail"], indirect=True)
# For machines that have much else to do.
_SECONDS = 300
TABLES = tuple(SEQUENCE)
# Before, in and after the commit of one table, of which every step is in ``test_lake_kills.py``.
PLACES = [
    ("local", "unified_actions", "write"),
    ("local", "customer_history", "checks"),
    ("local", "training_input", "look again"),
    ("local", "customer_history", "manifests"),
    ("local", "training_input", "read back"),
    ("s3", "customer_history", "commit"),
]


@pytest.fixture(scope="module")
def world(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> World:
    return World.make(tmp_path_factory.mktemp("world"), spark)


def problems_of(reports: list[DayReport]) -> list[str]:
    return [report.problem for report in reports if report.problem]


@pytest.mark.parametrize(("store", "table", "step"), PLACES)
def test_a_run_that_is_killed_leaves_whole_tables_and_the_next_one_all(
    spark: SparkSession,
    world: World,
    root: Path,
    request: pytest.FixtureRequest,
    store: str,
    table: str,
    step: str,
) -> None:
    lake = str(root / "lake")
    if store == "s3":
        lake = request.getfixturevalue("s3_server").new_url()
    world.copy(lake)
    with child(lake, "sail", fatal=(table, step)) as (process, told):
        told.recv()
        told.send("go")
        process.join(_SECONDS)
        assert process.exitcode == -9
    place = TABLES.index(table) + (step == "read back")
    expected = {name: "b" if n < place else "a" for n, name in enumerate(TABLES)}
    assert world.versions_of(lake) == {(name, day): expected[name] for name, day in KEYS}
    assert problems_of(build(spark, lake)) == []
    assert world.is_undisturbed(lake)
    assert num_left(lake) > 0
    assert num_left_after_vacuum(lake) == 0
    assert world.is_undisturbed(lake)


def test_the_same_bytes_are_not_published_again(
    spark: SparkSession, world: World, root: Path
) -> None:
    lake = str(root / "lake")
    world.copy(lake)
    assert all(report.has_changed for report in build(spark, lake))
    before = {name: Lake.at(lake).snapshot(name) for name in TABLES}
    assert not any(report.has_changed for report in build(spark, lake))
    assert {name: Lake.at(lake).snapshot(name) for name in TABLES} == before


def test_another_quarantine_is_published_though_no_row_of_the_table_changed(
    spark: SparkSession, world: World, root: Path
) -> None:
    lake = str(root / "lake")
    world.copy(lake)
    build(spark, lake)
    clicks = root / "lake" / "raw" / "clicks" / f"dt={DAYS[0]}" / "clicks.csv"
    clicks.write_text(f"{clicks.read_text()}3,0\n")
    changed = {(r.table, r.day) for r in build(spark, lake) if r.has_changed}
    assert changed == {("unified_actions", DAYS[0])}
    rows = published(lake)
    for key in KEYS:
        assert (len(rows[key]) - len(world.expected["b"][key])) == (key in changed)


@contextmanager
def mounted(path: Path, options: str) -> Iterator[None]:
    path.mkdir(exist_ok=True)
    command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(path)]
    if os.geteuid() or subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("only root can mount a file system to fill it")
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(path)], check=True)


def test_a_full_disk_leaves_every_day_old_or_new(
    spark: SparkSession, world: World, root: Path
) -> None:
    disk = root / "disk"
    with mounted(disk, "size=16m"):
        lake, filler = str(disk / "lake"), disk / "filler"
        for pages in (0, 12, 30):
            world.copy(lake)
            free = os.statvfs(disk).f_bavail * os.statvfs(disk).f_frsize
            filler.write_bytes(bytes(free - pages * 4096))
            found = problems_of(build(spark, lake))
            assert found
            says = ("No space left on device", "was not built, because its")
            assert all(any(words in problem for words in says) for problem in found), found
            assert world.judge(lake) == (0, 0)
            filler.unlink()
        assert problems_of(build(spark, lake)) == []
        assert world.is_undisturbed(lake)
        assert num_left_after_vacuum(lake) == 0


def test_a_lake_that_cannot_be_written_is_named(
    spark: SparkSession, world: World, root: Path
) -> None:
    disk = root / "disk"
    with mounted(disk, "size=16m"):
        lake = str(disk / "lake")
        world.copy(lake)
        subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
        found = problems_of(build(spark, lake))
        assert len(found) == len(KEYS)
        assert all("Read-only file system" in p or "was not built" in p for p in found)
        assert world.num_new(lake) == 0
        assert world.judge(lake) == (0, 0)


def test_raw_data_that_changes_under_a_run_stops_its_days_only(
    spark: SparkSession, world: World, root: Path
) -> None:
    lake = str(root / "lake")
    world.copy(lake)
    steps: list[str] = []

    def meddle(step: str) -> None:
        steps.append(step)
        if steps == ["write", "checks"]:
            os.utime(root / "lake" / "raw" / "clicks" / f"dt={DAYS[2]}" / "clicks.csv")

    reports: dict[Any, Any] = {
        (report.table, report.day): report.problem for report in build(spark, lake, step=meddle)
    }
    assert f"raw files of {DAYS[2]} changed while" in str(reports["unified_actions", DAYS[2]])
    assert world.versions_of(lake)["unified_actions", DAYS[2]] == "a"
    others = [day for day in DAYS if day != DAYS[2]]
    assert [world.versions_of(lake)["unified_actions", day] for day in others] == ["b"] * 3
    put_raw(root / "lake", "b")
    assert problems_of(build(spark, lake)) == []
    assert world.is_undisturbed(lake)
