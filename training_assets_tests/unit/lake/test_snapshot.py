"""What a table holds at a version, and what is said where it cannot be told."""

import pickle
import time
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from deltalake import DeltaTable

from training_assets.errors import DayNotPublishedError, StoreError, ValidationError
from training_assets.lake import (
    DataFile,
    Lake,
    LocalStore,
    Store,
    content_of,
    manifest_path,
    open_snapshot,
    open_store,
    publish,
    quarantine_path,
)
from training_assets.lake.files import belongs_to, day_of_folder
from training_assets.lake.log import CHECKPOINT_EVERY, delta_uri
from training_assets.schemas import TABLES
from training_assets_tests.support.published_days import (
    DAYS,
    TABLE,
    look,
    numbers_of,
    publish_days,
    rows_by_delta,
    write_day,
)
from training_assets_tests.support.s3 import S3Place

A, B, C = DAYS[:3]


def test_a_table_that_is_not_there_has_no_days(store: Store) -> None:
    now = look(store)
    assert (now.version, now.days, now.uris(A)) == (-1, [], [])
    with pytest.raises(DayNotPublishedError, match="day 2026-03-01 is not published under"):
        now.files_of(A)
    with pytest.raises(DayNotPublishedError, match="version 0 cannot be read"):
        open_snapshot(store, TABLE.name, 0)


def test_a_snapshot_stays_what_it_was_whatever_is_published_afterwards(store: Store) -> None:
    publish_days(store, [A, B])
    then = look(store)
    publish_days(store, [A, C], number=2)
    assert numbers_of(then, A) == [1] * 6
    assert then.days == [A, B]
    assert numbers_of(look(store), A) == [2] * 6
    assert open_snapshot(store, TABLE.name, then.version) == then
    assert pickle.loads(pickle.dumps(then)) == then


def test_a_version_is_had_by_its_time(store: Store) -> None:
    start = datetime.now(UTC)
    seen = []
    for number in range(3):
        publish_days(store, [A], number=number)
        seen.append((datetime.now(UTC), look(store)))
        time.sleep(0.002)
    for at, snapshot in seen:
        assert open_snapshot(store, TABLE.name, at) == snapshot
        assert open_snapshot(store, TABLE.name, at.replace(tzinfo=None)) == snapshot
    assert open_snapshot(store, TABLE.name, start + timedelta(days=1)) == seen[-1][1]
    with pytest.raises(DayNotPublishedError, match="no commit is as old"):
        open_snapshot(store, TABLE.name, start - timedelta(seconds=1))


@pytest.mark.parametrize("version", [-1, 3])
def test_a_version_that_is_not_there_is_named(store: Store, version: int) -> None:
    publish_days(store, [A])
    with pytest.raises(DayNotPublishedError, match=f"version {version} cannot be read under"):
        open_snapshot(store, TABLE.name, version)


def test_a_table_reopens_after_more_commits_than_a_checkpoint_takes(store: Store) -> None:
    n_checkpoints = 2 if store.is_local else 1
    n_commits = n_checkpoints * CHECKPOINT_EVERY + 5
    for n in range(n_commits):
        publish_days(store, [DAYS[n % 14]], number=n)
    checkpoints = [e.path for e in store.list("_delta_log") if "checkpoint.parquet" in e.path]
    assert len(checkpoints) == n_checkpoints
    now = look(store)
    assert now.version == n_commits
    assert numbers_of(now, DAYS[(n_commits - 1) % 14]) == [n_commits - 1] * 6
    assert rows_by_delta(store) == dict.fromkeys(DAYS, 6)
    assert open_snapshot(store, TABLE.name, 3).days == DAYS[:3]


