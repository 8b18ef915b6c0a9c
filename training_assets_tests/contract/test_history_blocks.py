"""Blocks of actions that histories are made from: made anew with their days, and read whole."""

import json
import shutil
from collections.abc import Iterable
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyspark.sql import SparkSession

from training_assets.kernels import day_files, training_rows
from training_assets.kernels.action_files import ActionFile
from training_assets.lake import Lake
from training_assets.list_format import SealedParquet, file_hash
from training_assets.list_format import seal as sealed
from training_assets.pipeline import build_days
from training_assets.tables import (
    action_blocks,
    customer_history,
    training_input,
    unified_actions,
)
from training_assets_tests.support import reference
from training_assets_tests.support.frames import DAY, at, before, click, ranking
from training_assets_tests.support.late_lakes import put, raw_file, tables_of
from training_assets_tests.support.tables import SEQUENCE
from training_assets_tests.support.worlds import (
    CH,
    CUSTOMERS,
    TI,
    UA,
    WORLDS,
    World,
    build_tables,
    build_world,
    files_of,
    require_histories,
    require_training_rows,
    require_truth,
)

# For what Spark would do with the same code, only slower.
ONLY_SAIL = pytest.mark.parametrize("engine", ["sail"], indirect=True, scope="session")


def owners_of(lake: Lake, table: str, day: date) -> list[list[int]]:
    """The customers in each file of the day."""
    return [sorted({row[0] for row in file}) for file in files_of(lake, table, day)]


def blocks_of(lake: Lake) -> dict[date, list[Path]]:
    """Folders of blocks of actions by their first day, in name order."""
    found: dict[date, list[Path]] = {}
    for folder in sorted((Path(lake.store.url) / action_blocks.BLOCKS).glob("*/dt=*")):
        found.setdefault(date.fromisoformat(folder.name.removeprefix("dt=")), []).append(folder)
    return found


