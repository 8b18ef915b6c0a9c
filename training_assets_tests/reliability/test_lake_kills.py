"""Runs that are killed while they publish, at every step and at any moment, local and on S3."""

import json
import random
import subprocess
import sys
import time
from datetime import timedelta
from pathlib import Path

import pytest

from training_assets.lake import (
    PUBLISHED,
    LocalStore,
    Store,
    open_store,
    vacuum,
)
from training_assets_tests.support.processes import start, was_killed
from training_assets_tests.support.published_days import (
    DAYS,
    TABLE,
    data_names,
    look,
    publish_days,
    published_names,
)
from training_assets_tests.support.rival_runs import (
    publish_and_die,
    publish_for_ever,
    require_whole,
)

A, B, C, D = DAYS[:4]
STEPS = ["discard", "sync", "manifests", "open", "commit", "read back"]


@pytest.fixture(params=["local", "s3"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    if request.param == "local":
        return LocalStore(tmp_path / "unified_actions")
    return open_store(f"{request.getfixturevalue('s3_server').new_url()}/unified_actions")


@pytest.mark.parametrize("fatal", STEPS)
def test_a_run_that_is_killed_at_a_step_leaves_all_days_old_or_all_new(
    store: Store, fatal: str
) -> None:
    publish_days(store, [A, B, D])
    assert was_killed(start(publish_and_die, store.url, fatal))
    is_new = fatal == "read back"
    old, new = {A: 1, B: 1, D: 1}, {A: 2, B: 2, C: 2, D: 1}
    assert require_whole(store) == (new if is_new else old)
    _run_again_and_clean(store)


@pytest.mark.parametrize("fatal", STEPS[2:])
def test_a_first_run_that_is_killed_at_a_step_leaves_no_day_or_all(
    store: Store, fatal: str
) -> None:
    assert was_killed(start(publish_and_die, store.url, fatal))
    found = require_whole(store)
    assert found == ({A: 2, B: 2, C: 2, D: 1} if fatal == "read back" else {})
    _run_again_and_clean(store)


def _run_again_and_clean(store: Store) -> None:
    """The next run publishes as if nothing had been; the next vacuum removes what was left."""
    assert publish_days(store, [A, C], number=3) == {A: PUBLISHED, C: PUBLISHED}
    found = require_whole(store)
    assert (found[A], found[C]) == (3, 3)
    vacuum(store, TABLE.name, keep=timedelta(0), dry_run=False)
    now = look(store)
    assert data_names(store) == published_names(now)
    assert {e.path for e in store.list("_manifests")} == {now.manifest_path(d) for d in now.days}
    assert require_whole(store) == found


def test_runs_that_are_killed_at_any_moment_lose_nothing(store: Store) -> None:
    publish_days(store, DAYS[:4])
    seed = random.Random(7)
    for _ in range(8):
        child = start(publish_for_ever, store.url)
        time.sleep(seed.uniform(0.05, 0.5))
        child.kill()
        assert was_killed(child)
        assert require_whole(store)[D] == 1
    _run_again_and_clean(store)


def test_a_migration_that_is_killed_at_any_step_goes_on_where_it_was(tmp_path: Path) -> None:
    module = "training_assets_tests.reliability.kill_migration"
    done = subprocess.run(
        [sys.executable, "-m", module, str(tmp_path)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    found = json.loads(done.stdout)
    assert found["steps"] > 100
    assert found["faults"] == []
    assert min(found["refused as old"], found["readable"]) >= 4
