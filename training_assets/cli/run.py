"""The command line: sample data, runs, checks, what is out of date, the quarantine, the UI.

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
import pyarrow as pa
import pyarrow.parquet as pq
from rich.console import Console
from rich.table import Table as Grid

from training_assets.chosen_days import look_back_days, requested_days, span, stale_days
from training_assets.errors import RawDataError, TrainingAssetsError
from training_assets.freshness import Freshness
from training_assets.lake import Lake, quarantine_files
from training_assets.raw import raw_days
from training_assets.raw_columns import printable
from training_assets.runs import own_run
from training_assets.schemas import (
    CUSTOMER_HISTORY,
    QUARANTINED_BY,
    RAW_TABLES,
    TABLES,
    TRAINING_INPUT,
    UNIFIED_ACTIONS,
    Table,
)
from training_assets.settings import Settings

_INSTANCE_YAML: Final = "telemetry:\n  enabled: false\nnux:\n  enabled: false\n"

_day = click.DateTime(["%Y-%m-%d"])
_console = Console(highlight=False)


class _Commands(click.Group):
    """Errors raised on purpose end in their one sentence and exit code 1."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except TrainingAssetsError as error:
            raise click.ClickException(printable(str(error))) from error


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
        _require_no_files(lake.root / "raw")
        _console.print(f"{lake.root / 'raw'} is empty: generating sample data")
        click.get_current_context().invoke(generate)
    days = requested_days(lake, start_date, end_date)
    freshness = Freshness(lake, settings)
    before = look_back_days(lake, settings, days)
    stale_before = freshness.outdated(UNIFIED_ACTIONS, before)
    stale = days if force else stale_days(freshness, days, bool(stale_before))
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

    days = span(start_date.date(), end_date.date())
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
@click.option("--start-date", type=_day, help="First day to look at; all days by default.")
@click.option("--end-date", type=_day, help="Last day to look at.")
@click.option("--customers", is_flag=True, help="Count whose actions differ; starts the engine.")
def outdated(start_date: datetime | None, end_date: datetime | None, customers: bool) -> None:
    """Say which published days are out of date and why; exit 1 if any is."""
    from training_assets.engine import SparkResource
    from training_assets.late import find_outdated
    from training_assets.late_cli import print_customers, print_outdated

    freshness = Freshness(_lake(), Settings.from_env())
    first, last = (day.date() if day else None for day in (start_date, end_date))
    if first and last:
        span(first, last)
    found = find_outdated(freshness, first, last)
    print_outdated(_console, found)
    if customers and found.buildable(UNIFIED_ACTIONS):
        with SparkResource.from_env().session() as session:
            print_customers(_console, session, freshness, found)
    if found.days:
        sys.exit(1)


@main.command()
@click.option("--dry-run", is_flag=True, help="Only say what would be built.")
def rebuild(dry_run: bool) -> None:
    """Build exactly the published days that are out of date; exit 1 if any stays so."""
    from training_assets import late_cli
    from training_assets.late import find_outdated

    lake, settings = _lake(), Settings.from_env()
    if dry_run:
        late_cli.print_plan(_console, find_outdated(Freshness(lake, settings)))
        return
    done = late_cli.rebuild(lake, settings, _dagster_run)
    late_cli.print_rebuilt(_console, done)
    if any(result.failed for result in done):
        sys.exit(1)


@main.command()
@click.option("--source", type=click.Choice(list(RAW_TABLES)), help="One raw table.")
@click.option("--limit", default=50, show_default=True, help="Rows to show.")
def quarantine(source: str | None, limit: int) -> None:
    """Show raw rows that no table could take, with the reason and the file."""
    lake = _lake()
    sources = [RAW_TABLES[source]] if source else list(RAW_TABLES.values())
    grid = Grid("source", "dt", "reason", "file", "content")
    total, problems = 0, []
    for raw, day, file in _quarantine_files(lake, sources):
        try:
            rows = pq.ParquetFile(file).read().to_pylist()
        except (OSError, pa.ArrowException) as error:
            problems.append(f"{file.relative_to(lake.root)} cannot be read: {error}")
            continue
        total += len(rows)
        for row in rows[: max(0, limit - grid.row_count)]:
            cells = (row[name] for name in ("reason", "source_file", "content"))
            grid.add_row(raw.name, str(day), *(_as_text(cell) for cell in cells))
    if total:
        _console.print(grid)
        _console.print(f"{grid.row_count} of {total} rows")
    elif not problems:
        _console.print("The quarantine is empty.")
    for problem in problems:
        _console.print(problem, markup=False, soft_wrap=True)
    if problems:
        sys.exit(1)


def _quarantine_files(lake: Lake, sources: list[Table]) -> Iterator[tuple[Table, date, Path]]:
    for source in sources:
        (table,) = (name for name, used in QUARANTINED_BY.items() if source in used)
        for day in lake.days(table):
            for file in quarantine_files(lake.day_path(table, day), source):
                yield source, day, file


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
    # Neither markup nor control characters of the data may do anything to the terminal.
    from rich.markup import escape

    return escape(printable(str(cell)))


def _lake() -> Lake:
    return Lake(Settings.from_env().lake.absolute())


def _require_no_files(raw: Path) -> None:
    """Raise where sample data would be mixed with data that lies in no folder of a day."""
    names = (path.relative_to(raw) for path in sorted(raw.rglob("*")) if path.is_file())
    found = next((n for n in names if not any(p.startswith((".", "_")) for p in n.parts)), None)
    if found is not None:
        raise RawDataError(
            f"{raw}: there is no day, but there is {printable(str(found))}; expected folders "
            "<table>/dt=YYYY-MM-DD. Put the files into such folders, or move them away."
        )


def _yesterday() -> date:
    return datetime.now(UTC).date() - timedelta(days=1)


def _progress() -> Callable[[str], None]:
    return lambda message: _console.print(message, markup=False, soft_wrap=True)


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
    with (
        _instance_home(),
        dg.DagsterInstance.get() as instance,
        own_run(instance, _lake().root) as tags,
    ):
        from training_assets.definitions import BACKFILL_JOB, RUN_CONFIG, defs

        names = ", ".join(table.name for table in tables)
        _console.print(f"{days[0]} to {days[-1]}: {names}")
        result = defs.resolve_job_def(BACKFILL_JOB).execute_in_process(
            instance=instance,
            asset_selection=[dg.AssetKey(table.name) for table in tables],
            tags={
                **tags,
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
