"""A lake of version 0.1 is recognised, taken over in place, and loses nothing on the way."""

import json
from datetime import timedelta
from pathlib import Path

import pytest

from training_assets.errors import LakeFormatError
from training_assets.lake import (
    PUBLISHED,
    Lake,
    LocalStore,
    list_versions,
    migrate,
    open_snapshot,
    vacuum,
)
from training_assets.schemas import TRAINING_INPUT, UNIFIED_ACTIONS
from training_assets.tables import SPECS
from training_assets_tests.support.old_lakes import TABLE_NAMES, write_old_day, write_old_lake
from training_assets_tests.support.published_days import (
    DAYS,
    numbers_of,
    publish_days,
    rows_by_delta,
)

A, B = DAYS[:2]
# Older lakes have no others.
ALL = [SPECS[name].table for name in (*TABLE_NAMES, TRAINING_INPUT.name)]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "an old lake [1]"
    write_old_lake(root, [A, B])
    return root


def _names(root: Path) -> set[str]:
    return {path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file()}


def _inodes(root: Path) -> dict[Path, tuple[int, int]]:
    return {path: (path.stat().st_ino, path.stat().st_mtime_ns) for path in root.rglob("part*t")}


@pytest.mark.parametrize("name", TABLE_NAMES)
def test_an_old_lake_is_recognised_and_not_taken_for_an_empty_one(root: Path, name: str) -> None:
    with pytest.raises(LakeFormatError, match=r"written by training_assets 0\.1; .* migrate"):
        Lake.at(root).days(name)
    with pytest.raises(LakeFormatError, match=r"written by training_assets 0\.1"):
        Lake.at(root).snapshot(name, 3)


def test_days_are_committed_as_they_lie(root: Path) -> None:
    before = _inodes(root)
    assert migrate(root, ALL) == {
        "unified_actions": 2,
        "customer_history": 2,
        "training_input": 0,
    }
    assert _inodes(root) == before
    lake = Lake.at(root)
    for name in TABLE_NAMES:
        assert lake.days(name) == [A, B]
        assert [set(numbers_of(lake.snapshot(name), day)) for day in (A, B)] == [{1}, {2}]
        assert rows_by_delta(lake.table_store(name)) == {A: 4, B: 4}
    assert lake.days("training_input") == []


def test_manifest_content_and_quarantine_are_those_of_before(root: Path) -> None:
    migrate(root, ALL)
    now = Lake.at(root).snapshot("unified_actions")
    assert now.manifest(A) == {"rows": 4, "content": "content-1", "inputs": "inputs-1"}
    assert [now.content(day) for day in (A, B)] == ["content-1", "content-2"]
    assert now.store.read(f"{now.quarantine_path(B)}/source=clicks/part-00000.pq") == b"rows of 2"


def test_nothing_of_the_old_way_is_left(root: Path) -> None:
    migrate(root, ALL)
    files = _names(root / "unified_actions") | _names(root / "customer_history")
    assert not [name for name in files if name.startswith("dt=") and name[-8:] != ".parquet"]
    assert {path.name for path in root.iterdir()} == set(TABLE_NAMES)


def test_a_second_time_finds_nothing_to_do_and_leaves_all_alone(root: Path) -> None:
    migrate(root, ALL)
    (root / "_compacted").mkdir()
    before = _names(root)
    assert set(migrate(root, ALL).values()) == {0}
    assert _names(root) == before
    assert (root / "_compacted").is_dir()


def test_one_version_holds_all_days(root: Path) -> None:
    migrate(root, ALL)
    (version,) = list_versions(LocalStore(root / "unified_actions"), "unified_actions")
    assert (version.number, version.operation, version.days) == (0, "migrate", (A, B))


def test_a_day_that_a_killed_run_had_taken_aside_is_put_back(root: Path) -> None:
    retired = root / "_retired" / "unified_actions"
    retired.mkdir(parents=True)
    (root / "unified_actions" / f"dt={A}").rename(retired / f"dt={A}")
    write_old_day(retired, UNIFIED_ACTIONS, B, 9)
    assert migrate(root, ALL)["unified_actions"] == 2
    now = Lake.at(root).snapshot("unified_actions")
    assert [set(numbers_of(now, day)) for day in (A, B)] == [{1}, {2}]


def test_a_migrated_day_is_replaced_like_any_other(root: Path) -> None:
    migrate(root, ALL)
    store = LocalStore(root / "unified_actions")
    assert publish_days(store, [A], number=7) == {A: PUBLISHED}
    assert rows_by_delta(store) == {A: 6, B: 4}
    assert set(numbers_of(open_snapshot(store, "unified_actions", 0), A)) == {1}


def test_a_vacuum_keeps_what_belongs_to_migrated_days_and_removes_it_with_them(
    root: Path,
) -> None:
    migrate(root, ALL)
    store = LocalStore(root / "unified_actions")
    publish_days(store, [A], number=7)
    vacuum(store, "unified_actions", keep=timedelta(0), dry_run=False)
    now = open_snapshot(store, "unified_actions")
    assert now.content(B) == "content-2"
    assert {e.path for e in store.list("_manifests")} == {now.manifest_path(d) for d in (A, B)}
    assert {e.path for e in store.list("_quarantine")} == {
        f"{now.quarantine_path(B)}/source=clicks/part-00000.pq"
    }
    assert rows_by_delta(store) == {A: 6, B: 4}


def test_a_lost_manifest_of_a_migrated_day_does_not_keep_it_from_being_built_anew(
    root: Path,
) -> None:
    migrate(root, ALL)
    store = LocalStore(root / "unified_actions")
    store.delete([open_snapshot(store, "unified_actions").manifest_path(A)])
    assert publish_days(store, [A], number=7) == {A: PUBLISHED}


def test_a_day_built_anew_between_a_killed_migration_and_the_next_stays(root: Path) -> None:
    old_manifest = root / "unified_actions" / f"dt={A}" / "_day.json"
    kept = old_manifest.read_bytes()
    migrate(root, ALL)
    store = LocalStore(root / "unified_actions")
    publish_days(store, [A], number=7)
    old_manifest.write_bytes(kept)  # a kill after the commit leaves it
    assert migrate(root, ALL)["unified_actions"] == 0
    assert set(numbers_of(open_snapshot(store, "unified_actions"), A)) == {7}
    assert not old_manifest.exists()


@pytest.mark.parametrize(
    ("file", "data", "problem"),
    [
        ("_day.json", b"{", "Expecting"),
        ("_day.json", b"[]", "holds no object"),
        ("_day.json", b"{}", "rows"),
        ("_day.json", json.dumps({"rows": 5}).encode(), "it holds 4 rows of 5"),
        ("part-00000.parquet", b"PAR1", "Parquet"),
        ("part-00000.parquet", None, "it holds 0 rows of 4"),
    ],
)
def test_a_damaged_day_is_named_and_nothing_of_its_table_is_changed(
    root: Path, file: str, data: bytes | None, problem: str
) -> None:
    path = root / "unified_actions" / f"dt={B}" / file
    path.unlink() if data is None else path.write_bytes(data)
    before = _names(root)
    with pytest.raises(LakeFormatError, match=f"unified_actions: day {B} is damaged .*{problem}"):
        migrate(root, ALL)
    assert _names(root) == before


def test_a_folder_that_delta_cannot_open_is_refused_before_anything_is_changed(
    tmp_path: Path,
) -> None:
    root = tmp_path / "lake%41"
    write_old_lake(root, [A])
    before = _names(root)
    with pytest.raises(LakeFormatError, match="holds '%41'"):
        migrate(root, ALL)
    assert _names(root) == before
