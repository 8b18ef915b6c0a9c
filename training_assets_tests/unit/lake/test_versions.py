"""Older versions: what they are, going back to one, and letting go of what nobody needs."""

import os
import time
from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from training_assets.errors import DayNotPublishedError, PublishError, SettingsError
from training_assets.lake import (
    LocalStore,
    Removed,
    Store,
    list_versions,
    open_snapshot,
    open_store,
    publish,
    restore,
    vacuum,
)
from training_assets.lake.log import CHECKPOINT_EVERY
from training_assets_tests.support.published_days import (
    DAYS,
    TABLE,
    data_names,
    look,
    numbers_of,
    publish_days,
    published_names,
    rows_by_delta,
    write_day,
)
from training_assets_tests.support.s3 import S3Place

A, B, C = DAYS[:3]
INFO = {"run": "test"}
NOW = timedelta(0)
WEEK = timedelta(days=7)


def _age(store: LocalStore, days: float = 30) -> None:
    """Have all that lies there be older than any retention."""
    then = datetime.now(UTC).timestamp() - days * 86_400
    for entry in [*store.list(), *store.unfinished()]:
        os.utime(store.root / entry.path, (then, then))


def test_versions_say_when_and_by_which_run_what_was_published(store: Store) -> None:
    start = datetime.now(UTC) - timedelta(seconds=2)
    publish_days(store, [B, A])
    publish_days(store, [C])
    newest, older, first = list_versions(store, TABLE.name)
    assert (newest.number, newest.run, newest.days) == (2, "test", (C,))
    assert newest.operation == older.operation == "publish"
    assert (older.number, older.days) == (1, (A, B))
    assert (first.number, first.operation, first.days) == (0, "create table", ())
    assert start < first.at <= older.at <= newest.at < datetime.now(UTC) + timedelta(seconds=2)
    assert list_versions(store, TABLE.name, 1) == [newest]


def test_a_table_that_is_not_there_has_no_versions(store: Store) -> None:
    assert list_versions(store, TABLE.name) == []
    assert vacuum(store, TABLE.name, keep=NOW, dry_run=False) == Removed(0, 0)


def test_restoring_brings_back_what_changed_and_takes_away_what_is_new(store: Store) -> None:
    publish_days(store, [A, B])
    then = look(store)
    publish_days(store, [A, C], number=2)
    assert restore(store, TABLE.name, then.version, INFO) == [A, C]
    now = look(store)
    assert now.files == then.files
    assert now.manifest(A)["number"] == 1
    assert rows_by_delta(store) == {A: 6, B: 6}
    assert list_versions(store, TABLE.name, 1)[0].operation == "restore"
    assert restore(store, TABLE.name, then.version, INFO) == []
    assert look(store) == now


def test_restoring_can_be_undone(store: Store) -> None:
    publish_days(store, [A, B])
    publish_days(store, [A, C], number=2)
    new = look(store)
    restore(store, TABLE.name, 1, INFO)
    restore(store, TABLE.name, new.version, INFO)
    assert look(store).files == new.files
    assert rows_by_delta(store) == {A: 6, B: 6, C: 6}


def test_only_the_days_that_are_asked_for_are_restored(store: Store) -> None:
    publish_days(store, [A, B])
    publish_days(store, [A, B, C], number=2)
    assert restore(store, TABLE.name, 1, INFO, days=[A]) == [A]
    now = look(store)
    assert [set(numbers_of(now, day)) for day in (A, B, C)] == [{1}, {2}, {2}]
    assert restore(store, TABLE.name, 1, INFO, days=[DAYS[9]]) == []


def test_restoring_a_version_that_is_gone_changes_nothing(store: Store) -> None:
    publish_days(store, [A])
    publish_days(store, [A], number=2)
    now = look(store)
    with pytest.raises(DayNotPublishedError, match="version 17 cannot be read"):
        restore(store, TABLE.name, 17, INFO)
    vacuum(store, TABLE.name, keep=NOW, dry_run=False)
    with pytest.raises(DayNotPublishedError, match="2 files of version 1 are gone"):
        restore(store, TABLE.name, 1, INFO)
    assert look(store).files == now.files
    assert rows_by_delta(store) == {A: 6}


def test_restoring_where_the_log_cannot_be_written_is_a_publish_error(local: LocalStore) -> None:
    publish_days(local, [A])
    publish_days(local, [A], number=2)
    now = look(local)
    (local.root / "_delta_log" / f"{3:020d}.json").mkdir()
    with pytest.raises(PublishError, match="version 1 could not be restored"):
        restore(local, TABLE.name, 1, INFO)
    (local.root / "_delta_log" / f"{3:020d}.json").rmdir()
    assert look(local) == now


def test_a_vacuum_removes_what_no_version_within_the_time_needs(store: Store) -> None:
    publish_days(store, [A, B])
    publish_days(store, [A], number=2)
    store.put(f"{look(store).quarantine_path(A)}/source=clicks/part-00000.pq", b"x")
    now = look(store)
    before = store.list()
    dry = vacuum(store, TABLE.name, keep=NOW, dry_run=True)
    assert [e.path for e in store.list()] == [e.path for e in before]
    assert vacuum(store, TABLE.name, keep=NOW, dry_run=False) == dry
    assert dry.files == 2 + 1
    assert data_names(store) == published_names(now)
    assert look(store).files == now.files
    assert now.manifest(A)["number"] == 2
    assert store.list("_quarantine")
    assert [numbers_of(now, day)[0] for day in (A, B)] == [2, 1]
    assert vacuum(store, TABLE.name, keep=NOW, dry_run=False) == Removed(0, 0)


