"""The tables from actions to training input, for tests that speak of these and of no others."""

from typing import Final

from training_assets.tables import SPECS, TableSpec

SEQUENCE: Final[dict[str, TableSpec]] = {
    name: SPECS[name] for name in ("unified_actions", "customer_history", "training_input")
}
