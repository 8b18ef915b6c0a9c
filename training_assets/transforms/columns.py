"""What several transforms need of columns: their presence and type, days, event times."""

from collections.abc import Iterable
from datetime import date
from typing import Final

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F
from pyspark.sql import types as T

from training_assets.errors import SchemaError
from training_assets.schemas import Table

_MICROS_PER_DAY: Final = 86_400_000_000
# Of the years 1..9999, since 1970-01-01.
_DAYS: Final = tuple((day - date(1970, 1, 1)).days for day in (date.min, date.max))
_DAY: Final = "^[0-9]{4}-[0-9]{2}-[0-9]{2}$"
_DAY_LENGTH: Final = 10
_FIELDS: Final = {"item_id": "int", "is_order": "boolean"}


def day_of(frame: DataFrame, name: str) -> Column:
    """The column as a date; null outside the years 1..9999, and for text that is not YYYY-MM-DD."""
    day = F.col(name)
    if isinstance(frame.schema[name].dataType, T.StringType):
        # Engines differ in what else they take for a date. An end of line may follow what $ finds.
        is_day = (F.length(name) == _DAY_LENGTH) & day.rlike(_DAY)
        day = F.when(is_day, day.try_cast("date"))
    day = day.cast("date")
    return F.when(F.unix_date(day).between(*_DAYS), day)


def utc_time(frame: DataFrame, name: str) -> Column:
    """The column as a point in time; one without a zone is UTC, not of the session's zone."""
    time = F.col(name)
    if isinstance(frame.schema[name].dataType, T.TimestampNTZType):
        time = F.concat(time.cast("string"), F.lit("Z"))
    return time.cast(T.TimestampType())


def midnight(name: str) -> Column:
    """The day at 00:00:00 UTC, whatever the session's time zone."""
    return F.timestamp_micros(F.unix_date(F.col(name)).cast("long") * F.lit(_MICROS_PER_DAY))


def require_columns(frame: DataFrame, table: Table) -> None:
    """Raise ``SchemaError`` for a missing column or one of another kind; widths may differ."""
    found = {field.name: field.dataType for field in frame.schema.fields}
    for column in table.columns:
        where = f"{table.name}.{column.name}"
        if column.name not in found:
            if column.is_optional:
                continue
            raise SchemaError(
                f"{where}: the column is missing; expected {column.type}, "
                f"found only {', '.join(sorted(found))}. Add it or rename the column that holds it."
            )
        _require_once(where, column.name, frame.columns)
        kind = found[column.name]
        if not _is_readable(kind, column.type):
            raise SchemaError(
                f"{where}: found {kind.simpleString()}; expected {column.type}. Cast the column."
            )
        if isinstance(kind, T.ArrayType) and isinstance(kind.elementType, T.StructType):
            _require_fields(where, kind.elementType)


def _require_once(where: str, name: str, names: Iterable[str]) -> None:
    """Engines take names that differ in case alone for the same."""
    alike = [other for other in names if other.lower() == name.lower()]
    if len(alike) > 1:
        raise SchemaError(
            f"{where}: the name stands {len(alike)} times ({', '.join(alike)}); expected it once, "
            "in whatever case. Remove or rename the others."
        )


def _require_fields(where: str, struct: T.StructType) -> None:
    found = {field.name: field.dataType for field in struct.fields}
    for name, expected in _FIELDS.items():
        if name not in found:
            raise SchemaError(
                f"{where}.{name}: the field is missing; expected {expected}, "
                f"found only {', '.join(sorted(found))}. Add it or rename the field that holds it."
            )
        _require_once(f"{where}.{name}", name, struct.names)
        if not _is_readable(found[name], expected):
            raise SchemaError(
                f"{where}.{name}: found {found[name].simpleString()}; expected {expected}. "
                "Cast the field."
            )


def _is_readable(found: T.DataType, expected: str) -> bool:
    if isinstance(found, T.NullType):
        return True
    if expected in ("long", "int"):
        return isinstance(found, T.IntegralType)
    if expected == "string":
        return isinstance(found, T.StringType)
    if expected == "boolean":
        return isinstance(found, T.BooleanType)
    if expected == "date":
        return isinstance(found, T.DateType | T.StringType)
    if expected == "timestamp":
        return isinstance(found, T.TimestampType | T.TimestampNTZType)
    return isinstance(found, T.ArrayType) and isinstance(
        found.elementType, T.StructType | T.NullType
    )
