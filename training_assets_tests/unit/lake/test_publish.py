"""What becomes of days that a run publishes, whatever other runs do meanwhile."""

import pytest

from training_assets.errors import PublishError
from training_assets.lake import (
    PUBLISHED,
    UNCHANGED,
    LocalStore,
    Store,
    publish,
)
from training_assets.lake.log import add_action, commit, open_delta
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
    write_days,
)

A, B, C = DAYS[:3]
INFO = {"run": "test"}


def test_a_first_publish_makes_the_table_and_all_days_in_it(store: Store) -> None:
    assert publish_days(store, DAYS) == dict.fromkeys(DAYS, PUBLISHED)
    assert look(store).days == DAYS
    assert rows_by_delta(store) == dict.fromkeys(DAYS, 6)
    assert look(store).manifest(A)["rows"] == 6


def test_all_days_of_a_run_appear_in_one_version(store: Store) -> None:
    publish_days(store, [A])
    version = look(store).version
    publish_days(store, [A, B, C], number=2)
    assert look(store).version == version + 1


def test_a_day_is_replaced_whole(store: Store) -> None:
    publish_days(store, [A, B], files=3)
    publish_days(store, [A], number=2, files=1)
    now = look(store)
    assert numbers_of(now, A) == [2] * 3
    assert numbers_of(now, B) == [1] * 9
    assert rows_by_delta(store) == {A: 3, B: 9}
    assert now.manifest(A)["number"] == 2


def test_the_same_bytes_from_the_same_inputs_commit_nothing_and_are_removed(store: Store) -> None:
    publish_days(store, [A, B])
    before = look(store)
    assert publish_days(store, [A, B]) == {A: UNCHANGED, B: UNCHANGED}
    assert look(store) == before
    assert data_names(store) == published_names(before)


def test_of_a_range_only_what_changed_is_committed(store: Store) -> None:
    publish_days(store, [A, B])
    before = look(store)
    new = {A: write_day(store, A), B: write_day(store, B, number=2), C: write_day(store, C)}
    assert publish(store, TABLE, new, before, INFO) == {A: UNCHANGED, B: PUBLISHED, C: PUBLISHED}
    assert look(store).files[A] == before.files[A]


def test_the_same_bytes_from_other_inputs_are_committed_with_the_same_content(
    store: Store,
) -> None:
    publish_days(store, [A])
    before = look(store)
    assert publish_days(store, [A], inputs="others") == {A: PUBLISHED}
    now = look(store)
    assert now.version == before.version + 1
    assert now.content(A) == before.content(A)
    assert now.manifest(A)["inputs"] == "others"


def test_publishing_the_very_same_files_again_leaves_them_where_they_are(store: Store) -> None:
    before = look(store)
    new = write_days(store, [A])
    assert publish(store, TABLE, new, before, INFO) == {A: PUBLISHED}
    assert publish(store, TABLE, new, before, INFO) == {A: PUBLISHED}
    assert publish(store, TABLE, new, look(store), INFO) == {A: UNCHANGED}
    assert numbers_of(look(store), A) == [1] * 6


def test_a_day_that_holds_files_of_two_runs_is_refused(store: Store) -> None:
    publish_days(store, [A])
    new = {A: write_day(store, A, number=2)}
    delta = open_delta(store, TABLE.name)
    assert delta is not None
    assert commit(store, delta, [add_action(file, None) for file in new[A].files], {}) is None
    with pytest.raises(PublishError, match="holds 2 files of this run among 4"):
        publish(store, TABLE, new, look(store), INFO)


def test_a_damaged_manifest_does_not_keep_the_day_from_being_built_anew(store: Store) -> None:
    publish_days(store, [A])
    store.put(look(store).manifest_path(A), b"{")
    assert publish_days(store, [A]) == {A: PUBLISHED}
    assert look(store).manifest(A)["rows"] == 6


def test_each_step_is_told_before_it_is_taken(store: Store) -> None:
    steps: list[str] = []
    before = look(store)
    publish(store, TABLE, write_days(store, [A]), before, INFO, steps.append)
    assert steps == ["discard", "sync", "manifests", "open", "commit", "read back"]
    steps.clear()
    publish(store, TABLE, write_days(store, [A]), look(store), INFO, steps.append)
    assert steps == ["discard"]


def test_a_folder_that_cannot_be_written_is_a_publish_error(local: LocalStore) -> None:
    publish_days(local, [A])
    before = look(local)
    new = {B: write_day(local, B)}
    (local.root / "_manifests").rename(local.root / "_kept")
    (local.root / "_manifests").write_bytes(b"in the way")
    with pytest.raises(PublishError, match="day 2026-03-02 could not be published"):
        publish(local, TABLE, new, before, INFO)
    assert look(local) == before