def test_what_was_written_within_the_time_is_kept_also_if_nobody_published_it(
    store: Store,
) -> None:
    publish_days(store, [A])
    publish_days(store, [A], number=2)
    new = write_day(store, B)
    store.put(f"_manifests/dt={B}/{new.run}.json", b"{}")
    before = [e.path for e in store.list()]
    assert vacuum(store, TABLE.name, keep=WEEK, dry_run=False) == Removed(0, 0)
    assert vacuum(store, TABLE.name, keep=timedelta(minutes=1), dry_run=False) == Removed(0, 0)
    left = {e.path for e in store.list()}
    assert set(before) <= left
    assert publish(store, TABLE, {B: new}, look(store), INFO)
    assert numbers_of(open_snapshot(store, TABLE.name, 1), A) == [1] * 6


def test_what_killed_runs_left_goes_once_it_is_old(local: LocalStore) -> None:
    publish_days(local, [A])
    new = write_day(local, B)
    beside = [
        f"_manifests/dt={B}/{new.run}.json",
        f"_quarantine/dt={B}/{new.run}/source=clicks/part-00000.pq",
        f"_quarantine/dt={A}/{new.run}/source=clicks/part-00000.pq",
    ]
    for path in beside:
        local.put(path, b"{}")
    (local.root / f"dt={A}" / ".writing-0123456789abcdef").write_bytes(b"half")
    assert vacuum(local, TABLE.name, keep=WEEK, dry_run=False) == Removed(0, 0)
    _age(local)
    removed = vacuum(local, TABLE.name, keep=WEEK, dry_run=False)
    assert removed.files == len(new.files) + len(beside) + 1
    assert data_names(local) == published_names(look(local))
    assert not local.unfinished()
    assert look(local).manifest(A)["rows"] == 6
    assert rows_by_delta(local) == {A: 6}


def test_what_a_killed_probe_of_the_store_left_goes(s3_server: S3Place) -> None:
    store = open_store(f"{s3_server.new_url()}/unified_actions")
    publish_days(store, [A])
    store.put("_probe/0123456789abcdef", b"one")
    assert vacuum(store, TABLE.name, keep=WEEK, dry_run=False) == Removed(0, 0)
    time.sleep(1.1)  # The store's times are whole seconds.
    assert vacuum(store, TABLE.name, keep=NOW, dry_run=False) == Removed(1, 3)
    assert not store.unfinished()


def test_a_replaced_day_is_kept_from_when_it_was_replaced_not_from_when_it_was_written(
    local: LocalStore,
) -> None:
    publish_days(local, [A])
    then = look(local)
    _age(local)
    publish_days(local, [A], number=2)
    assert vacuum(local, TABLE.name, keep=WEEK, dry_run=False) == Removed(0, 0)
    assert numbers_of(then, A) == [1] * 6
    assert then.manifest(A)["number"] == 1


def test_a_day_that_was_restored_is_not_taken_for_a_replaced_one(store: Store) -> None:
    publish_days(store, [A])
    publish_days(store, [A], number=2)
    restore(store, TABLE.name, 1, INFO)
    vacuum(store, TABLE.name, keep=NOW, dry_run=False)
    assert numbers_of(look(store), A) == [1] * 6
    assert look(store).manifest(A)["number"] == 1
    assert data_names(store) == published_names(look(store))


def test_a_vacuum_leaves_a_checkpoint_and_the_table_goes_on(local: LocalStore) -> None:
    for n in range(CHECKPOINT_EVERY - 2):
        publish_days(local, [A], number=n)
    vacuum(local, TABLE.name, keep=NOW, dry_run=False)
    assert any(e.path.endswith(".checkpoint.parquet") for e in local.list("_delta_log"))
    for n in range(CHECKPOINT_EVERY):
        publish_days(local, [DAYS[n % 14]], number=100 + n)
    assert rows_by_delta(local) == dict.fromkeys(DAYS, 6)


def test_what_others_put_beside_the_table_is_left_alone(store: Store) -> None:
    publish_days(store, [A])
    others = ["_notes/readme.txt", "_manifests/dt=x/y.json", "_delta_log/_notes"]
    for path in others:
        store.put(path, b"x")
    vacuum(store, TABLE.name, keep=NOW, dry_run=False)
    assert {entry.path for entry in store.list()} >= set(others)


def test_a_negative_time_is_refused(local: LocalStore) -> None:
    with pytest.raises(SettingsError, match="keep is -1 day"):
        vacuum(local, TABLE.name, keep=timedelta(days=-1), dry_run=True)


@given(
    operations=st.lists(
        st.one_of(
            st.tuples(st.just("publish"), st.integers(0, 2)),
            st.tuples(st.just("restore"), st.integers(0, 5)),
        ),
        max_size=8,
    )
)
def test_every_version_is_read_as_it_was_until_a_vacuum_leaves_the_newest_alone(
    operations: list[tuple[str, int]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    store = LocalStore(tmp_path_factory.mktemp("lake") / "table")
    seen: list[dict[date, int]] = [{}]
    for n, (operation, value) in enumerate(operations):
        now = dict(seen[-1])
        if operation == "publish":
            publish_days(store, [DAYS[value]], number=n)
            now[DAYS[value]] = n
        elif look(store).version >= 0:
            version = min(value, look(store).version)
            if not restore(store, TABLE.name, version, INFO):
                continue
            now = seen[version]
        else:
            continue
        seen.append(now)
    for version, expected in enumerate(seen if len(seen) > 1 else []):
        found = open_snapshot(store, TABLE.name, version)
        assert {day: numbers_of(found, day)[0] for day in found.days} == expected
    vacuum(store, TABLE.name, keep=NOW, dry_run=False)
    assert {day: numbers_of(look(store), day)[0] for day in look(store).days} == seen[-1]
    assert data_names(store) == published_names(look(store))
