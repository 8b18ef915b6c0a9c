"""``sample_negatives``: DataFrames in, the positives and their negatives out.

    seen ───────> only customers with positives ─┐
    positives ───────────────────────────────────┼──> slices of customers ──> draws per customer
    candidates ──> a copy for each slice ────────┘

Which negatives a customer gets depends on seed, day, customer, and the customer's own rows with the
day's candidates: not on other customers, the order of rows, partitions or the engine.
"""

from numbers import Integral
from typing import Any, Final, Literal

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F
from pyspark.sql import types as T

from training_assets.errors import SchemaError, SettingsError
from training_assets.features.inputs import as_day, is_text_id, require_same_ids
from training_assets.sampling import kernel, text_ids
from training_assets.sampling.kernel import CANDIDATE, POSITIVE, SAMPLES_DDL, SEEN
from training_assets.sampling.text_ids import TEXT_SAMPLES_DDL

Strategy = Literal["uniform", "popularity"]
STRATEGIES: Final = ("uniform", "popularity")
_COLUMNS: Final = ("dt", "customer_id", "item_id", "label", "sampling_probability")
_WHERE: Final = "sample_negatives"
_DAYS: Final = (T.DateType, T.TimestampType, T.TimestampNTZType, T.StringType)
_IDS: Final = (T.IntegralType, T.StringType)
_WEIGHTS: Final = (T.NumericType,)

# A day's customers are cut into so many parts, each with a copy of the day's candidates.
_SLICES: Final = 16
_MAX_RATIO: Final = 2**31 - 1
# Tasks for all days together; engines share them out to the cores there are.
_TASKS: Final = 64


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

    dt is a date, a time (its UTC day) or text that begins YYYY-MM-DD; ids are integers or text,
    alike in all three. One row per (dt, customer_id, item_id) with label and
    sampling_probability. A negative is a candidate that the customer has not acted on and that is
    no positive of the customer that day; none is given twice. Where fewer are left than asked for,
    all of them are given. sampling_probability is its weight / the weight of all that the customer
    could be given that day (uniform: 1 / their number), null for positives. Rows with a null id or
    day do not count.

    Nothing is computed here: the result is as lazy as its inputs. A task holds its share of
    ``seen`` in memory, at about 60 bytes a row.

    Raises SettingsError for ratio, strategy and seed, SchemaError for missing or mistyped columns.
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
    _check(ratio, strategy, seed)
    # Whoever asks for more than there can be gets all; the product with the positives must fit.
    ratio = min(int(ratio), _MAX_RATIO)
    is_uniform = strategy == "uniform"
    for name, frame in (("positives", positives), ("seen", seen), ("candidates", candidates)):
        ids = ["item_id"] if name == "candidates" else ["customer_id", "item_id"]
        _require_columns(name, frame, ids, needs_weight=name == "candidates" and not is_uniform)
    require_same_ids(positives, seen, "customer_id", _WHERE)
    for other in (seen, candidates):
        require_same_ids(positives, other, "item_id", _WHERE)
    is_text = any(is_text_id(positives, name) for name in ("customer_id", "item_id"))
    sample_rows = text_ids.sample_text_rows if is_text else kernel.sample_rows
    rows = (_text_rows if is_text else _rows)(
        _pairs(positives), _seen(positives, seen), _candidates(candidates, is_uniform)
    )

    def sample(batches: Any) -> Any:
        return sample_rows(batches, ratio=ratio, is_uniform=is_uniform, seed=seed)

    samples = rows.repartition(_TASKS, "dt", "slice").mapInArrow(
        sample, TEXT_SAMPLES_DDL if is_text else SAMPLES_DDL
    )
    given = {name: positives.schema[name].dataType for name in ("dt", "customer_id", "item_id")}
    types = {**given, "positive_item_id": given["item_id"]}
    if not isinstance(given["dt"], T.StringType):
        types["dt"] = T.DateType()
    return samples.withColumns({name: F.col(name).cast(of) for name, of in types.items()})


def _pairs(frame: DataFrame) -> DataFrame:
    """dt as a date, customer_id and item_id; no nulls."""
    return frame.select(_day(frame), "customer_id", "item_id").dropna()


def _seen(positives: DataFrame, seen: DataFrame) -> DataFrame:
    customers = _pairs(positives).select("dt", "customer_id").distinct()
    return _pairs(seen).join(customers, ["dt", "customer_id"], "left_semi")


