"""Commands that write raw data to try the platform with."""

import time
from datetime import datetime

import click

from training_assets.cli.console import DAY, console, open_lake, progress, yesterday


@click.command()
@click.option("--customers", default=10_000, show_default=True)
@click.option("--items", default=5_000, show_default=True)
@click.option("--interactions", default=100_000, show_default=True, help="Actions in all.")
@click.option("--days", default=90, show_default=True)
@click.option("--end-date", type=DAY, help="Last day; yesterday by default.")
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
        end_date=end_date.date() if end_date else yesterday(),
        seed=seed,
    )
    started = time.monotonic()
    summary = generate_sample(open_lake(), spec, progress=progress())
    console.print(
        f"{sum(summary.rows.values()):,} raw rows of {summary.days} days in "
        f"{open_lake().raw.url} ({time.monotonic() - started:.1f} s)"
    )


@click.command()
@click.argument("name", type=click.Choice(["completejourney"]))
def example(name: str) -> None:
    """Import a public data set into the raw layout."""
    from training_assets.sample.completejourney import import_completejourney

    started = time.monotonic()
    summary = import_completejourney(open_lake(), progress=progress())
    console.print(
        f"{name}: {sum(summary.rows.values()):,} raw rows of {summary.days} days in "
        f"{open_lake().raw.url} ({time.monotonic() - started:.1f} s)"
    )
