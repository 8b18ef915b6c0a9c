"""Random small lakes: what is built from raw files to training rows is what plain loops give."""

import json
import random
import shutil
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyspark.sql import SparkSession

from training_assets.kernels import day_files, training_rows
from training_assets.kernels.action_files import ActionFile
from training_assets.kernels.training_rows import write_training_rows
from training_assets.lake import Lake
from training_assets.list_format import SealedParquet, file_hash
from training_assets.list_format import seal as sealed
from training_assets.pipeline import build_days
from training_assets.schemas import IMPRESSIONS, UNIFIED_ACTIONS
from training_assets.settings import Settings
from training_assets.tables import (
    TableSpec,
    action_blocks,
    customer_history,
    training_input,
    unified_actions,
)
from training_assets_tests.support import reference
from training_assets_tests.support.frames import DAY, at, before, cart, click, order, ranking
from training_assets_tests.support.frames import training_rows as training_rows_of
from training_assets_tests.support.lakes import Row, write_raw_lake
from training_assets_tests.support.late_lakes import put, raw_file, tables_of
from training_assets_tests.support.tables import SEQUENCE

UA, CH, TI = SEQUENCE
RUN = 12 * "0"
# For what Spark would do with the same code, only slower.
ONLY_SAIL = pytest.mark.parametrize("engine", ["sail"], indirect=True, scope="session")
CUSTOMERS = (-(2**63), -7, 0, 1, 2, 3, 4, 5, 2**40, 2**63 - 1)
NEVER_ACTS, NEVER_SHOWN = 6, 7
RANKING_DAYS = (before(3), before(2), DAY)
QUIET_DAY = before(77)


@dataclass(frozen=True)
class World:
    """Raw rows, and the settings to build them with."""

    rankings: list[Row]
    actions: list[Row]
    length: int
    lookback: int | None
    ranking_days: Sequence[date] = RANKING_DAYS

    @property
    def action_days(self) -> list[date]:
        """Days of the lake, of which one has no actions for certain."""
        return sorted({_day(row) for row in self.actions} | {*self.ranking_days, QUIET_DAY})

    @property
    def settings(self) -> Settings:
        return Settings(
            history_length=self.length,
            lookback_days=self.lookback,
            missing_raw="empty",
            min_valid_share=0,
        )

    def sources(self) -> tuple[list[Row], list[Row], list[Row]]:
        clicks = [row for row in self.actions if "click_time" in row]
        orders = [row for row in self.actions if "order_date" in row]
        carts = [row for row in self.actions if "dt" in row and "config_id" in row]
        return clicks, carts, orders

    def write(self, root: Path) -> Lake:
        write_raw_lake(
            root,
            self.rankings,
            self.actions,
            impression_days=self.ranking_days,
            action_days=self.action_days,
        )
        return Lake.at(root)


def _day(row: Row) -> date:
    day: date = row["order_date"] if "order_date" in row else row["dt"]
    return day


def random_world(seed: int, *, length: int, lookback: int | None, ages: Sequence[int]) -> World:
    """Actions on the days that are ``ages`` days before ``DAY``; a day may have none at all."""
    rng = random.Random(seed)
    actions: list[Row] = []
    for age in ages:
        day = before(age)
        for _ in range(rng.choice([0, 3, 8, 20])):
            make = rng.choice([click, cart, order])
            customer = rng.choice([*CUSTOMERS, NEVER_SHOWN, None])
            item = rng.choice([1, 2, 3, 2**31 - 1, 100 + age, rng.choice([None, 0, -1])])
            # Some come days late, and some without a time.
            at_day = day - timedelta(days=rng.choice([0, 0, 0, 1, 9, 40]))
            when = rng.choice([None, *(at(at_day, f"{hour:02d}:00") for hour in (0, 8, 23))])
            # A source of which no row is valid would keep the day from being published.
            actions.append(make(1, 1, day, None))
            actions += [make(customer, item, day, when)] * rng.choice([1, 1, 1, 2])
    # On two days one customer does far more than a history can hold.
    for day in (before(ages[4]), before(ages[-2])):
        actions += [click(5, n % 7 + 1, day, at(day, f"{n % 24:02d}:00")) for n in range(60)]
    return World(_random_rankings(rng), actions, length, lookback)


def _random_rankings(rng: random.Random) -> list[Row]:
    """All kinds of rankings on the first and last of the days, and none on the one between."""
    rankings = []
    for day in (RANKING_DAYS[0], RANKING_DAYS[-1]):
        for customer in (*CUSTOMERS, NEVER_ACTS, None):
            for _ in range(rng.choice([0, 1, 1, 2])):
                items: Any = [
                    rng.choice([(rng.randint(1, 9), rng.random() < 0.3), (4, False)])
                    for _ in range(rng.randint(1, 4))
                ]
                faults = [None, (None, True), (0, False), (5, None)]
                items = rng.choice([items, items, items, [*items, rng.choice(faults)]])
                row = ranking(customer, items, day, rng.choice(["a", "b", "é", "", None]))
                rankings += [row] * rng.choice([1, 1, 1, 2])
        # The same name with other items, an item twice, no item that is valid, none at all.
        rankings += [
            ranking(1, [9, 3], day, "a"),
            ranking(1, [(3, True), 9, 9], day, "a"),
            ranking(2, [None, (None, True)], day, "only faults"),
            ranking(3, [], day, "empty"),
            ranking(4, None, day, "null"),
        ]
    return rng.sample(rankings, len(rankings))