def test_the_same_bytes_are_the_same_content_whoever_wrote_them(store: Store) -> None:
    one, other = write_day(store, A), write_day(store, A)
    changed = write_day(store, A, number=2)
    assert content_of(one.files) == content_of(other.files) == content_of(one.files[::-1])
    assert content_of(one.files) != content_of(changed.files)
    assert content_of(one.files) != content_of(one.files[:1])


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (None, "it is missing"),
        (b"", "Expecting value"),
        (b'{"rows": 6', "Expecting"),
        (b"[]", "it holds no object"),
        (b"\x80{}", "decode"),
    ],
)
def test_a_damaged_manifest_is_named(store: Store, data: bytes | None, problem: str) -> None:
    publish_days(store, [A])
    now = look(store)
    if data is None:
        store.delete([now.manifest_path(A)])
    else:
        store.put(now.manifest_path(A), data)
    with pytest.raises(ValidationError, match=f"the manifest of {A} is damaged .*{problem}"):
        now.manifest(A)


def test_files_lead_to_manifest_and_quarantine_of_the_run_that_wrote_them(
    local: LocalStore,
) -> None:
    publish_days(local, [A])
    now = look(local)
    run = now.run(A)
    assert now.manifest_path(A) == manifest_path(A, run) == f"_manifests/dt={A}/{run}.json"
    assert now.quarantine_path(A) == quarantine_path(A, run) == f"_quarantine/dt={A}/{run}"
    assert belongs_to(now.manifest_path(A)) == (f"dt={A}", run)
    assert belongs_to(f"{now.quarantine_path(A)}/source=clicks/x.pq") == (f"dt={A}", run)
    assert {belongs_to(file.name) for file in now.files_of(A)} == {(f"dt={A}", run)}
    assert belongs_to("_delta_log/00000000000000000000.json") is None
    assert belongs_to("_manifests/README") is None


def test_a_file_of_another_name_is_a_migrated_one() -> None:
    file = DataFile("dt=2026-03-01/part-00000.parquet", 10, 2)
    assert (file.run, file.day) == ("migrated", A)
    assert file.hash != DataFile("dt=2026-03-01/part-00000.parquet", 11, 2).hash


@pytest.mark.parametrize("name", ["dt=2026-3-1", "2026-03-01", "dt=20260301", "dt=x", "dt=", "_x"])
def test_only_a_day_written_in_full_is_a_day_folder(name: str) -> None:
    assert day_of_folder(name) is None
    assert day_of_folder("dt=2026-03-01") == A


def test_every_table_can_be_published_and_read_back(store: Store) -> None:
    for table in TABLES.values():
        place = store.child(table.name)
        before = open_snapshot(place, table.name)
        publish(place, table, {A: write_day(place, A, table=table)}, before, {})
        now = open_snapshot(place, table.name)
        assert now.uris(A) == [place.uri(file.name) for file in now.files_of(A)]
        found = DeltaTable(delta_uri(place)).to_pyarrow_dataset().to_table()
        assert set(found.column_names) == set(table.column_names)
        assert found.num_rows == 6
        for column in table.stored_columns:
            assert found.schema.field(column.name).type == column.arrow, column.name


def test_a_lake_looks_at_a_table_once_until_it_is_told_to_look_again(store: Store) -> None:
    lake = Lake.at(store)
    assert lake.days("unified_actions") == []
    publish_days(store.child("unified_actions"), [A])
    assert lake.days("unified_actions") == []
    lake.refresh("customer_history")
    assert lake.days("unified_actions") == []
    lake.refresh()
    assert lake.days("unified_actions") == [A]
    assert lake.manifest("unified_actions", A)["rows"] == 6
    assert lake.snapshot("unified_actions", 0).days == []
    assert lake == Lake.at(lake) == Lake.at(store.url)


def test_an_unreadable_log_is_a_store_error_without_secrets(
    s3_server: S3Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = open_store(f"{s3_server.new_url()}/unified_actions")
    publish_days(store, [A])
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "a-wrong-secret-of-somebody")
    with pytest.raises(StoreError, match="unified_actions: the log under s3://") as raised:
        look(store)
    assert "a-wrong-secret" not in str(raised.value)
    assert raised.value.__context__ is None


def test_versions_of_a_day_are_all_readable_while_it_is_replaced(store: Store) -> None:
    seen = []
    for number in range(4):
        publish_days(store, [A], number=number)
        seen.append(look(store))
    assert [set(numbers_of(snapshot, A)) for snapshot in seen] == [{0}, {1}, {2}, {3}]
    assert all(one.version + 1 == other.version for one, other in pairwise(seen))
