"""Training goes on with the version it began with, whatever is published or removed meanwhile."""

import json
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from training_assets.errors import DayNotPublishedError, SettingsError
from training_assets.lake import Lake, Location, list_versions, migrate, vacuum
from training_assets.loader import TrainingDays
from training_assets.schemas import CUSTOMER_HISTORY, TABLES, TRAINING_INPUT
from training_assets_tests.support.loader_lakes import (
    FIRST_DAY,
    HISTORY_LENGTH,
    PlainDay,
    history_table,
    input_table,
    publish_histories,
    publish_inputs,
    random_days,
    write_lake,
)

NAMES = (CUSTOMER_HISTORY.name, TRAINING_INPUT.name)
OLD, NEW = random_days(1, num_days=2), random_days(2, num_days=2, num_customers=12)


@pytest.fixture(params=["local", "s3"])
def lake(request: pytest.FixtureRequest, root: Path) -> Location:
    """With the days of ``OLD``."""
    if request.param == "local":
        return write_lake(root / "lake", OLD)
    return write_lake(request.getfixturevalue("s3_server").new_url(), OLD)


@pytest.fixture
def local(root: Path) -> Path:
    return write_lake(root / "lake", OLD)


def loader(lake: Location, **options: Any) -> TrainingDays:
    return TrainingDays(lake, **{"batch_size": 7, "extras": ["identity"], **options})


def seen(batches: Any) -> list[Any]:
    return [(b.dt, b.impressions.tolist(), b.labels.tolist(), b.actions.tolist()) for b in batches]


def sorted_rows(days: TrainingDays) -> list[Any]:
    """Of an epoch, in one order: day, item, label and the actions without padding."""
    return sorted(
        (batch.dt, item, label, [a for a in actions if a])
        for batch in days
        for item, label, actions in zip(
            *(x.tolist() for x in (batch.impressions, batch.labels, batch.actions)), strict=True
        )
    )


def rows_of(days: list[PlainDay]) -> list[Any]:
    return sorted(
        (day.dt, item, float(label), [action[0] for action in day.histories[customer]])
        for day in days
        for customer, _, item, label in day.rows
    )


def test_what_is_published_meanwhile_is_not_seen(lake: Location) -> None:
    days = loader(lake)
    batches = iter(days)
    next(batches)
    write_lake(lake, NEW)
    list(batches)
    assert sorted_rows(days) == rows_of(OLD)
    assert sorted_rows(loader(lake)) == rows_of(NEW)


def test_a_version_is_named_by_its_number_or_its_time(lake: Location) -> None:
    before = datetime.now(UTC)
    first = loader(lake).versions[TRAINING_INPUT.name]
    write_lake(lake, NEW)
    naive = before.replace(tzinfo=None)
    elsewhere = before.astimezone(tz=None)
    for as_of in (first, before, naive, elsewhere, str(before), naive.isoformat()):
        assert sorted_rows(loader(lake, as_of=as_of)) == rows_of(OLD)
    assert sorted_rows(loader(lake, as_of=datetime.now(UTC))) == rows_of(NEW)


def test_a_version_that_never_was_is_named(local: Path) -> None:
    with pytest.raises(DayNotPublishedError, match="version 99 cannot be read under"):
        loader(local, as_of=99)
    with pytest.raises(DayNotPublishedError, match="version 2020-01-01"):
        loader(local, as_of="2020-01-01")
    with pytest.raises(SettingsError, match="as_of is 'yesterday'; expected a version number, or"):
        loader(local, as_of="yesterday")