def build(spark: SparkSession, lake: Lake, world: World) -> None:
    """Actions of all days in one range, then all tables of the days with rankings in another."""
    earlier = [day for day in world.action_days if day not in world.ranking_days]
    for specs, days in ((SEQUENCE.values(), world.ranking_days), ([unified_actions.SPEC], earlier))[
        ::-1
    ]:
        build_tables(spark, lake, world.settings, list(specs), days)


def build_tables(
    spark: SparkSession,
    lake: Lake,
    settings: Settings,
    specs: list[TableSpec],
    days: Sequence[date],
) -> None:
    reports = list(build_days(spark, lake, settings, specs, list(days)))
    lake.refresh()
    assert [report.problem for report in reports if report.problem] == []
    assert {(report.table, report.day) for report in reports} == {
        (spec.name, day) for spec in specs for day in days
    }


def files_of(lake: Lake, table: str, day: date) -> list[list[tuple[Any, ...]]]:
    """Rows of each file of the day, as they stand in it."""
    tables = tables_of(lake, table, day)
    assert all(t.schema.equals(SEQUENCE[table].table.arrow_schema) for t in tables)
    return [[tuple(row.values()) for row in t.to_pylist()] for t in tables]


def require_truth(lake: Lake, world: World) -> None:
    """Every row of every day and file, in its order, is that of the reference."""
    actions = reference.unified_actions(*world.sources())
    for day in world.action_days:
        require_actions(files_of(lake, UA, day), [a for a in actions if a.day == day])
    require_histories(lake, world, actions)
    require_training_rows(lake, world)


def require_actions(files: list[list[tuple]], actions: list[reference.Action]) -> None:
    def contract(action: tuple) -> tuple:
        customer, item, kind, when = action
        return (customer, -when.timestamp(), item, kind)

    rows = [action[1:] for action in actions]
    # What only an event stream tells of an action comes after that.
    files = [[row[: len(reference.Action._fields) - 1] for row in file] for file in files]
    found = [row for file in files for row in file]
    assert sorted(found, key=contract) == sorted(rows, key=contract)
    for file in files:
        assert file == sorted(file, key=contract)
    owners = [{row[0] for row in file} for file in files]
    assert sum(map(len, owners)) == len(set().union(*owners))


def require_histories(lake: Lake, world: World, actions: list[reference.Action]) -> None:
    for day in world.ranking_days:
        shown = {key[0] for keys in in_contract_order(world.rankings, day) for key in keys}
        expected = []
        for customer in sorted(shown):
            newest = reference.history(actions, customer, day, world.length, world.lookback)
            items, types = [a.item_id for a in newest], [a.action_type for a in newest]
            expected.append((customer, items, types, [(day - a.day).days for a in newest]))
        # The customers of a day ascend from file to file.
        assert [row for file in files_of(lake, CH, day) for row in file] == expected


def require_training_rows(lake: Lake, world: World) -> None:
    truth = reference.training_input(
        world.rankings, *world.sources(), history_length=world.length, lookback_days=world.lookback
    )
    padded = {(row[0], row[1]): row[5:] for row in truth}
    found_rows = []
    for day in world.ranking_days:
        keys = [key for ranked in in_contract_order(world.rankings, day) for key in ranked]
        expected = [(*key, *padded[str(day), key[0]]) for key in keys]
        found = [row for file in files_of(lake, TI, day) for row in file]
        assert found == expected
        found_rows += [(str(day), *row) for row in found]
    assert sorted(found_rows, key=repr) == truth


def in_contract_order(rankings: list[Row], day: date) -> list[list[tuple]]:
    """(customer, ranking, item, label) by ranking: those without a name first, ties by items."""
    shown = []
    for row in rankings:
        if row["dt"] != day or row["customer_id"] is None:
            continue
        items = [
            (item["item_id"], item["is_order"])
            for item in row["impressions"] or []
            if item and item["item_id"] and item["is_order"] is not None
        ]
        name = row["ranking_id"]
        shown.append((row["customer_id"], name is not None, name or "", items))
    return [
        [(customer, name if has_name else None, item, int(label)) for item, label in items]
        for customer, has_name, name, items in sorted(shown)
    ]


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


SPARSE = [0, 1, 2, 3, 4, 9, 30, 31, 40, 47, 55, 70, 71, 90, 100, 101, 110, 118, 119, 120, 121, 150]
WORLDS = [
    random_world(1, length=5, lookback=120, ages=SPARSE),
    random_world(2, length=1, lookback=1, ages=range(6)),
    random_world(3, length=50, lookback=7, ages=range(13)),
    random_world(4, length=3, lookback=None, ages=[*SPARSE[::2], 2000]),
    random_world(5, length=1000, lookback=365, ages=[2, 3, 200, 362, 363, 364, 365, 366, 367, 368]),
]


