"""What readers get, and what is recorded of each version."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Any, Final, Literal

State = Literal["found", "stale", "expired", "not_found"]
FOUND: Final[State] = "found"
STALE: Final[State] = "stale"
EXPIRED: Final[State] = "expired"
NOT_FOUND: Final[State] = "not_found"

# What is asked for, and the published table that it comes from.
TABLES: Final = {"users": "user_features", "items": "item_features"}


@dataclass(frozen=True, slots=True)
class Answer:
    """What is known of one id.

    ``values`` by feature, typed as the published table: int, float, Decimal, bool, str, datetime
    in UTC, lists; None where the state is ``expired`` or ``not_found``. ``dt`` and ``version`` say
    which day was looked in; both are None where no day was ever loaded. ``age`` is the time since
    ``dt`` ended, when the next day could have taken its place.
    """

    id: int | str
    state: State
    values: Mapping[str, Any] | None = None
    dt: date | None = None
    version: str | None = None
    age: timedelta | None = None

    @property
    def age_seconds(self) -> float | None:
        return None if self.age is None else self.age.total_seconds()

    @property
    def is_stale(self) -> bool:
        """Whether the day is older than it should be, with or without values."""
        return self.state in (STALE, EXPIRED)


@dataclass(frozen=True)
class Version:
    """One load of one published day: ``columns`` are (name, Arrow type) without the id."""

    name: str
    dt: date
    content: str
    rows: int
    id_type: Literal["long", "string"]
    columns: tuple[tuple[str, str], ...]
    loaded_at: datetime

    def age(self, now: datetime) -> timedelta:
        """Since the day ended; 0 while it goes on."""
        end = datetime(self.dt.year, self.dt.month, self.dt.day, tzinfo=UTC) + timedelta(days=1)
        return max(now - end, timedelta(0))


@dataclass(frozen=True)
class Loaded:
    """What became of a load: ``kept`` says why the store answers with another version still.

    ``older``: a newer day is there. ``rolled_back``: this very day was taken back on purpose.
    """

    version: Version
    is_new: bool
    kept: Literal["", "older", "rolled_back"] = ""


@dataclass(frozen=True)
class TableState:
    """The pointer: which version readers see, which others are whole, and what was taken back.

    ``pending`` are loads by name and start, so that what a killed one left can be removed.
    """

    current: str | None = None
    versions: tuple[Version, ...] = ()
    rolled_back: tuple[str, ...] = ()
    pending: Mapping[str, str] = field(default_factory=dict)

    def version(self, name: str | None) -> Version | None:
        return next((found for found in self.versions if found.name == name), None)

    def to_json(self) -> bytes:
        return json.dumps(asdict(self), default=str, indent=1).encode()

    @classmethod
    def from_json(cls, data: bytes | str) -> "TableState":
        found = json.loads(data)
        versions = tuple(
            Version(
                **{
                    **entry,
                    "dt": date.fromisoformat(entry["dt"]),
                    "loaded_at": datetime.fromisoformat(entry["loaded_at"]),
                    "columns": tuple(map(tuple, entry["columns"])),
                }
            )
            for entry in found["versions"]
        )
        return cls(found["current"], versions, tuple(found["rolled_back"]), found["pending"])
