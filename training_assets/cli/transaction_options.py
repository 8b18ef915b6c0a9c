"""Options of the commands on transactions; each is a setting, and wins over its variable."""

from collections.abc import Callable
from decimal import Decimal
from typing import Any, Final

import click


class _Seconds(click.ParamType):
    """A number of seconds, also written 1s."""

    name = "seconds"

    def convert(self, value: Any, param: Any, ctx: Any) -> float:
        try:
            seconds = float(str(value).removesuffix("s"))
        except ValueError:
            seconds = -1.0
        if seconds < 0:
            self.fail(f"{value!r} is no number of seconds; expected for example 1s", param, ctx)
        return seconds


class _Decimal(click.ParamType):
    name = "number"

    def convert(self, value: Any, param: Any, ctx: Any) -> Decimal:
        from training_assets.transactions.settings import parse_decimal

        try:
            return value if isinstance(value, Decimal) else parse_decimal(str(value))
        except ValueError:
            self.fail(f"{value!r} is no plain number; expected for example 0.10", param, ctx)


WORKDIR: Final = click.option("--workdir", help="Place of raw, detections and temp; a path or URL.")
SOURCES: Final = (
    WORKDIR,
    click.option("--transactions", help="CSV file of transactions, also .gz; a path or URL."),
    click.option("--importance", help="CSV file of weights, also .gz; a path or URL."),
)
DATABASE: Final = click.option(
    "--database", help="postgresql://… or the folder of a server of our own."
)
LIMITS: Final = (
    DATABASE,
    click.option("--upgrade-min-transactions", type=int, help="Of a merchant, more than: 50000."),
    click.option("--upgrade-top", type=_Decimal(), help="Share by number, at most: 0.10."),
    click.option("--upgrade-bottom", type=_Decimal(), help="Share by weight, at most: 0.10."),
    click.option("--child-max-average", type=_Decimal(), help="Average amount, below: 23."),
    click.option("--child-min-transactions", type=int, help="At least: 80."),
    click.option("--women-min", type=int, help="Female customers, more than: 100."),
    click.option("--file-rows", type=int, help="Detections a file: 50."),
    click.option("--emit", type=click.Choice(["once", "changes"]), help="Also when one ends."),
    click.option("--flush-after", type=_Seconds(), help="Without a chunk, until export: 5s."),
)
CHUNK_ROWS: Final = click.option("--chunk-rows", type=int, help="Rows a chunk: 10000.")
EVERY: Final = click.option("--every", type=_Seconds(), default="1s", show_default=True)
DRAIN: Final = click.option("--drain", is_flag=True, help="All at once, then end.")
DRIVER: Final = click.option(
    "--driver",
    type=click.Choice(["auto", "stream", "ledger"]),
    default="auto",
    help="Spark's foreachBatch, or the loop over the ledger; by engine.",
)


def with_options(*options: Any) -> Callable[[Callable[..., None]], Callable[..., None]]:
    def decorate(function: Callable[..., None]) -> Callable[..., None]:
        for option in reversed(options):
            function = option(function)
        return function

    return decorate
