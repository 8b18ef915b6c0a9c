"""What becomes of days that a run publishes while other runs publish them too."""

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
from training_assets_tests.support.published_days import (
    DAYS,
    TABLE,
    data_names,
    look,
    numbers_of,
    publish_days,
    rows_by_delta,
    write_day,
)

A, B, C = DAYS[:3]
INFO = {"run": "test"}


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


def test_a_day_that_is_replaced_as_soon_as_it_was_published_was_published(store: Store) -> None:
    before = look(store)
    new = {A: write_day(store, A, inputs="mine")}

    def other_next(step: str) -> None:
        if step == "read back":
            publish_days(store, [A], number=2, inputs="newer")

    assert publish(store, TABLE, new, before, INFO, other_next) == {A: PUBLISHED}
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