def _candidates(frame: DataFrame, is_uniform: bool) -> DataFrame:
    """dt, item_id and weight; no nulls."""
    weight = F.lit(1) if is_uniform else F.coalesce(F.col("weight").try_cast("long"), F.lit(0))
    columns = (_day(frame), "item_id", weight.cast("long").alias("weight"))
    return frame.select(*columns).dropna(subset=["dt", "item_id"])


def _day(frame: DataFrame) -> Column:
    if isinstance(frame.schema["dt"].dataType, T.DateType):
        return F.col("dt")
    return F.date_from_unix_date(as_day(frame, "dt")).alias("dt")


def _rows(positives: DataFrame, seen: DataFrame, candidates: DataFrame) -> DataFrame:
    """All three as (dt, slice, kind, number, item_id); see ``kernel.sample_rows``."""
    customer = F.col("customer_id").cast("long")
    part, every_part = _slices(customer)
    return (
        _tagged(candidates, every_part, CANDIDATE, F.col("weight"))
        .unionAll(_tagged(positives, part, POSITIVE, customer))
        .unionAll(_tagged(seen, part, SEEN, customer))
    )


def _text_rows(positives: DataFrame, seen: DataFrame, candidates: DataFrame) -> DataFrame:
    """With the customer as text beside; see ``text_ids.sample_text_rows``."""
    customer = F.col("customer_id").cast("string")
    part, every_part = _slices(customer)
    nothing = F.lit(0).cast("long")
    nobody = F.lit("")
    return (
        _tagged(candidates, every_part, CANDIDATE, F.col("weight"), nobody)
        .unionAll(_tagged(positives, part, POSITIVE, nothing, customer))
        .unionAll(_tagged(seen, part, SEEN, nothing, customer))
    )


def _slices(customer: Column) -> tuple[Column, Column]:
    """The slice of a customer, and one row for each slice."""
    part = F.pmod(F.xxhash64(customer), F.lit(_SLICES))
    return part, F.explode(F.array(*(F.lit(n) for n in range(_SLICES))))


def _tagged(
    frame: DataFrame, part: Column, kind: int, number: Column, customer: Column | None = None
) -> DataFrame:
    beside = [] if customer is None else [customer.alias("customer")]
    of_item = "long" if customer is None else "string"
    columns = (part.alias("slice"), number.alias("number"), F.col("item_id"), *beside)
    return frame.select("dt", *columns).select(
        "dt",
        F.col("slice").cast("int").alias("slice"),
        F.lit(kind).cast("tinyint").alias("kind"),
        F.col("number").cast("long").alias("number"),
        F.col("item_id").cast(of_item).alias("item_id"),
        *(["customer"] if beside else []),
    )


def _check(ratio: object, strategy: str, seed: object) -> None:
    for name, value in (("ratio", ratio), ("seed", seed)):
        if not isinstance(value, Integral) or isinstance(value, bool):
            raise SettingsError(
                f"{_WHERE}: {name} is {value!r}; expected a whole number. Correct {name}."
            )
    if isinstance(ratio, int) and ratio < 0:
        raise SettingsError(
            f"{_WHERE}: ratio is {ratio}; expected 0 or more negatives for each positive. "
            "Raise ratio."
        )
    if strategy not in STRATEGIES:
        raise SettingsError(
            f"{_WHERE}: strategy is {strategy!r}; expected one of {', '.join(STRATEGIES)}. "
            "Choose one of them."
        )


def _require_columns(name: str, frame: DataFrame, ids: list[str], *, needs_weight: bool) -> None:
    found = {field.name: field.dataType for field in frame.schema.fields}
    expected: dict[str, tuple[tuple[type, ...], str]] = {"dt": (_DAYS, "date")}
    expected |= dict.fromkeys(ids, (_IDS, "long, or string"))
    if needs_weight:
        expected["weight"] = (_WEIGHTS, "long")
    for column, (kinds, of) in expected.items():
        if column not in found:
            raise SchemaError(
                f"{_WHERE}: {name} has no column {column}; expected {', '.join(expected)}, found "
                f"{', '.join(found)}. Add it or rename the column that holds it."
            )
        if not isinstance(found[column], kinds):
            raise SchemaError(
                f"{_WHERE}: {name}.{column} is {found[column].simpleString()}; expected {of}. "
                "Cast the column."
            )
