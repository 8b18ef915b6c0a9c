"""Training samples: the positives of a day, and for each some items that the customer left alone.

    seen ───────> only customers with positives ─┐
    positives ───────────────────────────────────┼──> slices of customers ──> draws per customer
    candidates ──> a copy for each slice ────────┘

Which negatives a customer gets depends on seed, day, customer, and the customer's own rows with the
day's candidates: not on other customers, the order of rows, partitions or the engine.
"""

from typing import Any, Final, Literal

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F
from pyspark.sql import types as T

from training_assets import errors
from training_assets.engine.shipping import ship
from training_assets.errors import SchemaError, SettingsError
from training_assets.features import sampling_draws, sampling_kernel
from training_assets.features.sampling_kernel import CANDIDATE, POSITIVE, SAMPLES_DDL, SEEN

Strategy = Literal["uniform", "popularity"]
STRATEGIES: Final = ("uniform", "popularity")
_COLUMNS: Final = ("dt", "customer_id", "item_id", "label", "sampling_probability")

# A day's customers are cut into so many parts, each with a copy of the day's candidates.
_SLICES: Final = 16
# Tasks for all days together; engines share them out to the cores there are.
_TASKS: Final = 64

ship(errors, sampling_draws, sampling_kernel)


def sample_negatives(
    positives: DataFrame,
    seen: DataFrame,
    candidates: DataFrame,
    *,
    ratio: int = 4,
    strategy: Strategy = "uniform",
    seed: int = 0,
) -> DataFrame:
    """Positives (label 1.0) and up to ``ratio`` negatives (label 0.0) for each of them.

    positives   dt, customer_id, item_id; pairs given twice count once
    seen        dt, customer_id, item_id: all that a customer has acted on as of the end of dt, or
                what else shall not be given; pairs may come twice, and of other customers too
    candidates  dt, item_id, weight: what may be drawn on dt, with its actions in the window;
                ``uniform`` needs no weight
    strategy    ``uniform``, or ``popularity``: in proportion to max(weight, 1) ** 0.75

    One row per (dt, customer_id, item_id) with label and sampling_probability. A negative is a
    candidate that the customer has not acted on and that is no positive of the customer that day;
    none is given twice. Where fewer are left than asked for, all of them are given.
    sampling_probability is its weight / the weight of all that the customer could be given that
    day (uniform: 1 / their number), null for positives. Rows with a null id or day do not count.

    Nothing is computed here: the result is as lazy as its inputs. A task holds its share of
    ``seen`` in memory, at about 60 bytes a row.

    Raises SettingsError for ratio and strategy, SchemaError for missing or mistyped columns.
    """
    samples = sample_with_positives(
        positives, seen, candidates, ratio=ratio, strategy=strategy, seed=seed
    )
    return samples.select(*_COLUMNS)


def sample_with_positives(
    positives: DataFrame,
    seen: DataFrame,
    candidates: DataFrame,
    *,
    ratio: int = 4,
    strategy: Strategy = "uniform",
    seed: int = 0,
) -> DataFrame:
    """``sample_negatives`` with ``positive_item_id``: the positive that a negative is drawn for.

    A customer's first ``ratio`` negatives belong to the positive with the smallest id, the next
    ones to the second; that of a positive is itself. A negative takes its context from there.
    """
    _check(ratio, strategy)
    is_uniform = strategy == "uniform"
    for name, frame in (("positives", positives), ("seen", seen), ("candidates", candidates)):
        needed = ["item_id"] if name == "candidates" else ["customer_id", "item_id"]
        _require_columns(name, frame, needed)
    if not is_uniform:
        _require_columns("candidates", candidates, ["item_id", "weight"])
    rows = _rows(positives, seen, candidates, is_uniform)

    def sample(batches: Any) -> Any:
        return sampling_kernel.sample_rows(batches, ratio=ratio, is_uniform=is_uniform, seed=seed)

    samples = rows.repartition(_TASKS, "dt", "slice").mapInArrow(sample, SAMPLES_DDL)
    types = {field.name: field.dataType for field in positives.schema.fields}
    ids = {"customer_id": "customer_id", "item_id": "item_id", "positive_item_id": "item_id"}
    return samples.withColumns({name: F.col(name).cast(types[of]) for name, of in ids.items()})


def _rows(
    positives: DataFrame, seen: DataFrame, candidates: DataFrame, is_uniform: bool
) -> DataFrame:
    """All three as (dt, slice, kind, number, item_id); see ``sampling_kernel.sample_rows``."""
    pairs = ["dt", "customer_id", "item_id"]
    given = positives.select(*pairs).dropna()
    customers = given.select("dt", "customer_id").distinct()
    relevant = seen.select(*pairs).dropna().join(customers, ["dt", "customer_id"], "left_semi")
    part = F.pmod(F.xxhash64(F.col("customer_id").cast("long")), F.lit(_SLICES))
    every_part = F.explode(F.array(*(F.lit(n) for n in range(_SLICES))))
    weight = F.lit(1) if is_uniform else F.coalesce("weight", F.lit(0))
    copies = candidates.dropna(subset=["dt", "item_id"])
    return (
        _tagged(copies, every_part, CANDIDATE, weight)
        .unionAll(_tagged(given, part, POSITIVE, F.col("customer_id")))
        .unionAll(_tagged(relevant, part, SEEN, F.col("customer_id")))
    )


def _tagged(frame: DataFrame, part: Column, kind: int, number: Column) -> DataFrame:
    return frame.select("dt", part.alias("slice"), number.alias("number"), F.col("item_id")).select(
        "dt",
        F.col("slice").cast("int").alias("slice"),
        F.lit(kind).cast("tinyint").alias("kind"),
        F.col("number").cast("long").alias("number"),
        F.col("item_id").cast("long").alias("item_id"),
    )


def _check(ratio: int, strategy: str) -> None:
    if ratio < 0:
        raise SettingsError(
            f"sample_negatives: ratio is {ratio}; expected 0 or more negatives for each positive. "
            "Raise ratio."
        )
    if strategy not in STRATEGIES:
        raise SettingsError(
            f"sample_negatives: strategy is {strategy!r}; expected one of "
            f"{', '.join(STRATEGIES)}. Choose one of them."
        )


def _require_columns(name: str, frame: DataFrame, numbers: list[str]) -> None:
    found = {field.name: field.dataType for field in frame.schema.fields}
    for column in ("dt", *numbers):
        kind, expected = (T.DateType, "date") if column == "dt" else (T.IntegralType, "long")
        if column not in found:
            raise SchemaError(
                f"sample_negatives: {name} has no column {column}; expected dt, "
                f"{', '.join(numbers)}, found {', '.join(found)}. Add it or rename the column "
                "that holds it."
            )
        if not isinstance(found[column], kind):
            raise SchemaError(
                f"sample_negatives: {name}.{column} is {found[column].simpleString()}; expected "
                f"{expected}. Cast the column."
            )
