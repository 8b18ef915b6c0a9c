"""Columns of the inputs as features need them, whichever type they are delivered in."""

from collections.abc import Iterable

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F
from pyspark.sql import types as T

from training_assets.errors import SchemaError, SettingsError

MONEY = "decimal(18,4)"
_MICROS_PER_DAY = 86_400_000_000


def require_columns(frame: DataFrame, name: str, columns: Iterable[str], where: str) -> None:
    """Raise ``SchemaError`` for a column that is missing; any others may be there."""
    for column in columns:
        if column not in frame.columns:
            raise SchemaError(
                f"{where}: {name}.{column} is missing; found only "
                f"{', '.join(sorted(frame.columns))}. Add it or rename the column that holds it."
            )


def require_lookback(lookback_days: int | None, where: str) -> None:
    """Raise ``SettingsError`` for a look-back below 1."""
    if lookback_days is not None and lookback_days < 1:
        raise SettingsError(
            f"{where}: lookback_days is {lookback_days}; expected at least 1, or None for "
            "unlimited. Raise lookback_days."
        )


def require_same_ids(first: DataFrame, second: DataFrame, name: str, where: str) -> None:
    """Raise ``SchemaError`` where one frame has ids that are text and the other has integers."""
    if is_text_id(first, name) != is_text_id(second, name):
        raise SchemaError(
            f"{where}: {name} is {_type(first, name).simpleString()} in one input and "
            f"{_type(second, name).simpleString()} in another; expected text in both or integers "
            "in both. Cast one of them."
        )


def is_text_id(frame: DataFrame, name: str) -> bool:
    return isinstance(_type(frame, name), T.StringType)


def as_id(frame: DataFrame, name: str) -> Column:
    """An id: long, or string where it is delivered as text."""
    return F.col(name).cast("string" if is_text_id(frame, name) else "long")


def as_day(frame: DataFrame, name: str) -> Column:
    """Days since 1970-01-01, of a date, a time (its UTC day) or text that begins YYYY-MM-DD."""
    found = _type(frame, name)
    if isinstance(found, T.TimestampType | T.TimestampNTZType):
        return F.floor(as_micros(frame, name) / F.lit(_MICROS_PER_DAY)).cast("int")
    if isinstance(found, T.StringType):
        return F.unix_date(F.substring(F.trim(F.col(name)), 1, 10).try_cast("date"))
    return F.unix_date(F.col(name).cast("date"))


def as_micros(frame: DataFrame, name: str) -> Column:
    """Microseconds since 1970-01-01 UTC, of a time or of text in ISO 8601; null where absent."""
    if name not in frame.columns:
        return F.lit(None).cast("long")
    if isinstance(_type(frame, name), T.StringType):
        return F.unix_micros(F.col(name).try_cast("timestamp"))
    return F.unix_micros(F.col(name).cast("timestamp"))


def as_money(frame: DataFrame, name: str) -> Column:
    """decimal(18,4), rounded half up; null for NaN, text that is no number, and absent."""
    return column_or_null(frame, name, MONEY)


def column_or_null(frame: DataFrame, name: str, kind: str) -> Column:
    """The column, or null where the frame lacks it or a value does not fit."""
    if name not in frame.columns:
        return F.lit(None).cast(kind)
    return F.col(name).try_cast(kind)


def _type(frame: DataFrame, name: str) -> T.DataType:
    return frame.schema[name].dataType
