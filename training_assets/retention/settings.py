"""For how long what is kept, in days, and the environment variables that say so.

| variable                            | default | meaning                                        |
|-------------------------------------|---------|------------------------------------------------|
| TRAINING_ASSETS_KEEP_RAW_DAYS       | 730     | raw data, and tables that are made of it alone |
| TRAINING_ASSETS_COLD_AFTER_DAYS     | 90      | after which raw data goes to the cold tier     |
| TRAINING_ASSETS_KEEP_FEATURES_DAYS  | 365     | histories, features, and all that looks back   |
| TRAINING_ASSETS_KEEP_TRAINING_DAYS  | 183     | training input and samples                     |
| TRAINING_ASSETS_KEEP_READ_LOGS_DAYS | 90      | logs of online reads                           |
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Final

from training_assets.errors import SettingsError
from training_assets.settings import Settings
from training_assets.tables import TableSpec

_PREFIX: Final = "TRAINING_ASSETS_"


@dataclass(frozen=True)
class RetentionSettings:
    """A day stays while it is at most so many days old."""

    keep_raw_days: int = 730
    cold_after_days: int = 90
    keep_features_days: int = 365
    keep_training_days: int = 183
    keep_read_logs_days: int = 90

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise SettingsError(
                    f"retention: {field.name} is {value!r}; expected a whole number of days of at "
                    f"least 1. Set {_variable(field.name)}."
                )
        if self.cold_after_days > self.keep_raw_days:
            raise _contradiction(
                f"cold_after_days is {self.cold_after_days} and keep_raw_days {self.keep_raw_days}",
                "raw data to go to the cold tier before it goes for good",
                "keep_raw_days",
                "cold_after_days",
            )

    @classmethod
    def from_env(cls, env: Mapping[str, str] | None = None) -> "RetentionSettings":
        """Raises ``SettingsError`` naming the variable."""
        values = os.environ if env is None else env
        found = {}
        for field in fields(cls):
            name = _variable(field.name)
            if text := values.get(name, "").strip():
                try:
                    found[field.name] = int(text)
                except ValueError:
                    raise SettingsError(
                        f"retention: {name} is {text!r}; expected a whole number. Correct it."
                    ) from None
        return cls(**found)

    def kept_days(self, spec: TableSpec) -> int:
        """For how long days of a table are kept."""
        return int(getattr(self, self.name_of(spec)))

    def name_of(self, spec: TableSpec) -> str:
        """The setting that says so."""
        upstream = spec.built_from.upstream
        derived = "raw" if not upstream else "training"
        if any(of.looks_back for of in upstream):
            derived = "features"
        return f"keep_{spec.kept or derived}_days"

    def require_consistent(self, settings: Settings, specs: Mapping[str, TableSpec]) -> None:
        """Raise where a table would be kept longer than what its days are judged by."""
        for spec in specs.values():
            mine, kept = self.name_of(spec), self.kept_days(spec)
            if spec.built_from.sources and kept > self.keep_raw_days:
                raise _contradiction(
                    f"{mine} is {kept} and keep_raw_days {self.keep_raw_days}",
                    f"to keep raw data for as long as {spec.name}, which is made of it",
                    "keep_raw_days",
                    mine,
                )
            for upstream in spec.built_from.upstream:
                if upstream.name not in specs:
                    continue
                theirs = self.name_of(specs[upstream.name])
                has = self.kept_days(specs[upstream.name])
                back = settings.lookback_days if upstream.looks_back else 0
                if back is None or kept + back > has:
                    look_back = "none (unlimited)" if back is None else back
                    raise _contradiction(
                        f"{mine} is {kept}, lookback_days {look_back} and {theirs} {has}"
                        if upstream.looks_back
                        else f"{mine} is {kept} and {theirs} {has}",
                        f"to keep {upstream.name} as long as days of {spec.name} are judged by it"
                        + ("" if back is None else f" ({kept + back} days)"),
                        theirs,
                        mine,
                    )


def _variable(name: str) -> str:
    return _PREFIX + name.upper()


def _contradiction(found: str, expected: str, raised: str, lowered: str) -> SettingsError:
    return SettingsError(
        f"retention: {found}; expected {expected}. Raise {_variable(raised)} or lower "
        f"{_variable(lowered)}."
    )