def test_a_run_goes_on_with_its_versions_after_the_days_were_built_anew(lake: Location) -> None:
    whole = seen(loader(lake))
    for num_seen in (1, len(whole) // 2, len(whole) - 1):
        before = loader(lake, as_of=1)
        batches = iter(before)
        first = seen(next(batches) for _ in range(num_seen))
        state = json.loads(json.dumps(before.state_dict()))
        write_lake(lake, NEW)
        after = loader(lake)
        assert after.num_examples != before.num_examples
        after.load_state_dict(state)
        assert after.versions == before.versions
        assert first + seen(after) == whole
        # And again from the beginning, as if nothing had been published since.
        after.set_epoch(0)
        assert seen(after) == whole


def test_a_state_that_does_not_fit_changes_nothing(local: Path) -> None:
    state = loader(local, batch_size=9).state_dict()
    write_lake(local, NEW)
    days = loader(local)
    versions, expected = days.versions, seen(loader(local))
    with pytest.raises(SettingsError, match="batch_size is 7; expected 9"):
        days.load_state_dict(state)
    assert days.versions == versions
    assert seen(days) == expected


def test_versions_that_a_vacuum_has_removed_are_named(lake: Location) -> None:
    days = loader(lake)
    state = days.state_dict()
    write_lake(lake, NEW)
    for name in NAMES:
        vacuum(Lake.at(lake).table_store(name), name, keep=timedelta(0), dry_run=False)
    with pytest.raises(DayNotPublishedError, match=r"is gone; expected.*Did a vacuum remove them"):
        list(days)
    with pytest.raises(DayNotPublishedError, match=r"is gone; expected.*Did a vacuum remove them"):
        loader(lake, as_of=1)
    with pytest.raises(DayNotPublishedError, match="Did a vacuum remove them"):
        loader(lake).load_state_dict(state)
    assert sorted_rows(loader(lake)) == rows_of(NEW)


def test_between_the_two_commits_of_a_run_rows_come_with_their_own_histories(
    lake: Location,
) -> None:
    publish_histories(lake, NEW)
    days = loader(lake)
    assert sorted_rows(days) == rows_of(OLD)
    publish_inputs(lake, NEW)
    assert sorted_rows(days) == rows_of(OLD)
    assert sorted_rows(loader(lake)) == rows_of(NEW)


def test_a_moment_between_the_two_commits_of_a_run_can_be_named(local: Path) -> None:
    publish_histories(local, NEW)
    between = datetime.now(UTC)
    publish_inputs(local, NEW)
    assert sorted_rows(loader(local, as_of=between)) == rows_of(OLD)


def test_rows_whose_histories_are_gone_are_not_mixed_with_others(local: Path) -> None:
    publish_histories(local, NEW)
    name = CUSTOMER_HISTORY.name
    vacuum(Lake.at(local).table_store(name), name, keep=timedelta(0), dry_run=False)
    with pytest.raises(DayNotPublishedError, match="is gone"):
        loader(local)
    assert sorted_rows(loader(local, source="training_input")) == rows_of(OLD)


def test_rows_that_fit_no_version_of_the_histories_say_so(local: Path) -> None:
    publish_histories(local, NEW)
    first, second = NEW
    publish_inputs(local, [first])
    # Of the second day the rows are the old ones, of which one version has the histories.
    with pytest.raises(
        DayNotPublishedError, match=r"built from histories .*, while customer_history"
    ):
        loader(local)
    assert sorted_rows(loader(local, days=[first.dt])) == rows_of([first])
    assert sorted_rows(loader(local, days=[second.dt])) == rows_of([OLD[1]])


def test_workers_read_the_version_of_the_loader(lake: Location) -> None:
    pytest.importorskip("torch")
    days = loader(lake)
    expected = seen(days)
    days.set_epoch(0)
    write_lake(lake, NEW)
    found = days.tensors(num_workers=2)
    assert seen(found) == expected


def test_a_lake_that_was_migrated_is_read_as_it_was(root: Path) -> None:
    for day in OLD:
        for table, rows in zip(NAMES, (history_table(day), input_table(day)), strict=True):
            write_old_day(root / table / f"dt={day.dt}", table, day, rows)
    migrate(root, list(TABLES.values()))
    assert sorted_rows(loader(root)) == rows_of(OLD)
    write_lake(root, NEW[:1])
    assert sorted_rows(loader(root)) == rows_of([NEW[0], OLD[1]])


def write_old_day(folder: Path, table: str, day: PlainDay, rows: pa.Table) -> None:
    folder.mkdir(parents=True)
    pq.write_table(rows, folder / "part-00000.parquet")
    content = f"{day.dt.day:032d}"
    manifest = {
        "table": table,
        "dt": str(day.dt),
        "rows": rows.num_rows,
        "schema_version": 1,
        "settings": {"history_length": HISTORY_LENGTH, "lookback_days": 365},
        "content": content,
        "built_from": {"upstream": {CUSTOMER_HISTORY.name: {str(day.dt): content[:16]}}},
    }
    (folder / "_day.json").write_text(json.dumps(manifest))


def test_reading_again_and_again_while_days_are_published(local: Path) -> None:
    whole = [rows_of(OLD), rows_of(NEW)]
    ended = threading.Event()

    def write() -> None:
        for number in range(12):
            write_lake(local, (NEW, OLD)[number % 2])
        ended.set()

    writer = threading.Thread(target=write)
    writer.start()
    found = []
    while not ended.is_set():
        found.append(sorted_rows(loader(local)))
    writer.join()
    assert all(rows in whole for rows in found)
    versions = list_versions(Lake.at(local).table_store(TRAINING_INPUT.name), TRAINING_INPUT.name)
    assert len(versions) == 14
    assert versions[0].days == (FIRST_DAY, OLD[1].dt)
