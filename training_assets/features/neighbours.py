"""The row before or after, in a group, without a window for each of millions of small groups.

Engines have a price per window partition. Here groups share buckets, each sorted by group and
order, and whether the neighbour is of the same group is looked at row by row.
"""

from collections.abc import Sequence
from functools import reduce
from typing import Final

from pyspark.sql import Column, Window, WindowSpec
from pyspark.sql import functions as F

_BUCKETS: Final = 1_000


def rows_by_group(group: Sequence[str], order: Sequence[str]) -> WindowSpec:
    """Rows by ``group`` and then ``order``, in buckets of the first column of ``group``."""
    bucket = F.pmod(F.xxhash64(group[0]), F.lit(_BUCKETS))
    return Window.partitionBy(bucket).orderBy(*group, *order)


def before(column: str, group: Sequence[str], order: Sequence[str]) -> Column:
    """The column in the row before, of the same group; null in the first."""
    rows = rows_by_group(group, order)
    return F.when(
        _all_same(group, [F.lag(name).over(rows) for name in group]), F.lag(column).over(rows)
    )


def after(column: str, group: Sequence[str], order: Sequence[str]) -> Column:
    """The column in the row after, of the same group; null in the last."""
    rows = rows_by_group(group, order)
    return F.when(
        _all_same(group, [F.lead(name).over(rows) for name in group]), F.lead(column).over(rows)
    )


def is_first(group: Sequence[str], order: Sequence[str]) -> Column:
    """Whether a row is the first of its group."""
    rows = rows_by_group(group, order)
    return ~_all_same(group, [F.lag(name).over(rows) for name in group])


def _all_same(group: Sequence[str], others: Sequence[Column]) -> Column:
    same = [F.col(name).eqNullSafe(other) for name, other in zip(group, others, strict=True)]
    return reduce(Column.__and__, same)
