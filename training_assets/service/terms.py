"""What a tenant's ``sources.toml`` says of what is delivered to the service.

Deliveries have the columns of the table, whatever a shop's own files look like: ``path``,
``format``, ``columns``, ``where``, ``rows`` and ``csv`` are of files that it files itself. All else
holds here too: ``time_zone``, ``returns`` and ``id`` decide which rows are taken, the others what
the platform makes of them.
"""

from typing import Final, NamedTuple

from training_assets.errors import SettingsError
from training_assets.lake import Lake
from training_assets.schemas import SHOP_TABLES
from training_assets.service.problems import Problem
from training_assets.sources import declarations
from training_assets.sources.rules import NO_TERMS, Terms


class Deliveries(NamedTuple):
    """How deliveries of one kind are judged."""

    time_zone: str = ""
    terms: Terms = NO_TERMS


PLAIN: Final = Deliveries()


def deliveries_of(lake: Lake, data_type: str) -> Deliveries:
    """What holds for the tenant whose lake it is.

    Raises ``Problem`` 501 where the platform would not read what is delivered here, 503 where
    what is declared is not valid; ``StoreError`` where the store does not answer.
    """
    try:
        found = declarations(lake)
    except SettingsError as error:
        # What it says is not for clients: it names places.
        raise Problem(
            "unavailable", "What is declared of this tenant's sources is not valid."
        ) from error
    declared = found.of(SHOP_TABLES[data_type])
    if declared.is_absent or not _is_raw(lake, data_type, declared.path):
        raise Problem(
            "not_configured",
            f"The {data_type} of this tenant are declared to be "
            f"{'absent' if declared.is_absent else 'read from elsewhere'}; what is delivered here "
            "would not be read.",
        )
    return Deliveries(declared.reading.zone, Terms(declared.reading.takes_returns, found.text_ids))


def _is_raw(lake: Lake, data_type: str, path: str) -> bool:
    """Whether the days of a declared path are the folders that the service files under."""
    return path.removeprefix(f"{lake.store.url}/") in ("", f"raw/{data_type}/dt={{dt}}")
