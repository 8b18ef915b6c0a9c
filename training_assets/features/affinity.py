"""How near an item is to what a customer acted on: the cosine of two sparse vectors.

An item's vector has a 1 for each of its known attributes (category, subcategory, brand, price
quartile of its category). A customer's is the sum over the actions in the window, each times the
weight of its kind. So only the few attributes of the item have to be looked up:

    cosine = sum of the customer's weights of them / (norm of the customer x sqrt(their number))
"""

from typing import Final

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from training_assets.features.calendar import Calendar
from training_assets.features.catalogue import ATTRIBUTES, attribute_ranges, is_in_range
from training_assets.features.measures import KIND_CODES, KIND_WEIGHTS

_PAIR: Final = ("dt", "customer_id", "item_id")
_ENTRY: Final = ("dt", "customer_id", "attribute", "value")


def with_affinity(
    pairs: DataFrame, actions: DataFrame, catalogue: DataFrame, calendar: Calendar
) -> DataFrame:
    """Adds ``_pair_affinity``, 0 to 1, null where one of the vectors is zero."""
    customers = _customer_vectors(actions, catalogue, calendar)
    items = pairs.select(*_PAIR).distinct().join(catalogue, on=["dt", "item_id"])
    entries = items.select(*_PAIR, F.explode(_attributes()).alias("e")).select(
        *_PAIR, F.col("e.attribute").alias("attribute"), F.col("e.value").alias("value")
    )
    dot = F.sum("weight").cast("double")
    length = F.sqrt(F.max("norm")) * F.sqrt(F.count(F.lit(1)).cast("double"))
    near = (
        entries.join(customers, on=list(_ENTRY), how="left")
        .groupBy(*_PAIR)
        .agg(
            F.when(dot <= length, dot / length)
            .when(dot > length, F.lit(1.0))
            .alias("_pair_affinity")
        )
    )
    return pairs.join(near, on=list(_PAIR), how="left")


def _customer_vectors(actions: DataFrame, catalogue: DataFrame, calendar: Calendar) -> DataFrame:
    """(dt, customer_id, attribute, value, weight) and ``norm``, the sum of all weights squared."""
    of_items = (
        calendar.with_segment(actions)
        .groupBy("customer_id", "item_id", "segment")
        .agg(F.sum(_weight()).alias("weight"))
        .join(attribute_ranges(catalogue, ATTRIBUTES, calendar), on="item_id")
        .groupBy("customer_id", "segment", "since", "until", *ATTRIBUTES)
        .agg(F.sum("weight").alias("weight"))
    )
    counted = calendar.with_dt(of_items).where(is_in_range())
    entries = counted.select(
        "dt", "customer_id", "weight", F.explode(_attributes()).alias("e")
    ).select("dt", "customer_id", "weight", "e.attribute", "e.value")
    weight = F.col("weight").cast("double")
    return (
        entries.groupBy(*_ENTRY)
        .agg(F.sum("weight").alias("weight"))
        .groupBy("dt", "customer_id")
        .agg(
            F.sum(weight * weight).alias("norm"),
            F.collect_list(F.struct("attribute", "value", "weight")).alias("entries"),
        )
        .select("dt", "customer_id", "norm", F.explode("entries").alias("e"))
        .select("dt", "customer_id", "norm", "e.*")
    )


def _weight() -> Column:
    weight = F.lit(0)
    for kind, points in KIND_WEIGHTS.items():
        weight = F.when(F.col("kind") == KIND_CODES[kind], F.lit(points)).otherwise(weight)
    return weight


def _attributes() -> Column:
    """The known attributes of a row of the catalogue, as an array of (attribute, value)."""
    listed = F.array(
        *(
            F.struct(F.lit(number).alias("attribute"), F.col(name).cast("string").alias("value"))
            for number, name in enumerate(ATTRIBUTES)
        )
    )
    return F.filter(listed, lambda entry: entry["value"].isNotNull())
