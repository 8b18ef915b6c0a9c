"""The command that lets go of what is older than it is kept."""

import json
from datetime import UTC, datetime

import click
from rich.table import Table as Grid

from training_assets.cli.console import console, open_lake
from training_assets.cli.progress import told
from training_assets.lake import days_in_words
from training_assets.retention import (
    Plan,
    RetentionSettings,
    apply_plan,
    lifecycle_rules,
    plan_retention,
)
from training_assets.settings import Settings


@click.command()
@click.option("--apply", "is_applied", is_flag=True, help="Do it; without, only say what would go.")
@click.option("--lifecycle", is_flag=True, help="Print the rules for an object store as JSON.")
def retention(is_applied: bool, lifecycle: bool) -> None:
    """Say what is older than it is kept: what would go, why, and how many bytes.

    Days that others which stay are built from are held, and so are those of splits and exports.
    """
    lake, settings, kept = open_lake(), Settings.from_env(), RetentionSettings.from_env()
    if lifecycle:
        click.echo(json.dumps(lifecycle_rules(lake, kept), indent=1))
        return
    plan = plan_retention(lake, settings, kept, datetime.now(UTC).date())
    _print_plan(plan)
    if not is_applied:
        console.print("Nothing was removed. Run again with --apply.")
        return
    with told() as progress:
        freed = sum(done.freed for done in apply_plan(lake, settings, plan, progress))
    console.print(f"{freed:,} bytes are free.")


def _print_plan(plan: Plan) -> None:
    grid = Grid("what", "of", "days", "bytes", "because of")
    grid.columns[3].justify = "right"
    for step in plan.steps:
        days = days_in_words(step.days)
        grid.add_row(step.action, step.name, days, f"{step.bytes:,}", step.why)
    if plan.steps:
        console.print(grid)
    else:
        console.print("Nothing is older than it is kept.")
    for held in plan.held:
        text = f"held: {held.name} {days_in_words(held.days)}: {held.why}"
        console.print(text, markup=False, soft_wrap=True)
