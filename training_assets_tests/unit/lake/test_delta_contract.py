"""What this project relies on in Delta's library, at the version that is pinned.

To be run first when the version is raised: each of these was otherwise in some version of it.
"""

import json
import os
from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from deltalake import DeltaTable
from deltalake.exceptions import CommitFailedError
from deltalake.transaction import AddAction, RemoveAction

from training_assets.lake import DataFile, LocalStore, Store, open_store
from training_assets.lake.log import (
    COMMIT_KEY,
    LOG,
    add_action,
    commit,
    create_table,
    delta_uri,
    open_delta,
    remove_action,
)
from training_assets.schemas import Column, Table
from training_assets_tests.support.faulty_network import Fault, faulty_network
from training_assets_tests.support.published_days import (
    DAYS,
    TABLE,
    data_names,
    look,
    publish_days,
    rows_by_delta,
    write_day,
)
from training_assets_tests.support.s3 import S3Place

A, B = DAYS[:2]


@pytest.fixture
def stale(store: Store) -> DeltaTable:
    """A table with day A, as it was before it got day B as well."""
    publish_days(store, [A])
    delta = open_delta(store, TABLE.name)
    assert delta is not None
    publish_days(store, [B])
    return delta


def _files(store: Store, day: date) -> tuple[DataFile, ...]:
    return look(store).files_of(day)


@pytest.mark.parametrize("kind", ["another new day", "the same new day", "replace", "remove"])
def test_a_commit_on_an_older_version_is_refused_whatever_it_changes(
    store: Store, stale: DeltaTable, kind: str
) -> None:
    day = {"another new day": DAYS[5], "the same new day": B}.get(kind, A)
    new = write_day(store, day, number=2)
    actions: list[AddAction | RemoveAction] = []
    if kind != "remove":
        actions += [add_action(file, None) for file in new.files]
    if kind in ("replace", "remove"):
        actions += [remove_action(file) for file in _files(store, A)]
    before = look(store)
    assert isinstance(commit(store, stale, actions, {}), CommitFailedError)
    assert look(store) == before
    assert rows_by_delta(store) == {A: 6, B: 6}


def test_of_two_first_commits_on_an_empty_table_one_is_refused(store: Store) -> None:
    create_table(store, TABLE)
    one, other = open_delta(store, TABLE.name), open_delta(store, TABLE.name)
    assert one is not None
    assert other is not None
    new = [write_day(store, A, number=n) for n in (1, 2)]
    assert commit(store, one, [add_action(f, None) for f in new[0].files], {}) is None
    error = commit(store, other, [add_action(f, None) for f in new[1].files], {})
    assert isinstance(error, CommitFailedError)
    assert rows_by_delta(store) == {A: 6}


def test_who_makes_a_table_second_gets_the_first_ones(store: Store) -> None:
    create_table(store, TABLE, [], {"run": "first"})
    publish_days(store, [A])
    assert create_table(store, TABLE, [], {"run": "second"}).version() == 1
    assert rows_by_delta(store) == {A: 6}


def test_one_commit_adds_and_removes(store: Store) -> None:
    publish_days(store, [A, B])
    delta = open_delta(store, TABLE.name)
    assert delta is not None
    new = write_day(store, DAYS[2], number=2)
    removed = [remove_action(file) for file in _files(store, A)]
    added = [add_action(file, (2, 2)) for file in new.files]
    assert commit(store, delta, [*added, *removed], {}) is None
    assert rows_by_delta(store) == {B: 6, DAYS[2]: 6}
    assert look(store).version == delta.version() + 1


def test_the_same_file_cannot_be_added_and_removed_in_one_commit(store: Store) -> None:
    publish_days(store, [A])
    delta = open_delta(store, TABLE.name)
    assert delta is not None
    file = _files(store, A)[0]
    with pytest.raises(ValueError, match="Cannot add and remove the same file"):
        commit(store, delta, [add_action(file, None), remove_action(file)], {})
    assert rows_by_delta(store) == {A: 6}


def test_what_is_said_about_a_commit_comes_back_with_its_history(store: Store) -> None:
    publish_days(store, [A])
    newest = DeltaTable(delta_uri(store)).history(1)[0]
    said = {"operation": "publish", "run": "test", "days": [str(A)]}
    assert json.loads(newest[COMMIT_KEY]) == said
    age = datetime.now(UTC).timestamp() - newest["timestamp"] / 1000
    assert -5 < age < 60


_TYPE_NAMES = (
    "long",
    "int",
    "smallint",
    "tinyint",
    "boolean",
    "string",
    "timestamp",
    "array<int>",
    "array<smallint>",
    "array<tinyint>",
)
_TYPES = Table(
    name="types",
    grain="one row",
    columns=(
        *(Column(f"column_{n}", name, "") for n, name in enumerate(_TYPE_NAMES)),
        Column("dt", "date", ""),
    ),
)


