"""The Dagster instance of the command line, and runs in it."""

import os
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import date
from pathlib import Path
from typing import Final

import dagster as dg

from training_assets.cli.console import console, open_lake
from training_assets.cli.imports import uncollected
from training_assets.cli.instance_config import write_instance_config
from training_assets.cli.process_locks import Locks
from training_assets.cli.run_guard import own_run
from training_assets.tables import TableSpec

# Beyond the numbers of all processes.
_OPENING: Final = 1 << 48


_opened: list[tuple[dg.DagsterInstance, Path]] = []


@contextmanager
def open_instance() -> Iterator[tuple[dg.DagsterInstance, Path]]:
    """The instance and its home; within another such block, the same ones.

    One process at a time opens it: two that both make a new instance's database would stop each
    other.
    """
    if _opened:
        yield _opened[-1]
        return
    with instance_home() as home:
        locks = Locks.of_processes(home)
        while not (opening := locks.try_hold(_OPENING)):
            time.sleep(0.05)
        with opening:
            instance = dg.DagsterInstance.get()
        with instance:
            _opened.append((instance, home))
            try:
                yield instance, home
            finally:
                _opened.pop()


@contextmanager
def instance_made_meanwhile() -> Iterator[None]:
    """Open the instance once in a thread beside the block; after it, it opens at once.

    To import what stores runs and events, and to make the files of a new instance, takes half a
    second. What is wrong with the instance is told where it is opened to be used.
    """

    def make() -> None:
        with open_instance():
            pass

    with ThreadPoolExecutor(1) as pool:
        pool.submit(make)
        yield


@contextmanager
def instance_home() -> Iterator[Path]:
    """DAGSTER_HOME, by default beside the lake, with telemetry off."""
    home = Path(os.environ.get("DAGSTER_HOME", "").strip() or _default_home()).absolute()
    home.mkdir(parents=True, exist_ok=True)
    write_instance_config(home)
    os.environ["DAGSTER_HOME"] = str(home)
    # Runs that the UI starts must find the same lake, wherever they are started from.
    os.environ["TRAINING_ASSETS_LAKE"] = open_lake().store.url
    yield home


def _default_home() -> Path:
    """Beside a lake of this machine; the instance of one in a store stays here."""
    store = open_lake().store
    return Path(store.url).parent / "dagster" if store.is_local else Path("data/dagster")


def dagster_run(
    days: Sequence[date],
    specs: Sequence[TableSpec],
    before: Sequence[tuple[TableSpec, Sequence[date]]] = (),
) -> bool:
    """One Dagster run over the range that spans ``days``; whether it succeeded.

    ``before`` are further days of single tables, which the same run builds.
    """
    with (
        open_instance() as (instance, home),
        own_run(instance, home) as tags,
    ):
        with uncollected():
            from training_assets.assets.daily import before_tag
            from training_assets.definitions import BACKFILL_JOB, definitions_from

        _say_what_is_built(days, specs, before)
        first = min(days[0], *(found[0] for _, found in before)) if before else days[0]
        job = definitions_from(first).resolve_job_def(BACKFILL_JOB)
        result = job.execute_in_process(
            instance=instance,
            asset_selection=[dg.AssetKey(spec.name) for spec in specs],
            tags={
                **tags,
                **before_tag({spec.name: found for spec, found in before}),
                "dagster/asset_partition_range_start": str(days[0]),
                "dagster/asset_partition_range_end": str(days[-1]),
            },
            run_config={"loggers": {"console": {"config": {"format": console.log_format}}}},
            raise_on_error=False,
        )
        return result.success


def _say_what_is_built(
    days: Sequence[date],
    specs: Sequence[TableSpec],
    before: Sequence[tuple[TableSpec, Sequence[date]]],
) -> None:
    tables: dict[tuple[date, date], list[str]] = {}
    for spec, found in before:
        tables.setdefault((found[0], found[-1]), []).append(spec.name)
    for (first, last), names in tables.items():
        console.print(f"{_span(first, last)}, looked back to: {', '.join(names)}")
    console.print(f"{_span(days[0], days[-1])}: {', '.join(spec.name for spec in specs)}")


def _span(first: date, last: date) -> str:
    return f"{first} to {last}" if last > first else str(first)
