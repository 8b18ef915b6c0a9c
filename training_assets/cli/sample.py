"""Commands that write raw data to try the platform with."""

import time
from datetime import datetime
from pathlib import Path
from typing import Literal

import click

from training_assets.cli.console import DAY, console, open_lake, yesterday
from training_assets.cli.progress import told


@click.command()
@click.option("--customers", default=10_000, show_default=True)
@click.option("--items", default=5_000, show_default=True)
@click.option("--interactions", default=100_000, show_default=True, help="Actions in all.")
@click.option("--days", default=90, show_default=True)
@click.option("--end-date", type=DAY, help="Last day; yesterday by default.")
@click.option("--seed", default=0, show_default=True)
@click.option(
    "--ids",
    type=click.Choice(["integer", "text"]),
    default="integer",
    show_default=True,
    help="Text: interactions, items and users only.",
)
def generate(
    customers: int,
    items: int,
    interactions: int,
    days: int,
    end_date: datetime | None,
    seed: int,
    ids: str,
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
    kind: Literal["integer", "text"] = "text" if ids == "text" else "integer"
    with told() as progress:
        summary = generate_sample(open_lake(), spec, progress=progress, ids=kind)
    rows = sum(summary.rows.values()) + sum(summary.shop_rows.values())
    console.print(
        f"{rows:,} raw rows of {summary.days} days in "
        f"{open_lake().raw.url} ({time.monotonic() - started:.1f} s)"
    )


@click.command()
@click.argument("name", type=click.Choice(["completejourney", "banksim"]))
@click.option("--transactions", default=594_643, show_default=True, help="Of banksim.")
@click.option("--seed", default=0, show_default=True, help="Of banksim.")
def example(name: str, transactions: int, seed: int) -> None:
    """Import a public data set into the raw layout, or generate one like BankSim."""
    if name == "banksim":
        _write_banksim(transactions, seed)
        return
    from training_assets.sample.completejourney import import_completejourney

    started = time.monotonic()
    with told() as progress:
        summary = import_completejourney(open_lake(), progress=progress)
    console.print(
        f"{name}: {sum(summary.rows.values()):,} raw rows of {summary.days} days in "
        f"{open_lake().raw.url} ({time.monotonic() - started:.1f} s)"
    )


def _write_banksim(transactions: int, seed: int) -> None:
    from training_assets.sample.banksim import write_banksim
    from training_assets.transactions.settings import DEFAULT_SOURCE

    started = time.monotonic()
    folder = Path(DEFAULT_SOURCE).parent
    with told() as progress:
        write_banksim(folder, transactions=transactions, seed=seed, progress=progress)
    console.print(f"banksim: {folder} ({time.monotonic() - started:.1f} s)")
