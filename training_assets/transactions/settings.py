"""The numbers of the feed and of the patterns, each with its environment variable.

All variables begin with TRAINING_ASSETS_.

| variable                              | default                             | meaning          |
|---------------------------------------|-------------------------------------|------------------|
| TRANSACTIONS                          | data/banksim/transactions.csv       | path or URL      |
| IMPORTANCE                            | data/banksim/CustomerImportance.csv | path or URL      |
| DATABASE                              | <workdir>/temp/postgres             | or postgresql:// |
| TRANSACTIONS_WORKDIR                  | <lake>/transactions                 | path or URL      |
| TRANSACTIONS_CHUNK_ROWS               | 10000                               | rows             |
| TRANSACTIONS_UPGRADE_MIN_TRANSACTIONS | 50000                               | more than        |
| TRANSACTIONS_UPGRADE_TOP              | 0.10                                | by number        |
| TRANSACTIONS_UPGRADE_BOTTOM           | 0.10                                | by weight        |
| TRANSACTIONS_CHILD_MAX_AVERAGE        | 23                                  | below            |
| TRANSACTIONS_CHILD_MIN_TRANSACTIONS   | 80                                  | at least         |
| TRANSACTIONS_WOMEN_MIN                | 100                                 | more than        |
| TRANSACTIONS_FILE_ROWS                | 50                                  | a file           |
| TRANSACTIONS_EMIT                     | once                                | or changes       |
| TRANSACTIONS_FLUSH_AFTER              | 5                                   | seconds          |
"""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from decimal import Decimal, InvalidOperation
from typing import Any, Final, Literal, cast

from training_assets.errors import SettingsError

DEFAULT_SOURCE: Final = "data/banksim/transactions.csv"
DEFAULT_IMPORTANCE: Final = "data/banksim/CustomerImportance.csv"
_PREFIX: Final = "TRAINING_ASSETS_"
_NUMBERS: Final = "TRANSACTIONS_"
# A change of one of these would make the state hold what two different rules found.
_LIMITS: Final = (
    "upgrade_min_transactions",
    "upgrade_top",
    "upgrade_bottom",
    "child_max_average",
    "child_min_transactions",
    "women_min",
    "file_rows",
    "emit",
)
_AT_LEAST: Final = {
    "chunk_rows": 1,
    "upgrade_min_transactions": 0,
    "child_min_transactions": 1,
    "women_min": 0,
    "file_rows": 1,
}


@dataclass(frozen=True)
class TransactionSettings:
    """Where the feed comes from and goes to, and what counts as a pattern.

    ``upgrade_top`` and ``upgrade_bottom`` are shares between 0 and 1, ``child_max_average`` is in
    the currency of the amounts, ``flush_after`` in seconds.
    """

    workdir: str = "data/lake/transactions"
    transactions: str = DEFAULT_SOURCE
    importance: str = DEFAULT_IMPORTANCE
    # It may hold a password.
    database: str = field(default="", repr=False)
    chunk_rows: int = 10_000
    upgrade_min_transactions: int = 50_000
    upgrade_top: Decimal = Decimal("0.10")
    upgrade_bottom: Decimal = Decimal("0.10")
    child_max_average: Decimal = Decimal("23")
    child_min_transactions: int = 80
    women_min: int = 100
    file_rows: int = 50
    emit: Literal["once", "changes"] = "once"
    flush_after: float = 5.0

    def __post_init__(self) -> None:
        for name, least in _AT_LEAST.items():
            if getattr(self, name) < least:
                _refuse(name, getattr(self, name), f"at least {least}")
        for name in ("upgrade_top", "upgrade_bottom"):
            if not 0 <= getattr(self, name) <= 1:
                _refuse(name, getattr(self, name), "a share from 0 to 1")
        if self.emit not in ("once", "changes"):
            _refuse("emit", self.emit, "'once' or 'changes'")
        if self.flush_after < 0:
            _refuse("flush_after", self.flush_after, "at least 0")

    @property
    def limits(self) -> dict[str, str]:
        """What detections depend on, by name, as the text that the database keeps."""
        return {name: _canonical(getattr(self, name)) for name in _LIMITS}

    @classmethod
    def from_env(cls, env: Mapping[str, str] | None = None, **given: Any) -> "TransactionSettings":
        """Settings from environment variables, then what is ``given`` and not None.

        Raises ``SettingsError`` naming the variable.
        """
        values = os.environ if env is None else env
        lake = values.get(_PREFIX + "LAKE", "").strip() or "data/lake"
        read: dict[str, Any] = {"workdir": f"{lake.rstrip('/')}/transactions"}
        for known in fields(cls):
            variable = _variable(known.name)
            if text := values.get(variable, "").strip():
                read[known.name] = _parse(variable, known.type, text)
        read.update({name: value for name, value in given.items() if value is not None})
        return cls(**read)


def _variable(name: str) -> str:
    if name in ("transactions", "importance", "database"):
        return _PREFIX + name.upper()
    return _PREFIX + _NUMBERS + name.upper()


def _parse(variable: str, kind: Any, text: str) -> Any:
    try:
        if kind is int:
            return int(text)
        if kind is float:
            return float(text)
        if kind is Decimal:
            return parse_decimal(text)
    except (ValueError, InvalidOperation):
        raise SettingsError(
            f"settings: {variable} is {text!r}; expected a number. Correct it."
        ) from None
    return cast(Any, text)


def parse_decimal(text: str) -> Decimal:
    """An exact number; raises ``ValueError`` for what is no plain finite number."""
    if not re.fullmatch(r"[+-]?\d+(\.\d+)?", text):
        raise ValueError(text)
    return Decimal(text)


def _canonical(value: Any) -> str:
    return f"{value.normalize():f}" if isinstance(value, Decimal) else str(value)


def _refuse(name: str, value: object, expected: str) -> None:
    raise SettingsError(
        f"settings: {name} is {value!r}; expected {expected}. Set {_variable(name)}."
    )
