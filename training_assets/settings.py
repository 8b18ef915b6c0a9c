"""Typed knobs, and the environment variables that set them.

| variable                           | default   | meaning                                        |
|------------------------------------|-----------|------------------------------------------------|
| TRAINING_ASSETS_LAKE               | data/lake | root of all tables: a path, or s3://, gs://,   |
|                                    |           | az://, abfs:// with bucket and path            |
| TRAINING_ASSETS_START_DATE         |           | first partition; without it, the first raw day |
| TRAINING_ASSETS_HISTORY_LENGTH     | 1000      | actions per history                            |
| TRAINING_ASSETS_LOOKBACK_DAYS      | 365       | days per history; "none" is unlimited          |
| TRAINING_ASSETS_ACTION_TYPES       | 1,2,3     | codes of the actions in histories: 1 click,    |
|                                    |           | 2 add_to_cart, 3 order, 4 view, 5 like         |
| TRAINING_ASSETS_BOTS               | leave_out | "keep" takes actions of marked bots as well    |
| TRAINING_ASSETS_NEGATIVE_RATIO     | 4         | negatives for each positive of a sample        |
| TRAINING_ASSETS_NEGATIVE_STRATEGY  | uniform   | "popularity" draws by max(actions, 1) ** 0.75  |
| TRAINING_ASSETS_POSITIVE_TYPES     | 2,3,5     | codes of the actions that make a positive      |
| TRAINING_ASSETS_POSITIVES          | all       | "new" leaves out items that were acted on      |
|                                    |           | before the day                                 |
| TRAINING_ASSETS_EXCLUDE            | seen      | "positives" lets seen items be negatives       |
| TRAINING_ASSETS_SAMPLE_SEED        | 0         | another seed draws other negatives             |
| TRAINING_ASSETS_BOT_LIMITS         | 60,600,   | a customer's day with more browsing actions in |
|                                    | 2000,50   | a minute, half an hour, the day, or with that  |
|                                    |           | many distinct times at equal gaps, is a bot's  |
| TRAINING_ASSETS_INTERACTION_KINDS  | missing   | kinds that raw/interactions gives to histories:|
|                                    |           | those without a source of their own; all; none |
| TRAINING_ASSETS_MISSING_RAW        | error     | "empty" takes an absent raw day as empty       |
| TRAINING_ASSETS_INCOMPLETE_WINDOW  | error     | "warn" publishes histories of which days of    |
|                                    |           | the look-back are missing                      |
| TRAINING_ASSETS_CHECK_CUSTOMERS    | 1000      | customers a day; above, leakage is sampled     |
| TRAINING_ASSETS_MIN_VALID_SHARE    | 0.9       | share of a source's rows that must be valid, 0 |
|                                    |           | to 1; a day below is not published             |
| TRAINING_ASSETS_KEEP_VERSIONS_DAYS | 7         | days for which replaced versions stay readable |
| TRAINING_ASSETS_ENGAGEMENT         | auto      | what counts as a visit to an item in features: |
|                                    |           | "view" or "click"; "auto" is view where there  |
|                                    |           | is an event stream (raw/interactions)          |
| TRAINING_ASSETS_LIST_FORMAT        | lists     | "parquet" leaves lists to the usual writer     |

The engine has its own variables; see ``engine/resource.py``.
"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from numbers import Integral
from typing import Any, Final, Literal, cast

from training_assets.errors import SettingsError
from training_assets.locations import canonical

DEFAULT_HISTORY_LENGTH: Final = 1000
DEFAULT_LOOKBACK_DAYS: Final = 365
DEFAULT_ACTION_TYPES: Final = (1, 2, 3)
DEFAULT_POSITIVE_TYPES: Final = (2, 3, 5)
DEFAULT_BOT_LIMITS: Final = (60, 600, 2_000, 50)
_KNOWN_ACTION_TYPES: Final = range(1, 6)
# Lists have 32-bit offsets.
MAX_HISTORY_LENGTH: Final = 2**31 - 1
# A century; times before the year 1 cannot be written.
MAX_KEEP_VERSIONS_DAYS: Final = 36_500
_PREFIX: Final = "TRAINING_ASSETS_"
_DEFAULT_LAKE: Final = "data/lake"

MissingRaw = Literal["error", "empty"]
Bots = Literal["leave_out", "keep"]
InteractionKinds = Literal["missing", "all", "none"]
IncompleteWindow = Literal["error", "warn"]
ListFormat = Literal["lists", "parquet"]
NegativeStrategy = Literal["uniform", "popularity"]
Positives = Literal["all", "new"]
Exclude = Literal["seen", "positives"]
Engagement = Literal["auto", "view", "click"]


def validate_window(
    where: str, history_length: int, lookback_days: int | None
) -> tuple[int, int | None]:
    """Both knobs as Python integers; raises ``SettingsError`` unless they can work."""
    length = _whole(where, "history_length", history_length)
    if length > MAX_HISTORY_LENGTH:
        raise SettingsError(
            f"{where}: history_length is {length}; expected at most {MAX_HISTORY_LENGTH}. "
            "Lower history_length."
        )
    if lookback_days is None:
        return length, None
    return length, _whole(where, "lookback_days", lookback_days, ", or None for unlimited")


@dataclass(frozen=True)
class Settings:
    """What a run does, apart from the engine that does it.

    ``lake`` is an absolute local path or the URL of a store, whatever was given: see
    ``locations.py``. ``start_date`` is the first partition; None takes the first raw day.
    ``history_length`` is in actions, ``lookback_days`` in days (None is unlimited).
    ``action_types`` are the codes of the actions that stand in histories, where those of marked
    bots do only if ``bots`` is "keep"; ``bot_limits`` mark them. ``interaction_kinds`` are those
    that the event stream gives to ``unified_actions``. ``check_customers`` is the number of
    customers per day up to which leakage is checked in full, ``min_valid_share`` the share of a
    source's rows that must be valid for its day to be published, ``keep_versions_days`` how long a
    version stays readable after it was replaced, ``engagement`` the kind of action that features
    count as a visit to an item. ``negative_ratio`` and what follows it say how ``training_samples``
    are drawn.
    """

    lake: str = _DEFAULT_LAKE
    start_date: date | None = None
    history_length: int = DEFAULT_HISTORY_LENGTH
    lookback_days: int | None = DEFAULT_LOOKBACK_DAYS
    action_types: tuple[int, ...] = DEFAULT_ACTION_TYPES
    bots: Bots = "leave_out"
    negative_ratio: int = 4
    negative_strategy: NegativeStrategy = "uniform"
    positive_types: tuple[int, ...] = DEFAULT_POSITIVE_TYPES
    positives: Positives = "all"
    exclude: Exclude = "seen"
    sample_seed: int = 0
    bot_limits: tuple[int, ...] = DEFAULT_BOT_LIMITS
    interaction_kinds: InteractionKinds = "missing"
    missing_raw: MissingRaw = "error"
    incomplete_window: IncompleteWindow = "error"
    check_customers: int = 1_000
    keep_versions_days: int = 7
    list_format: ListFormat = "lists"
    min_valid_share: float = 0.9
    engagement: Engagement = "auto"

    def __post_init__(self) -> None:
        length, lookback = validate_window("settings", self.history_length, self.lookback_days)
        values = {
            "lake": canonical(self.lake, "settings"),
            "history_length": length,
            "lookback_days": lookback,
            "action_types": _action_types("action_types", self.action_types),
            "positive_types": _action_types("positive_types", self.positive_types),
            "negative_ratio": _whole("settings", "negative_ratio", self.negative_ratio, least=0),
            "sample_seed": _whole("settings", "sample_seed", self.sample_seed, least=0),
            "bot_limits": _bot_limits(self.bot_limits),
            "check_customers": _whole("settings", "check_customers", self.check_customers),
            "keep_versions_days": _whole(
                "settings", "keep_versions_days", self.keep_versions_days, least=0
            ),
        }
        if self.keep_versions_days > MAX_KEEP_VERSIONS_DAYS:
            raise SettingsError(
                f"settings: keep_versions_days is {self.keep_versions_days}; expected at most "
                f"{MAX_KEEP_VERSIONS_DAYS}. Lower keep_versions_days."
            )
        if not 0 <= self.min_valid_share <= 1:
            raise SettingsError(
                f"settings: min_valid_share is {self.min_valid_share}; expected 0 to 1. "
                f"Set {_PREFIX}MIN_VALID_SHARE."
            )
        for name, value in values.items():
            object.__setattr__(self, name, value)
        _require_one_of("bots", self.bots, ("leave_out", "keep"))
        _require_one_of("negative_strategy", self.negative_strategy, ("uniform", "popularity"))
        _require_one_of("positives", self.positives, ("all", "new"))
        _require_one_of("exclude", self.exclude, ("seen", "positives"))
        _require_one_of("interaction_kinds", self.interaction_kinds, ("missing", "all", "none"))
        _require_one_of("missing_raw", self.missing_raw, ("error", "empty"))
        _require_one_of("incomplete_window", self.incomplete_window, ("error", "warn"))
        _require_one_of("engagement", self.engagement, ("auto", "view", "click"))
        _require_one_of("list_format", self.list_format, ("lists", "parquet"))

    @classmethod
    def from_env(cls, env: Mapping[str, str] | None = None) -> "Settings":
        """Settings from environment variables; raises ``SettingsError`` naming the variable."""
        values = os.environ if env is None else env

        def text(name: str, default: str) -> str:
            return values.get(_PREFIX + name, "").strip() or default

        def number(name: str, default: int) -> int:
            return _parse_int(name, text(name, str(default)))

        start = text("START_DATE", "")
        lookback = text("LOOKBACK_DAYS", str(DEFAULT_LOOKBACK_DAYS)).lower()
        return cls(
            lake=text("LAKE", _DEFAULT_LAKE),
            start_date=_parse_date("START_DATE", start) if start else None,
            history_length=number("HISTORY_LENGTH", DEFAULT_HISTORY_LENGTH),
            lookback_days=None if lookback == "none" else _parse_int("LOOKBACK_DAYS", lookback),
            negative_ratio=number("NEGATIVE_RATIO", 4),
            negative_strategy=cast(NegativeStrategy, text("NEGATIVE_STRATEGY", "uniform")),
            positive_types=_parse_numbers("POSITIVE_TYPES", text("POSITIVE_TYPES", "2,3,5")),
            positives=cast(Positives, text("POSITIVES", "all")),
            exclude=cast(Exclude, text("EXCLUDE", "seen")),
            sample_seed=number("SAMPLE_SEED", 0),
            action_types=_parse_numbers("ACTION_TYPES", text("ACTION_TYPES", "1,2,3")),
            bot_limits=_parse_numbers("BOT_LIMITS", text("BOT_LIMITS", "60,600,2000,50")),
            interaction_kinds=cast(InteractionKinds, text("INTERACTION_KINDS", "missing")),
            bots=cast(Bots, text("BOTS", "leave_out")),
            missing_raw=cast(MissingRaw, text("MISSING_RAW", "error")),
            incomplete_window=cast(IncompleteWindow, text("INCOMPLETE_WINDOW", "error")),
            check_customers=number("CHECK_CUSTOMERS", 1_000),
            keep_versions_days=number("KEEP_VERSIONS_DAYS", 7),
            list_format=cast(ListFormat, text("LIST_FORMAT", "lists")),
            engagement=cast(Engagement, text("ENGAGEMENT", "auto")),
            min_valid_share=_parse_share("MIN_VALID_SHARE", text("MIN_VALID_SHARE", "0.9")),
        )

    def recorded(self, name: str) -> Any:
        """A setting as a manifest has it, in what JSON can say."""
        value = getattr(self, name)
        return list(value) if isinstance(value, tuple) else value

    def window_start(self, day: date) -> date | None:
        """First day whose actions count for an impression on ``day``; None is unlimited."""
        if self.lookback_days is None:
            return None
        return date.fromordinal(max(1, day.toordinal() - self.lookback_days))


def _whole(where: str, name: str, value: Any, otherwise: str = "", *, least: int = 1) -> int:
    """A whole number from ``least`` on, of Python or NumPy; a bool is none."""
    if not isinstance(value, Integral) or isinstance(value, bool):
        raise SettingsError(
            f"{where}: {name} is {value!r}; expected a whole number of at least {least}"
            f"{otherwise}. Correct {name}."
        )
    if value < least:
        raise SettingsError(
            f"{where}: {name} is {value}; expected at least {least}{otherwise}. Raise {name}."
        )
    return int(value)


def _action_types(name: str, values: Sequence[int]) -> tuple[int, ...]:
    """Known codes, each once, ascending."""
    codes = sorted({_whole("settings", name, value) for value in values})
    if not codes or codes[-1] not in _KNOWN_ACTION_TYPES:
        raise SettingsError(
            f"settings: {name} is {','.join(map(str, values)) or 'empty'}; expected some of "
            f"1 click, 2 add_to_cart, 3 order, 4 view, 5 like. Set {_PREFIX}{name.upper()}."
        )
    return tuple(codes)


def _bot_limits(values: Sequence[int]) -> tuple[int, ...]:
    limits = tuple(_whole("settings", "bot_limits", value) for value in values)
    if len(limits) != len(DEFAULT_BOT_LIMITS):
        raise SettingsError(
            f"settings: bot_limits has {len(limits)} numbers; expected four: actions in a minute, "
            f"in half an hour, in a day, and distinct times. Set {_PREFIX}BOT_LIMITS."
        )
    return limits


def _parse_numbers(name: str, text: str) -> tuple[int, ...]:
    return tuple(_parse_int(name, part.strip()) for part in text.split(","))


def _require_one_of(name: str, value: object, expected: Sequence[str]) -> None:
    if value not in expected:
        raise SettingsError(
            f"settings: {name} is {value!r}; expected {' or '.join(map(repr, expected))}. "
            f"Set {_PREFIX}{name.upper()}."
        )


def _parse_int(name: str, value: str) -> int:
    try:
        return int(value)
    except ValueError:
        raise SettingsError(
            f"settings: {_PREFIX}{name} is {value!r}; expected a whole number. Correct it."
        ) from None


def _parse_share(name: str, value: str) -> float:
    try:
        return float(value)
    except ValueError:
        raise SettingsError(
            f"settings: {_PREFIX}{name} is {value!r}; expected a number from 0 to 1. Correct it."
        ) from None


def _parse_date(name: str, value: str) -> date:
    try:
        return date.fromisoformat(value)
    except ValueError:
        raise SettingsError(
            f"settings: {_PREFIX}{name} is {value!r}; expected a date YYYY-MM-DD. Correct it."
        ) from None