@pytest.fixture
def small_files(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(customer_history, "_ACTIONS_PER_TASK", 5)
    monkeypatch.setattr(unified_actions, "_ACTIONS_PER_FILE", 30)
    monkeypatch.setattr(customer_history, "_RANKINGS_PER_FILE", 7)
    monkeypatch.setattr(action_blocks, "_ACTIONS_PER_FILE", 12)
    monkeypatch.setattr(day_files, "_MIN_GROUP", 2)
    monkeypatch.setattr(training_rows, "_ROWS_PER_GROUP", 4)


@pytest.fixture(scope="module")
def built(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> Lake:
    """The first world, built."""
    lake = WORLDS[0].write(tmp_path_factory.mktemp("built"))
    build(spark, lake, WORLDS[0])
    return lake


@pytest.fixture
def copied(built: Lake, tmp_path: Path) -> Lake:
    return Lake.at(shutil.copytree(built.store.url, tmp_path / "lake"))


def test_all_tables_are_those_of_the_reference(built: Lake) -> None:
    require_truth(built, WORLDS[0])


@ONLY_SAIL
@pytest.mark.parametrize("number", range(1, len(WORLDS)))
def test_other_lengths_and_look_backs_give_the_tables_of_the_reference(
    spark: SparkSession, tmp_path: Path, number: int
) -> None:
    lake = WORLDS[number].write(tmp_path)
    build(spark, lake, WORLDS[number])
    require_truth(lake, WORLDS[number])


def test_training_rows_are_those_of_the_pure_function(spark: SparkSession, built: Lake) -> None:
    world = WORLDS[0]
    result = training_rows_of(
        spark,
        world.rankings,
        *world.actions,
        history_length=world.length,
        lookback_days=world.lookback,
    )
    found = [
        (str(day), *row)
        for day in world.ranking_days
        for file in files_of(built, TI, day)
        for row in file
    ]
    assert sorted(found, key=repr) == result


# --- the same bytes, whichever engine -------------------------------------------------------------


def test_files_are_those_that_the_kernels_write_of_the_rows_in_any_order(
    built: Lake, tmp_path: Path
) -> None:
    """No engine has a part in the bytes, so that they are the same on both."""
    rng = random.Random(1)
    for day in RANKING_DAYS:
        for table, columns in ((UA, UNIFIED_ACTIONS),):
            write = day_files.write_actions
            (file,) = built.snapshot(table).uris(day)
            rows = SealedParquet(file).read()
            if rows.num_rows:
                mixed = with_part(shuffled(rows, rng), day)
                assert mixed.column_names[2:] == columns.column_names[1:]
                list(write(mixed.to_batches(3), str(tmp_path / table), RUN))
                assert written(tmp_path / table, day) == Path(file).read_bytes()
        histories = built.snapshot(CH).uris(day)
        (file,) = built.snapshot(TI).uris(day)
        if rankings := valid_rankings(WORLDS[0].rankings, day):
            mixed = with_part(shuffled(pa.Table.from_pylist(rankings, RANKING_SCHEMA), rng), day)
            found = {number_of(day): histories}
            list(write_training_rows(mixed.to_batches(3), str(tmp_path / TI), RUN, found, 5))
            assert written(tmp_path / TI, day) == Path(file).read_bytes()


RANKING_SCHEMA = pa.schema(
    [IMPRESSIONS.arrow_schema.field(n) for n in ("customer_id", "ranking_id", "impressions")]
)


def valid_rankings(rankings: list[Row], day: date) -> list[Row]:
    found = []
    for row in rankings:
        if row["dt"] == day and row["customer_id"] is not None:
            items = [
                item
                for item in row["impressions"] or []
                if item and item["item_id"] and item["is_order"] is not None
            ]
            found += [{**row, "impressions": items}] if items else []
    return found


def number_of(day: date) -> int:
    return (day - date(1970, 1, 1)).days


def shuffled(table: pa.Table, rng: random.Random) -> pa.Table:
    return table.take(rng.sample(range(len(table)), len(table)))


def with_part(table: pa.Table, day: date) -> pa.Table:
    part = pa.array([0] * len(table), pa.int32())
    days = pa.array([day] * len(table), pa.date32())
    return table.add_column(0, "part", part).add_column(0, "dt", days)


def written(root: Path, day: date) -> bytes:
    (file,) = (root / f"dt={day}").iterdir()
    return file.read_bytes()


# --- compacted blocks -----------------------------------------------------------------------------


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
    build(spark, lake, world)
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
    build(spark, lake, world)
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
    build(spark, lake, world)
    assert max(len(tables_of(lake, CH, day)) for day in world.ranking_days) > 1
    for day in (world.ranking_days[0], world.ranking_days[-1]):
        for report in build_days(spark, lake, world.settings, list(SEQUENCE.values()), [day]):
            assert (report.problem, report.has_changed) == (None, False), report
