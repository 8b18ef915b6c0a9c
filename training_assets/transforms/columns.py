"""What several transforms need of columns: their presence and type, days, event times."""

from typing import Final

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F
from pyspark.sql import types as T

from training_assets.errors import SchemaError
from training_assets.schemas import Table

_MICROS_PER_DAY: Final = 86_400_000_000


def day_of(name: str) -> Column:
    """The column as a date; text that is no date becomes null."""
    return F.col(name).try_cast("date")


def day_number(name: str) -> Column:
    """Days since 1970-01-01, int."""
    return F.unix_date(F.col(name)).cast("int")


def midnight(name: str) -> Column:
    """The day at 00:00:00 UTC, whatever the session's time zone."""
    return F.timestamp_micros(F.unix_date(F.col(name)).cast("long") * F.lit(_MICROS_PER_DAY))


def require_columns(frame: DataFrame, table: Table) -> None:
    """Raise ``SchemaError`` for a missing column or one of another kind; widths may differ."""
    found = {field.name: field.dataType for field in frame.schema.fields}
    for column in table.columns:
        if column.name not in found:
            if column.is_optional:
                continue
            raise SchemaError(
                f"{table.name}.{column.name}: the column is missing; expected {column.type}, "
                f"found only {', '.join(sorted(found))}. Add it or rename the column that holds it."
            )
        if not _is_readable(found[column.name], column.type):
            raise SchemaError(
                f"{table.name}.{column.name}: found {found[column.name].simpleString()}; "
                f"expected {column.type}. Cast the column."
            )


def _is_readable(found: T.DataType, expected: str) -> bool:
    if isinstance(found, T.NullType):
        return True
    if expected in ("long", "int"):
        return isinstance(found, T.IntegralType)
    if expected == "string":
        return isinstance(found, T.StringType)
    if expected == "date":
        return isinstance(found, T.DateType | T.StringType)
    if expected == "timestamp":
        return isinstance(found, T.TimestampType | T.TimestampNTZType)
    return _is_items(found)


def _is_items(found: T.DataType) -> bool:
    if not isinstance(found, T.ArrayType):
        return False
    if isinstance(found.elementType, T.NullType):
        return True
    if not isinstance(found.elementType, T.StructType):
        return False
    fields = {field.name: field.dataType for field in found.elementType.fields}
    return isinstance(fields.get("item_id"), T.IntegralType | T.NullType) and isinstance(
        fields.get("is_order"), T.BooleanType | T.NullType
    )