def whole_blocks(world: World) -> list[date]:
    """First days of the 32-day blocks that lie in every look-back and have actions."""
    first = date.min
    if world.lookback is not None:
        first = max(world.ranking_days) - timedelta(days=world.lookback)
    blocks = {date.fromordinal(d.toordinal() // 32 * 32) for d in world.action_days}
    end = min(world.ranking_days) - timedelta(days=32)
    return sorted(block for block in blocks if first <= block <= end)


@pytest.fixture
def read_files(monkeypatch: pytest.MonkeyPatch) -> list[ActionFile]:
    """The files that histories were made from, of the last build."""
    read: list[ActionFile] = []
    find = customer_history.action_files

    def spy(*args: Any, **knobs: Any) -> list[ActionFile]:
        read[:] = find(*args, **knobs)
        return read

    monkeypatch.setattr(customer_history, "action_files", spy)
    return read


def require_blocks_were_read(lake: Lake, world: World, read: list[ActionFile]) -> None:
    blocks = whole_blocks(world)
    assert blocks
    assert set(blocks) <= set(blocks_of(lake))
    compacted = {Path(file.path).parent.name for file in read if file.day is None}
    acted = {action.day for action in reference.unified_actions(*world.sources())}
    with_rows = {b for b in blocks for d in acted if b <= d < b + timedelta(days=32)}
    assert compacted == {f"dt={block}" for block in with_rows}
    alone = {date(1970, 1, 1) + timedelta(days=f.day) for f in read if f.day is not None}
    covered = {d for d in alone for b in blocks if b <= d < b + timedelta(days=32)}
    assert covered == set()


@pytest.fixture
def small_files(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(customer_history, "_ACTIONS_PER_TASK", 5)
    monkeypatch.setattr(unified_actions, "_ACTIONS_PER_FILE", 30)
    monkeypatch.setattr(customer_history, "_RANKINGS_PER_FILE", 7)
    monkeypatch.setattr(action_blocks, "_ACTIONS_PER_FILE", 12)
    monkeypatch.setattr(day_files, "_MIN_GROUP", 2)
    monkeypatch.setattr(day_files, "_MIN_ACTIONS", 2)
    monkeypatch.setattr(training_rows, "_ROWS_PER_GROUP", 4)


@pytest.fixture
def copied(first_world: Lake, tmp_path: Path) -> Lake:
    return Lake.at(shutil.copytree(first_world.store.url, tmp_path / "lake"))


def rebuild(spark: SparkSession, lake: Lake, world: World, *action_days: date) -> None:
    if action_days:
        build_tables(spark, lake, world.settings, [unified_actions.SPEC], action_days)
    specs = [customer_history.SPEC, training_input.SPEC]
    build_tables(spark, lake, world.settings, specs, world.ranking_days)
    require_histories(lake, world, reference.unified_actions(*world.sources()))
    require_training_rows(lake, world)


def written_at(lake: Lake) -> dict[date, list[int]]:
    """When the files of each block were written, in nanoseconds."""
    return {
        block: [
            file.stat().st_mtime_ns
            for folder in folders
            for file in sorted(folder.glob("*.parquet"))
        ]
        for block, folders in blocks_of(lake).items()
    }


@pytest.mark.usefixtures("small_files")
def test_histories_follow_every_change_of_what_their_blocks_hold(
    spark: SparkSession, copied: Lake, read_files: list[ActionFile]
) -> None:
    world = WORLDS[0]
    first, second, *_ = whole_blocks(world)
    times, old, new = written_at(copied), before(100), before(60)
    assert first <= old < second <= new
    assert old in world.action_days
    assert new not in world.action_days
    # An old day gets an action that is the newest of all, and another day comes into being.
    latest = at(DAY, "23:59")
    added = [click(customer, 888, new, latest) for customer in CUSTOMERS for _ in range(6)]
    world = replace(world, actions=[*world.actions, *added, click(1, 777, old, latest)])
    for day in (old, new):
        for table, rows in zip(("clicks", "add_to_carts"), world.sources(), strict=False):
            path = raw_file(Path(copied.store.url), table, day)
            path.parent.mkdir(exist_ok=True)
            put(path, table, [row for row in rows if row["dt"] == day])
    rebuild(spark, copied, world, old, new)
    require_blocks_were_read(copied, world, read_files)
    changed = {block for block, when in written_at(copied).items() if when != times[block]}
    assert changed == {date.fromordinal(day.toordinal() // 32 * 32) for day in (old, new)}
    histories = [row for file in files_of(copied, CH, DAY) for row in file]
    assert [row[1][:3] for row in histories if row[0] == 1] == [[777, 888, 888]]
    # The small numbers have reached the workers, and engines agree on who goes to which file.
    assert owners_of(copied, UA, new) == [[-(2**63), 0, 1, 2**63 - 1], [-7, 2, 3, 4, 5, 2**40]]
    assert len(tables_of(copied, CH, DAY)) > 1
    assert len(tables_of(copied, TI, DAY)) > 1


@ONLY_SAIL
def test_a_block_that_counts_only_in_part_for_a_day_of_the_range_is_not_cut(
    spark: SparkSession, tmp_path: Path
) -> None:
    early, old, late = before(30), date(2024, 2, 28), date(2024, 4, 20)
    world = World(
        [ranking(customer, [9], day) for customer in (1, 2) for day in (early, DAY)],
        [
            # In a block after the early day's end: what comes later must not displace it.
            *(click(1, item, date(2024, 4, 5), at(date(2024, 4, 5))) for item in (1, 2, 3)),
            *(click(1, item, late, at(late)) for item in range(10, 18)),
            # In a block before the late day's start: newer by their time, too old by their day.
            *(click(2, item, old, at(old)) for item in range(10, 18)),
            *(click(2, item, date(2024, 3, 5), at(date(2024, 2, 20))) for item in (4, 5)),
        ],
        length=5,
        lookback=70,
        ranking_days=(early, DAY),
    )
    assert world.settings.window_start(early) < old < world.settings.window_start(DAY)
    assert [day.toordinal() // 32 for day in (early, old)] == [
        day.toordinal() // 32 for day in (late, date(2024, 3, 5))
    ]
    lake = world.write(tmp_path)
    build_world(spark, lake, world)
    require_truth(lake, world)
    rows = {(day, row[0]): row[1] for day in (early, DAY) for row in files_of(lake, CH, day)[0]}
    assert (rows[early, 1], rows[DAY, 2]) == ([1, 2, 3], [4, 5])


@ONLY_SAIL
def test_longer_histories_do_not_read_blocks_that_were_cut_shorter(
    spark: SparkSession, copied: Lake, read_files: list[ActionFile]
) -> None:
    for length, lookback in ((2, 120), (30, 110), (30, None)):
        world = replace(WORLDS[0], length=length, lookback=lookback)
        rebuild(spark, copied, world)
        require_blocks_were_read(copied, world, read_files)


@ONLY_SAIL
def test_blocks_that_are_gone_or_damaged_are_made_anew(
    spark: SparkSession, copied: Lake, read_files: list[ActionFile]
) -> None:
    world, expected = WORLDS[0], written_hashes(copied)
    shutil.rmtree(Path(copied.store.url) / action_blocks.BLOCKS)
    rebuild(spark, copied, world)
    assert written_hashes(copied) == expected
    one, two, three = whole_blocks(world)[:3]
    folders = {block: folder for block, (folder,) in blocks_of(copied).items()}
    (folders[one].parent / "block.json").write_text("{")
    next(folders[two].glob("*.parquet")).unlink()
    next(folders[three].glob("*.parquet")).write_bytes(b"PAR1")
    rebuild(spark, copied, world)
    require_blocks_were_read(copied, world, read_files)
    assert all(set(written_hashes(copied)[block]) >= set(expected[block]) for block in expected)


def written_hashes(lake: Lake) -> dict[date, list[str]]:
    return {
        block: sorted(
            file.name.split("-")[2] for folder in folders for file in folder.glob("*.parquet")
        )
        for block, folders in blocks_of(lake).items()
    }


@ONLY_SAIL
def test_actions_of_a_history_are_those_in_its_blocks(spark: SparkSession, copied: Lake) -> None:
    """Blocks with other items in them, so that nothing but a block can have brought those."""
    for (folder,) in blocks_of(copied).values():
        seal = json.loads((folder.parent / "block.json").read_text())
        for file in list(folder.glob("*.parquet")):
            table = SealedParquet(file).read()
            items = pa.array([4242] * len(table), pa.int32())
            place = table.schema.get_field_index("item_id")
            sink = pa.BufferOutputStream()
            pq.write_table(table.set_column(place, "item_id", items), sink)
            content = sealed(sink.getvalue())
            file.unlink()
            part, _, run = file.name.removeprefix("part-").split("-")
            name = f"part-{part}-{file_hash(content)}-{run}"
            (folder / name).write_bytes(content)
            del seal["files"][f"{folder.name}/{file.name}"]
            seal["files"][f"{folder.name}/{name}"] = len(content)
        (folder.parent / "block.json").write_text(json.dumps(seal))
    settings = WORLDS[0].settings
    (report,) = build_days(spark, copied, settings, [customer_history.SPEC], [DAY])
    assert "leakage" in (report.problem or "")


# --- many tasks, files and row groups -------------------------------------------------------------


def num_groups(uris: Iterable[str]) -> list[int]:
    return [SealedParquet(uri).num_row_groups for uri in uris]


@ONLY_SAIL
@pytest.mark.usefixtures("small_files")
def test_many_tasks_files_and_row_groups_give_the_same_rows(
    spark: SparkSession, tmp_path: Path, read_files: list[ActionFile]
) -> None:
    world = WORLDS[0]
    lake = world.write(tmp_path)
    build_world(spark, lake, world)
    require_truth(lake, world)
    require_blocks_were_read(lake, world, read_files)
    assert len(action_blocks.range_boundaries(read_files, 5)) > 3
    for table in (UA, CH, TI):
        files = [num_groups(lake.snapshot(table).uris(d)) for d in lake.days(table)]
        assert max(map(len, files)) > 1, table
        assert max(max(groups) for groups in files) > 1, table
    for day in world.ranking_days:
        # Training rows lie as the histories do.
        assert owners_of(lake, TI, day) == owners_of(lake, CH, day)
    assert max(len(list(f.glob("*.parquet"))) for (f,) in blocks_of(lake).values()) > 1


@ONLY_SAIL
@pytest.mark.usefixtures("small_files")
def test_a_day_of_many_files_has_the_same_bytes_in_any_range_of_days(
    spark: SparkSession, tmp_path: Path
) -> None:
    world = WORLDS[0]
    lake = world.write(tmp_path)
    build_world(spark, lake, world)
    assert max(len(tables_of(lake, CH, day)) for day in world.ranking_days) > 1
    for day in (world.ranking_days[0], world.ranking_days[-1]):
        for report in build_days(spark, lake, world.settings, list(SEQUENCE.values()), [day]):
            assert (report.problem, report.has_changed) == (None, False), report
