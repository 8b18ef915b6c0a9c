"""The command line: sample data, runs, checks, the quarantine, the UI.

Runs are Dagster runs in the same persistent instance that the UI shows. They happen in this
process, so that one command costs one engine start.
"""

import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import click
import dagster as dg
import pyarrow.dataset as ds
from rich.console import Console
from rich.table import Table as Grid

from training_assets.errors import SettingsError, TrainingAssetsError
from training_assets.freshness import Freshness
from training_assets.lake import Lake, day_range
from training_assets.raw import raw_days
from training_assets.schemas import (
    ACTION_SOURCES,
    CUSTOMER_HISTORY,
    IMPRESSIONS,
    RAW_TABLES,
    TABLES,
    TRAINING_INPUT,
    UNIFIED_ACTIONS,
    Table,
)
from training_assets.settings import Settings

_DEFAULT_DAYS: Final = 14
_INSTANCE_YAML: Final = "telemetry:\n  enabled: false\nnux:\n  enabled: false\n"

_day = click.DateTime(["%Y-%m-%d"])
_console = Console(highlight=False)


class _Commands(click.Group):
    """Errors raised on purpose end in their one sentence and exit code 1."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except TrainingAssetsError as error:
            raise click.ClickException(str(error)) from error


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="training-assets")
def main() -> None:
    """Point-in-time-correct training input for sequence recommenders, one day at a time.

    The lake is data/lake, or what TRAINING_ASSETS_LAKE says.
    """


@main.command()
@click.option("--customers", default=10_000, show_default=True)
@click.option("--items", default=5_000, show_default=True)
@click.option("--interactions", default=100_000, show_default=True, help="Actions in all.")
@click.option("--days", default=90, show_default=True)
@click.option("--end-date", type=_day, help="Last day; yesterday by default.")
@click.option("--seed", default=0, show_default=True)
def generate(
    customers: int, items: int, interactions: int, days: int, end_date: datetime | None, seed: int
) -> None:
    """Write sample raw data that a model can learn from."""
    from training_assets.sample.generate import SampleSpec
    from training_assets.sample.generate import generate as generate_sample

    spec = SampleSpec(
        customers=customers,
        items=items,
        interactions=interactions,
        days=days,
        end_date=end_date.date() if end_date else _yesterday(),
        seed=seed,
    )
    started = time.monotonic()
    summary = generate_sample(_lake().root, spec, progress=_progress())
    _console.print(
        f"{sum(summary.rows.values()):,} raw rows of {summary.days} days in "
        f"{_lake().root / 'raw'} ({time.monotonic() - started:.1f} s)"
    )


@main.command()
@click.argument("name", type=click.Choice(["completejourney"]))
def example(name: str) -> None:
    """Import a public data set into the raw layout."""
    from training_assets.sample.completejourney import import_completejourney

    started = time.monotonic()
    summary = import_completejourney(_lake().root, progress=_progress())
    _console.print(
        f"{name}: {sum(summary.rows.values()):,} raw rows of {summary.days} days in "
        f"{_lake().root / 'raw'} ({time.monotonic() - started:.1f} s)"
    )


@main.command()
@click.option("--start-date", type=_day, help="First day; 13 days before the last by default.")
@click.option("--end-date", type=_day, help="Last day; the last raw impressions by default.")
@click.option("--force", is_flag=True, help="Build days again that are up to date.")
def run(start_date: datetime | None, end_date: datetime | None, force: bool) -> None:
    """Build all three tables for a range of days, and what of their look-back is missing.

    Days that are published and up to date are left alone. An empty lake gets sample data first.
    """
    lake, settings = _lake(), Settings.from_env()
    started = time.monotonic()
    if not any(raw_days(lake.root, table) for table in RAW_TABLES.values()):
        _console.print(f"{lake.root / 'raw'} is empty: generating sample data")
        click.get_current_context().invoke(generate)
    days = _requested_days(lake, start_date, end_date)
    freshness = Freshness(lake, settings)
    before = _look_back_days(lake, settings, days)
    stale_before = freshness.outdated(UNIFIED_ACTIONS, before)
    stale = days if force else _stale_days(freshness, days, bool(stale_before))
    is_ok = True
    if stale_before:
        is_ok &= _dagster_run(stale_before, (UNIFIED_ACTIONS,))
    if stale:
        is_ok &= _dagster_run(stale, tuple(TABLES.values()))
    else:
        _console.print(f"{days[0]} to {days[-1]}: all days are published and up to date")
    _print_days(lake, days)
    _console.print(
        f"{lake.table_path(TRAINING_INPUT.name)} ({time.monotonic() - started:.1f} s)",
        soft_wrap=True,
    )
    if not is_ok:
        sys.exit(1)


@main.command()
@click.option("--start-date", type=_day, required=True)
@click.option("--end-date", type=_day, required=True)
@click.option("--asset", type=click.Choice(list(TABLES)), help="One table; all by default.")
def check(start_date: datetime, end_date: datetime, asset: str | None) -> None:
    """Run the checks over what is published; exit 1 if one of error level fails."""
    from training_assets.checks import CheckResult
    from training_assets.engine import SparkResource
    from training_assets.pipeline import check_days

    days = _span(start_date.date(), end_date.date())
    tables = [TABLES[asset]] if asset else list(TABLES.values())
    spark = SparkResource.from_env()
    found: dict[tuple[str, str, str], list[CheckResult]] = {}
    started = time.monotonic()
    with spark.session() as session:
        for result in check_days(session, _lake(), Settings.from_env(), tables, days):
            key = (result.check.table, result.check.name, result.check.severity)
            found.setdefault(key, []).append(result)
    grid = Grid("table", "check", "level", "passed", "failed")
    problems = []
    for (table, name, severity), results in found.items():
        failed = [result for result in results if not result.passed]
        grid.add_row(table, name, severity, str(len(results) - len(failed)), str(len(failed)))
        problems += [(severity, f"{table}.{name} {r.day}: {r.message}") for r in failed]
    _console.print(grid)
    for severity, message in problems:
        _console.print(f"{severity}: {message}", markup=False, soft_wrap=True)
    _console.print(f"{len(days)} days in {time.monotonic() - started:.1f} s")
    if any(severity == "error" for severity, _ in problems):
        sys.exit(1)


@main.command()
@click.option("--source", type=click.Choice(list(RAW_TABLES)), help="One raw table.")
@click.option("--limit", default=50, show_default=True, help="Rows to show.")
def quarantine(source: str | None, limit: int) -> None:
    """Show raw rows that no table could take, with the reason and the file."""
    folder = _lake().root / "quarantine"
    if not folder.is_dir():
        _console.print("The quarantine is empty.")
        return
    rows = ds.dataset(folder, format="parquet", partitioning="hive").to_table()
    if source:
        rows = rows.filter(ds.field("source") == source)
    grid = Grid("source", "dt", "reason", "file", "content")
    for row in rows.slice(0, limit).to_pylist():
        cells = (row[name] for name in ("source", "dt", "reason", "source_file", "content"))
        grid.add_row(*(_as_text(cell) for cell in cells))
    _console.print(grid)
    _console.print(f"{min(limit, len(rows))} of {len(rows)} rows")


@main.command()
@click.option("--port", default=3000, show_default=True)
def ui(port: int) -> None:
    """Serve the Dagster UI on the same instance, with its daemon for backfills and schedules."""
    with _instance_home():
        dagster = Path(sys.executable).with_name("dagster")
        has_workspace = Path("workspace.yaml").exists()
        where = ["-w", "workspace.yaml"] if has_workspace else ["-m", "training_assets.definitions"]
        # Replaces this process, so that Ctrl-C and signals reach the server itself.
        os.execv(dagster, [str(dagster), "dev", *where, "-p", str(port)])


def _as_text(cell: Any) -> str:
    # Escaped, because markup in the data must not become colours or links here.
    from rich.markup import escape

    return escape(str(cell))


def _lake() -> Lake:
    return Lake(Settings.from_env().lake.absolute())


def _yesterday() -> date:
    return datetime.now(UTC).date() - timedelta(days=1)


def _progress() -> Callable[[str], None]:
    return lambda message: _console.print(message, markup=False, soft_wrap=True)


def _span(first: date, last: date) -> list[date]:
    if last < first:
        raise SettingsError(
            f"--start-date: {first} is after --end-date {last}; expected it not to be. Swap them."
        )
    return day_range(first, last)


def _requested_days(lake: Lake, start: datetime | None, end: datetime | None) -> list[date]:
    shown = raw_days(lake.root, IMPRESSIONS)
    if not shown and not (start and end):
        raise SettingsError(
            f"run: {lake.root / 'raw' / 'impressions'} has no days; expected one folder dt=… a "
            "day. Deliver impressions, or name --start-date and --end-date."
        )
    last = end.date() if end else shown[-1]
    default = last - timedelta(days=_DEFAULT_DAYS - 1)
    first = start.date() if start else max(default, min(shown[0], last) if shown else default)
    return _span(first, last)


def _look_back_days(lake: Lake, settings: Settings, days: list[date]) -> list[date]:
    """Days before the requested ones whose actions count for them and that have raw data."""
    start = settings.window_start(days[0])
    present = [set(raw_days(lake.root, source)) for source in ACTION_SOURCES]
    whole = set.intersection(*(p for p in present if p)) if any(present) else set()
    if settings.missing_raw == "empty":
        whole = set.union(*present)
    return sorted(d for d in whole if d < days[0] and (start is None or d >= start))


def _stale_days(freshness: Freshness, days: list[date], is_history_stale: bool) -> list[date]:
    if is_history_stale:
        return days
    actions = freshness.outdated(UNIFIED_ACTIONS, days)
    if actions:
        # Later histories read these days; whether they differ is known only after the build.
        return [day for day in days if day >= actions[0]]
    tables: tuple[Table, ...] = (CUSTOMER_HISTORY, TRAINING_INPUT)
    stale = {day for table in tables for day in freshness.outdated(table, days)}
    return sorted(stale)


@contextmanager
def _instance_home() -> Iterator[None]:
    """DAGSTER_HOME, by default beside the lake, with telemetry off."""
    home = Path(os.environ.get("DAGSTER_HOME", "").strip() or _lake().root.parent / "dagster")
    home = home.absolute()
    home.mkdir(parents=True, exist_ok=True)
    config = home / "dagster.yaml"
    if not config.exists():
        config.write_text(_INSTANCE_YAML)
    os.environ["DAGSTER_HOME"] = str(home)
    # Runs that the UI starts must find the same lake, wherever they are started from.
    os.environ["TRAINING_ASSETS_LAKE"] = str(_lake().root)
    yield


def _dagster_run(days: list[date], tables: tuple[Table, ...]) -> bool:
    """One Dagster run over the range that spans ``days``; whether it succeeded."""
    with _instance_home(), dg.DagsterInstance.get() as instance:
        from training_assets.definitions import BACKFILL_JOB, RUN_CONFIG, defs

        names = ", ".join(table.name for table in tables)
        _console.print(f"{days[0]} to {days[-1]}: {names}")
        result = defs.resolve_job_def(BACKFILL_JOB).execute_in_process(
            instance=instance,
            asset_selection=[dg.AssetKey(table.name) for table in tables],
            tags={
                "dagster/asset_partition_range_start": str(days[0]),
                "dagster/asset_partition_range_end": str(days[-1]),
            },
            run_config=dict(RUN_CONFIG),
            raise_on_error=False,
        )
        return result.success


def _print_days(lake: Lake, days: list[date]) -> None:
    """One row per day: what is published, and the seconds that building it took."""
    grid = Grid("day", "training rows", "customers", "positives", "median history", "seconds")
    for column in grid.columns[1:]:
        column.justify = "right"
    published = {
        name: set(lake.days(name)) for name in (CUSTOMER_HISTORY.name, TRAINING_INPUT.name)
    }
    seconds = _build_seconds()
    for day in days:
        if not all(day in found for found in published.values()):
            grid.add_row(str(day), "not published", "", "", "", "")
            continue
        rows = lake.manifest(TRAINING_INPUT.name, day)["figures"]
        history = lake.manifest(CUSTOMER_HISTORY.name, day)["figures"]
        grid.add_row(
            str(day),
            f"{rows['rows']:,}",
            f"{rows['customers']:,}",
            f"{rows['positives']:,}",
            f"{history['median_length']:g}",
            f"{seconds[str(day)]:.2f}" if str(day) in seconds else "",
        )
    _console.print(grid)


def _build_seconds() -> dict[str, float]:
    """By day: the seconds of its latest materializations, over the three tables."""
    totals: dict[str, float] = {}
    with _instance_home(), dg.DagsterInstance.get() as instance:
        for name in TABLES:
            latest: dict[str, float] = {}
            for record in instance.fetch_materializations(dg.AssetKey(name), limit=400).records:
                event = record.asset_materialization
                if event is None or event.partition in latest or event.partition is None:
                    continue
                latest[event.partition] = sum(
                    float(str(value.value))
                    for key, value in event.metadata.items()
                    if key.startswith("seconds_")
                )
            for day, value in latest.items():
                totals[day] = totals.get(day, 0.0) + value
    return totals


if __name__ == "__main__":
    main()