def test_every_type_of_a_column_is_read_back_as_it_was_written(store: Store) -> None:
    at = datetime(2026, 3, 1, 23, 59, 59, 999_999, tzinfo=UTC)
    values = [2**62, -(2**31), -(2**15), -128, True, "ü", at, [1, 2], [-(2**15)], [127, None]]
    columns = {
        column.name: pa.array([value, None], column.arrow)
        for column, value in zip(_TYPES.stored_columns, values, strict=True)
    }
    written = pa.table(columns)
    buffer = pa.BufferOutputStream()
    pq.write_table(written, buffer)
    data = buffer.getvalue().to_pybytes()
    file = DataFile(f"dt={A}/part-00000-{0:016x}-{0:012x}.parquet", len(data), 2)
    store.put(file.name, data)
    create_table(store, _TYPES, [add_action(file, None)], {})
    found = DeltaTable(delta_uri(store)).to_pyarrow_dataset().to_table()
    assert found.select(written.column_names).equals(written)
    assert found["dt"].to_pylist() == [A, A]
    assert found.schema.field("dt").type == pa.date32()


def test_readers_skip_files_by_their_bounds_and_find_all_rows_in_them(store: Store) -> None:
    publish_days(store, [A], number=5)
    publish_days(store, [B], number=9)
    data = DeltaTable(delta_uri(store)).to_pyarrow_dataset()
    for number, rows in ((5, 6), (9, 6), (7, 0)):
        assert data.to_table(filter=pa.compute.field("customer_id") == number).num_rows == rows


def test_a_file_may_come_back_after_it_was_removed(store: Store) -> None:
    publish_days(store, [A])
    first = _files(store, A)
    publish_days(store, [A], number=2)
    delta = open_delta(store, TABLE.name)
    assert delta is not None
    actions = [*(add_action(f, None) for f in first), *(remove_action(f) for f in _files(store, A))]
    assert commit(store, delta, actions, {}) is None
    assert look(store).files_of(A) == first
    DeltaTable(delta_uri(store)).create_checkpoint()
    assert look(store).files_of(A) == first


def _vacuum(store: Store, hours: int) -> set[str]:
    delta = DeltaTable(delta_uri(store))
    return set(delta.vacuum(hours, dry_run=False, enforce_retention_duration=False, full=True))


def test_a_full_vacuum_spares_what_is_active_or_young_or_not_data(store: Store) -> None:
    publish_days(store, [A])
    publish_days(store, [A], number=2)
    orphan = write_day(store, B)
    for path in (f"_quarantine/dt={A}/x/y.pq", f"_manifests/dt={B}/x.json"):
        store.put(path, b"x")
    before = {entry.path for entry in store.list()}
    assert _vacuum(store, 168) == set()
    assert {entry.path for entry in store.list()} >= before
    active = {file.name for file in _files(store, A)}
    everything = data_names(store)
    assert {file.name for file in orphan.files} < everything - active
    assert _vacuum(store, 0) == everything - active
    assert data_names(store) == active
    assert {p for p in before if p[0] == "_"} <= {entry.path for entry in store.list()}
    assert rows_by_delta(store) == {A: 6}


def test_a_full_vacuum_removes_what_nobody_published_once_it_is_old(local: LocalStore) -> None:
    publish_days(local, [A])
    young, old = write_day(local, B), write_day(local, B, number=2)
    then = (datetime.now(UTC) - timedelta(hours=200)).timestamp()
    for file in (*old.files, *_files(local, A)):
        os.utime(local.root / file.name, (then, then))
    assert _vacuum(local, 168) == {file.name for file in old.files}
    assert data_names(local) == {f.name for f in (*young.files, *_files(local, A))}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("AWS_REGION", "us-east-1"),
        ("AWS_S3_ALLOW_UNSAFE_RENAME", "true"),
        ("AWS_CONDITIONAL_PUT", "etag"),
        ("AWS_COPY_IF_NOT_EXISTS", "multipart"),
    ],
)
def test_a_commit_is_put_on_condition_that_there_is_none_whatever_the_environment_says(
    s3_server: S3Place, monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    store = open_store(f"{s3_server.new_url()}/unified_actions")
    publish_days(store, [A])
    puts: list[tuple[str, str | None]] = []

    def seen(method: str, path: str, headers: Mapping[str, str]) -> Fault:
        if method == "PUT":
            puts.append((path, headers.get("If-None-Match")))
        return None

    with faulty_network(s3_server.port, seen) as url:
        monkeypatch.setenv("AWS_ENDPOINT_URL", url)
        monkeypatch.setenv(name, value)
        delta = open_delta(store, TABLE.name)
        assert delta is not None
        assert commit(store, delta, [], {}) is None
    ((path, condition),) = puts
    assert path.endswith(f"{LOG}/{2:020d}.json")
    assert condition == "*"


def test_a_half_written_commit_that_has_no_name_yet_is_not_seen(local: LocalStore) -> None:
    publish_days(local, [A])
    before = look(local)
    Path(local.root / LOG / f"{2:020d}.json#1").write_bytes(b'{"add":')
    assert look(local) == before
    publish_days(local, [B])
    assert rows_by_delta(local) == {A: 6, B: 6}
