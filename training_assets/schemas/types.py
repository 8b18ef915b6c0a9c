"""What a column and a table are, and the Arrow type of each Spark type that they use."""

from dataclasses import dataclass
from typing import Final

import pyarrow as pa

_ARROW_TYPES: Final = {
    "long": pa.int64(),
    "int": pa.int32(),
    "smallint": pa.int16(),
    "tinyint": pa.int8(),
    "float": pa.float32(),
    "double": pa.float64(),
    "decimal(18,4)": pa.decimal128(18, 4),
    "boolean": pa.bool_(),
    "string": pa.string(),
    "date": pa.date32(),
    "timestamp": pa.timestamp("us", tz="UTC"),
    "array<int>": pa.list_(pa.int32()),
    "array<smallint>": pa.list_(pa.int16()),
    "array<tinyint>": pa.list_(pa.int8()),
    "array<long>": pa.list_(pa.int64()),
    "array<float>": pa.list_(pa.float32()),
    "array<double>": pa.list_(pa.float64()),
    "array<string>": pa.list_(pa.string()),
    "array<struct<item_id:int,is_order:boolean>>": pa.list_(
        pa.struct([("item_id", pa.int32()), ("is_order", pa.bool_())])
    ),
}


@dataclass(frozen=True)
class Column:
    """One column: its Spark type and what it means.

    ``is_optional`` columns may be absent from raw data; they then read as null. The others say what
    a value may be, from which rules, JSON Schema and cleaning derive: a row without a value of an
    ``is_required`` column is refused; ``aliases`` are other names under which it is delivered;
    ``allowed`` are all values there are; ``minimum`` and ``maximum`` are inclusive, ``above`` is
    not; ``max_length`` is in characters; a ``max_null_share`` above is a warning; ``is_id`` may be
    text or an integer; ``is_json`` is text that holds a JSON object; ``is_key`` text is compared by
    its letters alone, in lower case; where a value is missing, cleaning puts ``fill``.
    """

    name: str
    type: str
    description: str
    is_optional: bool = False
    is_required: bool = False
    aliases: tuple[str, ...] = ()
    allowed: tuple[str, ...] = ()
    minimum: float | None = None
    maximum: float | None = None
    above: float | None = None
    max_length: int | None = None
    max_null_share: float | None = None
    is_id: bool = False
    is_json: bool = False
    is_key: bool = False
    fill: str | None = None

    @property
    def arrow(self) -> pa.DataType:
        return _ARROW_TYPES[self.type]


@dataclass(frozen=True)
class Table:
    """A day-partitioned table; ``dt`` is the partition and stands in the path, not in the files."""

    name: str
    grain: str
    columns: tuple[Column, ...]
    key: tuple[str, ...] = ()
    day_column: str = "dt"
    description: str = ""
    # Of a source of actions of one kind: which.
    action_type: int | None = None

    @property
    def column_names(self) -> list[str]:
        return [column.name for column in self.columns]

    @property
    def stored_columns(self) -> tuple[Column, ...]:
        """The columns inside the files: all but the partition column."""
        return tuple(column for column in self.columns if column.name != self.day_column)

    @property
    def ddl(self) -> str:
        """Spark DDL of all columns, the partition column included."""
        return ", ".join(f"`{column.name}` {column.type}" for column in self.columns)

    @property
    def arrow_schema(self) -> pa.Schema:
        """Arrow schema of what lies in the files."""
        return pa.schema([(column.name, column.arrow) for column in self.stored_columns])
