"""Typed knobs, and the environment variables that set them.

| variable                        | default   | meaning                                      |
|---------------------------------|-----------|----------------------------------------------|
| TRAINING_ASSETS_LAKE            | data/lake | root of all tables                           |
| TRAINING_ASSETS_START_DATE      | 2024-01-01| first partition                              |
| TRAINING_ASSETS_HISTORY_LENGTH  | 1000      | actions per history                          |
| TRAINING_ASSETS_LOOKBACK_DAYS   | 365       | days per history; "none" is unlimited        |
| TRAINING_ASSETS_MISSING_RAW     | error     | "empty" takes an absent raw day as empty     |
| TRAINING_ASSETS_CHECK_CUSTOMERS | 1000      | customers a day; above, leakage is sampled   |
| TRAINING_ASSETS_LOCK_WAIT       | 3600      | seconds to wait for a day that is being built|

The engine has its own variables; see ``engine/resource.py``.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Final, Literal, cast

from training_assets.errors import SettingsError

DEFAULT_HISTORY_LENGTH: Final = 1000
DEFAULT_LOOKBACK_DAYS: Final = 365
_PREFIX: Final = "TRAINING_ASSETS_"


def validate_window(where: str, history_length: int, lookback_days: int | None) -> None:
    """Raise ``SettingsError`` unless both knobs can work."""
    if history_length < 1:
        raise SettingsError(
            f"{where}: history_length is {history_length}; expected at least 1. "
            "Raise history_length."
        )
    if lookback_days is not None and lookback_days < 1:
        raise SettingsError(
            f"{where}: lookback_days is {lookback_days}; expected at least 1, or None for "
            "unlimited. Raise lookback_days."
        )


@dataclass(frozen=True)
class Settings:
    """What a run does, apart from the engine that does it.

    ``history_length`` is in actions, ``lookback_days`` in days (None is unlimited),
    ``check_customers`` the number of customers per day up to which leakage is checked in full,
    ``lock_wait_seconds`` how long a run waits for one that builds the same days (0: not at all).
    """

    lake: Path = Path("data/lake")
    start_date: date = date(2024, 1, 1)
    history_length: int = DEFAULT_HISTORY_LENGTH
    lookback_days: int | None = DEFAULT_LOOKBACK_DAYS
    missing_raw: Literal["error", "empty"] = "error"
    check_customers: int = 1_000
    lock_wait_seconds: int = 3_600

    def __post_init__(self) -> None:
        validate_window("settings", self.history_length, self.lookback_days)
        if self.missing_raw not in ("error", "empty"):
            raise SettingsError(
                f"settings: missing_raw is {self.missing_raw!r}; expected 'error' or 'empty'. "
                f"Set {_PREFIX}MISSING_RAW."
            )
        if self.check_customers < 1:
            raise SettingsError(
                f"settings: check_customers is {self.check_customers}; expected at least 1. "
                f"Set {_PREFIX}CHECK_CUSTOMERS."
            )
        if self.lock_wait_seconds < 0:
            raise SettingsError(
                f"settings: lock_wait_seconds is {self.lock_wait_seconds}; expected at least 0. "
                f"Set {_PREFIX}LOCK_WAIT."
            )

    @classmethod
    def from_env(cls, env: Mapping[str, str] | None = None) -> "Settings":
        """Settings from environment variables; raises ``SettingsError`` naming the variable."""
        values = os.environ if env is None else env

        def text(name: str, default: str) -> str:
            return values.get(_PREFIX + name, "").strip() or default

        lookback = text("LOOKBACK_DAYS", str(DEFAULT_LOOKBACK_DAYS)).lower()
        return cls(
            lake=Path(text("LAKE", "data/lake")),
            start_date=_parse_date("START_DATE", text("START_DATE", "2024-01-01")),
            history_length=_parse_int(
                "HISTORY_LENGTH", text("HISTORY_LENGTH", str(DEFAULT_HISTORY_LENGTH))
            ),
            lookback_days=None if lookback == "none" else _parse_int("LOOKBACK_DAYS", lookback),
            missing_raw=cast(Literal["error", "empty"], text("MISSING_RAW", "error")),
            check_customers=_parse_int("CHECK_CUSTOMERS", text("CHECK_CUSTOMERS", "1000")),
            lock_wait_seconds=_parse_int("LOCK_WAIT", text("LOCK_WAIT", "3600")),
        )

    def window_start(self, day: date) -> date | None:
        """First day whose actions count for an impression on ``day``; None is unlimited."""
        if self.lookback_days is None:
            return None
        return date.fromordinal(max(1, day.toordinal() - self.lookback_days))


def _parse_int(name: str, value: str) -> int:
    try:
        return int(value)
    except ValueError:
        raise SettingsError(
            f"settings: {_PREFIX}{name} is {value!r}; expected a whole number. Correct it."
        ) from None


def _parse_date(name: str, value: str) -> date:
    try:
        return date.fromisoformat(value)
    except ValueError:
        raise SettingsError(
            f"settings: {_PREFIX}{name} is {value!r}; expected a date YYYY-MM-DD. Correct it."
        ) from None
