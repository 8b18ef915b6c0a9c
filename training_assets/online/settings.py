"""Knobs of the online store, and the environment variables that set them.

| variable                             | default          | meaning                              |
|--------------------------------------|------------------|--------------------------------------|
| TRAINING_ASSETS_ONLINE               | sqlite:, a folder| where values are served from: see    |
|                                      | in the lake      | ``opening.py``                       |
| TRAINING_ASSETS_ONLINE_STALE_HOURS   | 36               | hours since the end of its day after |
|                                      |                  | which an answer is ``stale``         |
| TRAINING_ASSETS_ONLINE_EXPIRES_HOURS | 168              | ... after which it has no values     |
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Final

from training_assets.errors import SettingsError
from training_assets.online.store import EXPIRES_AFTER, STALE_AFTER
from training_assets.settings import Settings

_PREFIX: Final = "TRAINING_ASSETS_ONLINE"
_DEFAULT_FOLDER: Final = "data/online"


@dataclass(frozen=True)
class OnlineSettings:
    """``url`` may hold a password, so it is not shown."""

    url: str = field(repr=False)
    stale_after: timedelta = STALE_AFTER
    expires_after: timedelta = EXPIRES_AFTER

    def __post_init__(self) -> None:
        if not timedelta(0) < self.stale_after <= self.expires_after:
            raise SettingsError(
                f"online: stale_after is {self.stale_after} and expires_after "
                f"{self.expires_after}; expected the first to be positive and no longer than the "
                f"second. Correct {_PREFIX}_STALE_HOURS or {_PREFIX}_EXPIRES_HOURS."
            )

    @classmethod
    def from_env(
        cls, env: Mapping[str, str] | None = None, *, lake: str | None = None
    ) -> "OnlineSettings":
        """Raises ``SettingsError`` naming the variable; ``lake`` is that of the settings."""
        values = os.environ if env is None else env
        url = values.get(_PREFIX, "").strip()
        if url in ("", "sqlite:"):
            url = f"sqlite:{default_folder(lake or Settings.from_env(values).lake)}"
        return cls(
            url,
            _hours(values, "STALE_HOURS", STALE_AFTER),
            _hours(values, "EXPIRES_HOURS", EXPIRES_AFTER),
        )


def default_folder(lake: str) -> str:
    """Beside the tables of a local lake; of another, a folder of this machine."""
    return _DEFAULT_FOLDER if "://" in lake else f"{lake}/online"


def _hours(values: Mapping[str, str], name: str, default: timedelta) -> timedelta:
    text = values.get(f"{_PREFIX}_{name}", "").strip()
    if not text:
        return default
    try:
        return timedelta(hours=float(text))
    except (ValueError, OverflowError):
        raise SettingsError(
            f"online: {_PREFIX}_{name} is {text!r}; expected a number of hours. Correct it."
        ) from None
