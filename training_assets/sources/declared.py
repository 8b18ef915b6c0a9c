"""``sources.toml``: what a shop's sources have of their own, declared and not coded.

    [clicks]
    path = "s3://shop-events/clicks/year={year}/month={month}/day={day}"
    format = "jsonl"
    columns = { customer_id = "user.id", click_time = { from = "ts", unit = "ms" } }
    time_zone = "Europe/Berlin"

    [clicks.csv]
    delimiter = ";"
    null = ["", "NULL"]

    [add_to_carts]
    absent = true

    [likes]                    # a further source of actions, of any name
    kind = "like"
    columns = { customer_id = "uid", item_id = "product", occurred_at = "at" }

    [interactions]
    rows = "events"            # each element of that array is a row
    dedupe = "exact"           # of equal rows one counts
    returns = "subtract"       # a purchase below zero was taken back; else it is set aside
    columns.interaction_type = { from = "events.type", values = { buy = "purchase" } }
    columns.page_context = { value = "home" }

    [items]
    snapshot = "changes"       # a day has what has changed only

It lies at ``<lake>/sources.toml``, or where ``TRAINING_ASSETS_SOURCES`` says. What it does not
declare is as the contract has it: ``raw/<source>/dt=YYYY-MM-DD/``.
"""

import os
from typing import Final

from training_assets.errors import SettingsError
from training_assets.lake import Lake, open_store
from training_assets.schemas import ACTION_SOURCES, Table
from training_assets.sources.declaration import Declarations, Declared
from training_assets.sources.declaring import parse

__all__ = ["Declarations", "Declared", "action_sources", "declarations", "further_sources", "parse"]

VARIABLE: Final = "TRAINING_ASSETS_SOURCES"
FILE: Final = "sources.toml"


def further_sources(lake: Lake) -> tuple[Table, ...]:
    """Sources of actions that the lake's ``sources.toml`` adds to those of the contract."""
    return declarations(lake).further


def action_sources(lake: Lake) -> tuple[Table, ...]:
    """All sources of actions of one kind, the contract's own first."""
    return (*ACTION_SOURCES, *further_sources(lake))


# --- reading it -----------------------------------------------------------------------------------


_read_before: dict[tuple[str, bytes], Declarations] = {}


def declarations(lake: Lake) -> Declarations:
    """What the lake's ``sources.toml`` says; nothing where there is none.

    Raises ``SettingsError`` that names file, table and key, and the nearest key that is known;
    ``StoreError`` where the store does not answer.
    """
    where, content = _content(lake)
    if content is None:
        return Declarations()
    if (where, content) not in _read_before:
        _read_before[where, content] = parse(content, where)
    return _read_before[where, content]


def _content(lake: Lake) -> tuple[str, bytes | None]:
    named = os.environ.get(VARIABLE, "").strip()
    if not named:
        try:
            return lake.store.uri(FILE), lake.store.read(FILE)
        except FileNotFoundError:
            return "", None
    folder, _, name = os.path.expanduser(named).rpartition("/")
    try:
        return named, open_store(folder or ".").read(name)
    except OSError as error:
        raise SettingsError(
            f"{VARIABLE}: {named} cannot be read ({error}); expected a file like {FILE}. "
            "Correct the variable, or unset it."
        ) from None
