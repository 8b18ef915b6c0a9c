"""Commands that hand samples out: as files, and as days of training, validation and test."""

import time
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import click
from rich.table import Table as Grid

from training_assets.cli.console import DAY, console, open_lake
from training_assets.errors import SettingsError
from training_assets.lake import Lake, days_in_words
from training_assets.loader.parts import SPLITS, Counted, DaySplit, split_days
from training_assets.pipeline import span
from training_assets.schemas import TRAINING_INPUT, TRAINING_SAMPLES
from training_assets.tables import SPECS

_SPLIT_TABLES: Final = (TRAINING_SAMPLES.name, TRAINING_INPUT.name)


@click.group()
def export() -> None:
    """Write published days as files for others."""


@export.command()
@click.option("--start-date", type=DAY, required=True, help="First day.")
@click.option("--end-date", type=DAY, required=True, help="Last day.")
@click.option(
    "--format",
    "file_format",
    type=click.Choice(["csv", "parquet"]),
    default="csv",
    show_default=True,
    help="Of the file.",
)
@click.option("--without-features", is_flag=True, help="Only user_id, item_id and label.")
@click.option(
    "--output", help="Path or URL of the file; exports/samples-START-END in the lake by default."
)
def samples(
    start_date: datetime,
    end_date: datetime,
    file_format: Any,
    without_features: bool,
    output: str | None,
) -> None:
    """Write training samples as one file: user_id,item_id,label and the other columns.

    In CSV, text that begins with = + - or @ gets an apostrophe in front, so that no spreadsheet
    takes it for a formula.
    """
    from training_assets.sampling.export import export_samples

    started = time.monotonic()
    days = span(start_date.date(), end_date.date())
    lake = open_lake()
    name = f"exports/samples-{days[0]}-{days[-1]}.{file_format}"
    target = output or lake.store.uri(name)
    if "://" not in target:
        target = str(Path(target).absolute())
    rows = export_samples(
        lake.snapshot(TRAINING_SAMPLES.name),
        SPECS[TRAINING_SAMPLES.name].table,
        days,
        target,
        file_format,
        with_features=not without_features,
    )
    seconds = time.monotonic() - started
    console.print(f"{rows:,} rows in {target} ({seconds:.1f} s)", markup=False, soft_wrap=True)


@click.command()
@click.option("--start-date", type=DAY, required=True, help="First day.")
@click.option("--end-date", type=DAY, required=True, help="Last day.")
@click.option(
    "--ratios",
    default="0.7,0.1,0.2",
    show_default=True,
    help="Of the rows, for train, validation and test.",
)
@click.option(
    "--gap-days", type=int, default=0, show_default=True, help="Days left out before each cut."
)
@click.option(
    "--table",
    type=click.Choice(_SPLIT_TABLES),
    help="Whose rows count; training_samples by default, or training_input where there are none.",
)
@click.option("--output", type=click.Path(dir_okay=False), help="Another file than the lake's.")
def split(
    start_date: datetime,
    end_date: datetime,
    ratios: str,
    gap_days: int,
    table: str | None,
    output: str | None,
) -> None:
    """Cut published days into train, validation and test, by whole days, and write splits.json.

    The loader reads it: TrainingDays(lake, batch_size=4096, split="train").
    """
    from training_assets.splits import exact_ratios

    lake, days = open_lake(), span(start_date.date(), end_date.date())
    name = table or next((t for t in _SPLIT_TABLES if lake.days(t)), TRAINING_SAMPLES.name)
    snapshot = lake.snapshot(name)
    published = [day for day in days if day in snapshot.files]
    manifests = snapshot.manifests(published)
    counted = [
        Counted(day, manifests[day]["rows"], manifests[day]["figures"].get("positives", 0))
        for day in published
    ]
    missing = sorted(set(days) - set(published))
    found = split_days(
        counted,
        exact_ratios(_numbers(ratios)),
        table=name,
        gap_days=gap_days,
        left_out=missing,
        versions={t: v for t in SPECS if (v := lake.snapshot(t).version) >= 0},
    )
    if output:
        Path(output).parent.mkdir(parents=True, exist_ok=True)
        Path(output).write_bytes(found.as_json())
    else:
        lake.store.put(SPLITS, found.as_json())
    if missing:
        console.print(f"{name}: not published, left out: {days_in_words(missing)}")
    _print_split(lake, found, output)


def _numbers(ratios: str) -> list[Any]:
    from fractions import Fraction

    try:
        return [Fraction(part.strip()) for part in ratios.split(",")]
    except (ValueError, ZeroDivisionError):
        raise SettingsError(
            f"--ratios: {ratios} is no list of numbers; expected three, as 0.7,0.1,0.2. Correct it."
        ) from None


def _print_split(lake: Lake, found: DaySplit, output: str | None) -> None:
    grid = Grid("part", "days", "first", "last", "rows", "positives")
    for column in (grid.columns[1], *grid.columns[4:]):
        column.justify = "right"
    for name, part in found.parts.items():
        days = part["days"]
        numbers = (f"{part['rows']:,}", f"{part['positives']:,}")
        grid.add_row(name, str(len(days)), days[0], days[-1], *numbers)
    console.print(grid)
    console.print(output or lake.store.uri(SPLITS), markup=False, soft_wrap=True)
