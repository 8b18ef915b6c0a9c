"""The table that another one is built from, watched for what other runs publish meanwhile."""

from typing import Final

from training_assets.lake import Lake
from training_assets.schemas import CUSTOMER_HISTORY, TRAINING_INPUT, UNIFIED_ACTIONS, Table

_READ_BY: Final = {
    CUSTOMER_HISTORY.name: UNIFIED_ACTIONS.name,
    TRAINING_INPUT.name: CUSTOMER_HISTORY.name,
}


class Upstream:
    """As it stood when a pass over days of ``table`` began.

    All of its days count, because Sail looks into every file of a table that it reads.
    """

    def __init__(self, lake: Lake, table: Table) -> None:
        self._lake = lake
        self._name = _READ_BY.get(table.name)
        self._began = self._folders()

    def has_changed(self) -> bool:
        return self._folders() != self._began

    def _folders(self) -> dict[str, tuple[int, int]]:
        """By day: what tells a folder from the one that takes its place."""
        if self._name is None:
            return {}
        found = {}
        for day in self._lake.days(self._name):
            try:
                stat = self._lake.day_path(self._name, day).stat()
            except FileNotFoundError:
                continue
            found[str(day)] = (stat.st_ino, stat.st_mtime_ns)
        return found
