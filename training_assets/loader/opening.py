"""What is asked of a lake, and days opened and checked for it before any row is read."""

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import date
from typing import Final, Literal

from training_assets.errors import DayNotPublishedError, SettingsError
from training_assets.loader.histories import COLUMNS
from training_assets.loader.published import DayFiles, Published, open_day
from training_assets.loader.samples import NAMED
from training_assets.loader.vocabulary import Vocabulary
from training_assets.schemas import TRAINING_INPUT, TRAINING_SAMPLES

Source = Literal["customer_history", "training_input"]
SOURCES: Final = ("customer_history", "training_input")
_THIN_COLUMNS: Final = ("customer_id", "impression_item_id", "is_order")


@dataclass(frozen=True)
class Reading:
    """What of a day is read, and in which form it is held.

    ``length`` None takes the history_length that the days were made with. ``dense_limit_bytes``:
    a day whose padded histories are larger is held jagged.
    """

    length: int | None
    source: Source
    with_days_ago: bool
    with_identity: bool
    vocabulary: Vocabulary | None
    dense_limit_bytes: int
    threads: int
    table: str = TRAINING_INPUT.name
    features: tuple[str, ...] | None = None
    weighs_negatives: bool = False

    @property
    def is_tabular(self) -> bool:
        return self.table == TRAINING_SAMPLES.name

    @property
    def array_columns(self) -> list[str]:
        return [c for name, c in COLUMNS.items() if name != "days_ago" or self.with_days_ago]

    @property
    def thin_columns(self) -> list[str]:
        return [*_THIN_COLUMNS, *(["ranking_id"] if self.with_identity else [])]


@dataclass(frozen=True)
class OpenDay:
    """The files of one day, checked; ``rows`` is training_input, ``arrays`` holds histories."""

    rows: DayFiles
    arrays: DayFiles

    @property
    def dt(self) -> date:
        return self.rows.manifest.dt

    @property
    def num_examples(self) -> int:
        return self.rows.num_rows

    @property
    def history_length(self) -> int:
        return self.arrays.manifest.history_length


def open_days(
    published: Published, days: Iterable[date | str] | None, reading: Reading
) -> tuple[OpenDay, ...]:
    """The days of one version of the lake, which ``Published.fitting`` has made fit."""
    if days is None:
        wanted = published.rows.days
        if not wanted:
            raise DayNotPublishedError(
                f"{reading.table}: {published.rows.store.url} holds no published day; expected at "
                "least one. Materialize a day, or correct the path of the lake."
            )
    else:
        wanted = [date.fromisoformat(str(day)) for day in days]
    if not wanted or len(set(wanted)) < len(wanted):
        raise SettingsError(
            f"loader: days holds {len(wanted)} days, {len(set(wanted))} of them different; "
            "expected at least one, each once. Correct days."
        )
    with ThreadPoolExecutor(8) as pool:
        opened = tuple(pool.map(lambda dt: open_for_reading(published, dt, reading), wanted))
    _check_alike(opened, reading)
    return opened


def _check_alike(opened: tuple[OpenDay, ...], reading: Reading) -> None:
    """Days made under different settings would train on features that mean different things."""
    first = opened[0]
    for day in opened[1:]:
        if reading.length is None and day.history_length != first.history_length:
            raise SettingsError(
                f"loader: history_length is {first.history_length} on {first.dt} and "
                f"{day.history_length} on {day.dt}; expected one length. Give the length to use."
            )
        lookback_days = [one.arrays.manifest.lookback_days for one in (first, day)]
        if lookback_days[0] != lookback_days[1]:
            raise SettingsError(
                f"loader: lookback_days is {lookback_days[0]} on {first.dt} and "
                f"{lookback_days[1]} on {day.dt}; expected the same. Publish one of them again."
            )


def open_for_reading(published: Published, dt: date, reading: Reading) -> OpenDay:
    """Check all that can be checked without reading rows.

    Raises DayNotPublishedError, SchemaError (see ``open_day``), and SettingsError when the
    request asks for longer histories than the day holds, or for days_ago of a source without.
    """
    if reading.source not in SOURCES:
        raise SettingsError(
            f"loader: source is {reading.source!r}; expected customer_history or training_input. "
            "Choose one of them."
        )
    if reading.source == "training_input" and reading.with_days_ago:
        raise SettingsError(
            "loader: days_ago was asked for with source='training_input', which has no such "
            "column; expected source='customer_history'. Change the source, or leave days_ago out."
        )
    if reading.is_tabular:
        rows = open_day(published.rows, dt, columns=NAMED)
        return OpenDay(rows, rows)
    columns = reading.thin_columns
    if reading.source == "training_input":
        rows = open_day(published.rows, dt, columns=columns + reading.array_columns)
        opened = OpenDay(rows, rows)
    else:
        rows = open_day(published.rows, dt, columns=columns)
        own_columns = ["customer_id", *reading.array_columns]
        opened = OpenDay(rows, open_day(published.histories, dt, columns=own_columns))
        _check_pair(opened)
    _check_lengths(opened, reading)
    return opened


def _check_pair(opened: OpenDay) -> None:
    """Rows of one version of a day with histories of another would be neither of them."""
    built_from, content = opened.rows.manifest.history_content, opened.arrays.manifest.content
    if built_from and content and not content.startswith(built_from):
        raise DayNotPublishedError(
            f"training_input of {opened.dt}: built from histories {built_from}…, while "
            f"customer_history of the day is {content[: len(built_from)]}…; expected the same. A "
            "run is publishing the day, or ended in between: wait for it, or run the day again, "
            "or read it with source='training_input'."
        )


def _check_lengths(opened: OpenDay, reading: Reading) -> None:
    lengths = opened.rows.manifest.history_length, opened.arrays.manifest.history_length
    if lengths[0] != lengths[1]:
        raise SettingsError(
            f"{opened.dt}: training_input was made with history_length {lengths[0]} and "
            f"customer_history with {lengths[1]}; expected the same. Publish the day again."
        )
    if reading.length is not None and not 1 <= reading.length <= opened.history_length:
        raise SettingsError(
            f"loader: length is {reading.length}; expected 1 to {opened.history_length}, the "
            f"history_length of {opened.arrays.where}. Shorten length, or publish longer histories."
        )
