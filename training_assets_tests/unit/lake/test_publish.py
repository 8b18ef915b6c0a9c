"""What becomes of days that a run publishes, whatever other runs do meanwhile."""

from datetime import date
from importlib import import_module

import pytest
from hypothesis import given
from hypothesis import strategies as st

from training_assets.errors import PublishError
from training_assets.lake import (
    OTHERS,
    OVERTAKEN,
    PUBLISHED,
    UNCHANGED,
    LocalStore,
    NewDay,
    Store,
    publish,
    restore,
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


def test_a_day_that_another_run_replaced_meanwhile_is_overtaken_and_its_files_go(
    store: Store,
) -> None:
    publish_days(store, [A])
    before = look(store)
    publish_days(store, [A], number=2, inputs="newer")
    now = look(store)
    new = {A: write_day(store, A, number=3, inputs="mine"), B: write_day(store, B, number=3)}
    assert publish(store, TABLE, new, before, INFO) == {A: OVERTAKEN, B: PUBLISHED}
    assert look(store).files[A] == now.files[A]
    assert not data_names(store) & {file.name for file in new[A].files}


def test_a_day_that_another_run_published_first_is_overtaken(store: Store) -> None:
    before = look(store)
    publish_days(store, [A], number=2, inputs="newer")
    new = {A: write_day(store, A, inputs="mine")}
    assert publish(store, TABLE, new, before, INFO) == {A: OVERTAKEN}
    assert rows_by_delta(store) == {A: 6}


def test_a_day_that_another_run_built_from_the_same_inputs_is_left_alone(store: Store) -> None:
    publish_days(store, [A], inputs="old")
    before = look(store)
    publish_days(store, [A], number=2, inputs="same")
    now = look(store)
    new = {A: write_day(store, A, number=3, inputs="same")}
    assert publish(store, TABLE, new, before, INFO) == {A: OTHERS}
    assert look(store) == now


def test_a_day_that_was_taken_back_meanwhile_is_overtaken(store: Store) -> None:
    publish_days(store, [B])
    version = look(store).version
    publish_days(store, [A])
    before = look(store)
    restore(store, TABLE.name, version, INFO)
    new = {A: write_day(store, A, number=2)}
    assert publish(store, TABLE, new, before, INFO) == {A: OVERTAKEN}


def test_a_commit_to_other_days_in_between_is_no_obstacle(store: Store) -> None:
    publish_days(store, [A])
    before = look(store)
    new = {A: write_day(store, A, number=2)}

    def others_first(step: str) -> None:
        if step == "commit" and look(store).version < before.version + 3:
            publish_days(store, [DAYS[look(store).version + 3]], number=9)

    assert publish(store, TABLE, new, before, INFO, others_first) == {A: PUBLISHED}
    assert look(store).version == before.version + 4
    assert numbers_of(look(store), A) == [2] * 6


def test_a_day_that_is_overtaken_at_the_last_moment_is_not_committed(store: Store) -> None:
    before = look(store)
    new = {A: write_day(store, A, inputs="mine"), B: write_day(store, B)}

    def other_first(step: str) -> None:
        if step == "commit" and A not in look(store).files:
            publish_days(store, [A], number=2, inputs="newer")

    assert publish(store, TABLE, new, before, INFO, other_first) == {A: OVERTAKEN, B: PUBLISHED}
    assert rows_by_delta(store) == {A: 6, B: 6}
    assert numbers_of(look(store), A) == [2] * 6


def test_files_that_may_be_those_of_an_older_version_are_kept(store: Store) -> None:
    """As after a lost answer: the commit stood, and another run has replaced the day since."""
    before = look(store)
    new = {A: write_day(store, A, inputs="mine")}

    def as_if_the_answer_was_lost(step: str) -> None:
        if step == "commit" and not look(store).files:
            publish(store, TABLE, new, before, INFO)
            publish_days(store, [A], number=2, inputs="newer")

    assert publish(store, TABLE, new, before, INFO, as_if_the_answer_was_lost) == {A: OVERTAKEN}
    assert {file.name for file in new[A].files} <= data_names(store)


def test_a_run_that_is_always_overtaken_gives_up_and_says_so(
    local: LocalStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(import_module("training_assets.lake.publish"), "_MAX_TRIES", 3)
    before = look(local)
    new = {A: write_day(local, A)}

    def always_first(step: str) -> None:
        if step == "commit":
            publish_days(local, [B], number=look(local).version + 5)

    with pytest.raises(PublishError, match="day 2026-03-01 could not be published, because other"):
        publish(local, TABLE, new, before, INFO, always_first)
    assert A not in look(local).files


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


Operation = tuple[int, tuple[int, ...], int, str]
_OPERATIONS = st.lists(
    st.tuples(
        st.integers(0, 2),  # how many versions ago the run began
        st.lists(st.integers(0, 3), min_size=1, max_size=3, unique=True).map(tuple),
        st.integers(1, 2),  # which bytes
        st.sampled_from(["x", "y"]),  # which inputs
    ),
    max_size=7,
)


@given(operations=_OPERATIONS)
def test_any_sequence_of_runs_does_as_a_table_in_a_dictionary_does(
    operations: list[Operation], tmp_path_factory: pytest.TempPathFactory
) -> None:
    store = LocalStore(tmp_path_factory.mktemp("lake") / "table")
    seen = [look(store)]
    model: list[dict[date, tuple[object, int, str]]] = [{}]
    for ago, indices, number, inputs in operations:
        start = max(0, len(seen) - 1 - ago)
        new = {DAYS[i]: write_day(store, DAYS[i], number=number, inputs=inputs) for i in indices}
        found = publish(store, TABLE, new, seen[start], INFO)
        now = dict(model[-1])
        for day in new:
            assert found[day] == _expected(day, model[start], now, new[day], number, inputs)
        now |= {day: (new[day], number, inputs) for day in new if found[day] == PUBLISHED}
        seen.append(look(store))
        model.append(now)
        assert {d: set(numbers_of(seen[-1], d)) for d in seen[-1].days} == {
            d: {value[1]} for d, value in now.items()
        }
    assert rows_by_delta(store) == dict.fromkeys(model[-1], 6) if model[-1] else True


def _expected(
    day: date,
    then: dict[date, tuple[object, int, str]],
    now: dict[date, tuple[object, int, str]],
    new: NewDay,
    number: int,
    inputs: str,
) -> str:
    if day in then and then[day][1:] == (number, inputs):
        return UNCHANGED
    if now.get(day) == then.get(day):
        return PUBLISHED
    return OTHERS if day in now and now[day][2] == inputs else OVERTAKEN
