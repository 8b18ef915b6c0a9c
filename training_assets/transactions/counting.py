"""Rows of chunks and of weights, counted by the engine, as Arrow tables for the database."""

from typing import Final

import pyarrow as pa
import pyarrow.compute as pc
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql.types import LongType, StringType, StructField, StructType

from training_assets.transactions.cleaning import (
    clean_transactions,
    clean_weights,
    pair_totals,
    quarantined,
    weight_totals,
)

_REJECTED: Final = pa.schema(
    [("row", pa.int64()), ("reason", pa.string()), ("content", pa.string())]
)
_TOTALS: Final = (
    "merchant_id",
    "customer_id",
    "transaction_count",
    "sum_amount",
    "last_row",
    "gender",
)


def as_frame(session: SparkSession, table: pa.Table) -> DataFrame:
    """Of these very bytes, whichever stores the engine can read; and of no rows, too."""
    schema = StructType([_field(field) for field in table.schema])
    return session.createDataFrame(table.replace_schema_metadata(None), schema)


def count_rows(frame: DataFrame, *, by_chunk: bool = False) -> tuple[pa.Table, pa.Table]:
    """Per merchant and customer, and what cannot be taken, of rows as the inbox has them.

    Rows that cannot be taken are counted under a null merchant; ``by_chunk``, the totals also have
    ``chunk_first`` and ``chunk_last``.
    """
    clean = clean_transactions(frame)
    totals = pair_totals(clean, by_chunk=by_chunk).toArrow()
    return totals, _rejected(clean, totals)


def count_weights(frame: DataFrame) -> tuple[pa.Table, pa.Table]:
    """Per merchant and customer, and what cannot be taken, of rows of weights."""
    clean = clean_weights(frame)
    totals = weight_totals(clean).toArrow()
    return totals.filter(pc.is_valid(totals["merchant_id"])), _rejected(clean, totals)


def good_totals(totals: pa.Table) -> pa.Table:
    """Of ``count_rows``, what goes into the state."""
    return totals.filter(pc.is_valid(totals["merchant_id"])).select(list(_TOTALS))


def split_by_chunk(totals: pa.Table) -> dict[tuple[int, int], pa.Table]:
    """Of ``count_rows`` by chunk: the totals of each, by its first and last row, in order."""
    keys = totals.group_by(["chunk_first", "chunk_last"]).aggregate([])
    ranges = zip(keys["chunk_first"].to_pylist(), keys["chunk_last"].to_pylist(), strict=True)
    return {
        (first, last): totals.filter(pc.equal(totals["chunk_first"], first))
        for first, last in sorted(ranges)
    }


def rejected_between(rejected: pa.Table, first: int, last: int) -> pa.Table:
    row = rejected["row"]
    return rejected.filter(pc.and_(pc.greater_equal(row, first), pc.less_equal(row, last)))


def _rejected(clean: DataFrame, totals: pa.Table) -> pa.Table:
    # Asked for only where there are some: it is a second pass over the rows.
    if totals["merchant_id"].null_count:
        return quarantined(clean).toArrow()
    return _REJECTED.empty_table()


def _field(field: pa.Field) -> StructField:
    is_number = pa.types.is_integer(field.type)
    return StructField(field.name, LongType() if is_number else StringType(), field.nullable)
