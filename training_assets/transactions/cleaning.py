"""From texts to numbers and ids, on a DataFrame: what counts, and what cannot be taken and why.

A row is quarantined, whole, for the first of: a line that has no such columns; a step that is no
whole number; a customer or merchant that is empty, too long, or holds a character that no database
takes; an amount that is no plain decimal number, or is negative. An amount of zero counts. A gender
that is none of the known words is unknown.
"""

from typing import Final

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from training_assets.transactions.source import QUOTES

MAX_ID_LENGTH: Final = 200
# Exact for up to 12 digits before the point and 18 after it; a sum of 10^8 of them still fits.
AMOUNT_TYPE: Final = "decimal(38,18)"
_STEP: Final = r"^[0-9]{1,9}$"
_AMOUNT: Final = r"^[+-]?[0-9]{1,12}([.][0-9]{1,18})?$"
_GENDERS: Final = {
    "M": ("M", "MALE", "1"),
    "F": ("F", "FEMALE", "2"),
    "E": ("E", "ENTERPRISE"),
}
_SHOWN: Final = ("step", "customer", "gender", "merchant", "category", "amount")


def clean_transactions(raw: DataFrame) -> DataFrame:
    """One row per row: chunk_first, chunk_last, row, ids, gender, amount, or else a reason."""
    step, customer, merchant, gender, amount = (
        _trimmed(name) for name in ("step", "customer", "merchant", "gender", "amount")
    )
    reason = F.coalesce(
        F.col("problem"),
        _unless(step.rlike(_STEP), "step is no whole number"),
        *_id_reasons("customer", customer),
        *_id_reasons("merchant", merchant),
        _unless(amount.rlike(_AMOUNT), "amount is no plain decimal number"),
        F.when(amount.startswith("-") & amount.rlike("[1-9]"), F.lit("amount is negative")),
    )
    good = reason.isNull()
    return raw.select(
        "chunk_first",
        "chunk_last",
        "row",
        F.when(good, merchant).alias("merchant_id"),
        F.when(good, customer).alias("customer_id"),
        F.when(good, _gender(gender)).alias("gender"),
        F.when(good, amount).cast(AMOUNT_TYPE).alias("amount"),
        reason.alias("reason"),
        _content(_SHOWN).alias("content"),
    )


def pair_totals(clean: DataFrame, *, by_chunk: bool) -> DataFrame:
    """Per (chunk, merchant, customer): number, sum, and the gender on the newest row.

    Quarantined rows are counted under a null merchant and customer. Not ``by_chunk``, all rows
    count as of one.
    """
    chunk = ["chunk_first", "chunk_last"] if by_chunk else []
    return clean.groupBy(*chunk, "merchant_id", "customer_id").agg(
        F.count(F.lit(1)).alias("transaction_count"),
        F.sum("amount").cast(AMOUNT_TYPE).alias("sum_amount"),
        F.max("row").alias("last_row"),
        F.max_by("gender", "row").alias("gender"),
    )


def clean_weights(raw: DataFrame) -> DataFrame:
    """One row per row: row, ids, weight, or else a reason."""
    customer, merchant, weight = (_trimmed(name) for name in ("Source", "Target", "Weight"))
    reason = F.coalesce(
        F.col("problem"),
        *_id_reasons("Source", customer),
        *_id_reasons("Target", merchant),
        _unless(weight.rlike(_AMOUNT), "Weight is no plain decimal number"),
    )
    good = reason.isNull()
    return raw.select(
        F.col("source_row").alias("row"),
        F.when(good, merchant).alias("merchant_id"),
        F.when(good, customer).alias("customer_id"),
        F.when(good, weight).cast(AMOUNT_TYPE).alias("weight"),
        reason.alias("reason"),
        _content(("Source", "Target", "Weight", "typeTrans")).alias("content"),
    )


def weight_totals(clean: DataFrame) -> DataFrame:
    """Per (merchant, customer), over all types: sum and number of the weights."""
    return clean.groupBy("merchant_id", "customer_id").agg(
        F.sum("weight").cast(AMOUNT_TYPE).alias("weight_sum"),
        F.count(F.lit(1)).alias("weight_count"),
    )


def quarantined(clean: DataFrame) -> DataFrame:
    """row, reason and content of what cannot be taken."""
    return clean.filter(F.col("reason").isNotNull()).select("row", "reason", "content")


def _trimmed(name: str) -> Column:
    return F.coalesce(F.btrim(F.col(name), F.lit(QUOTES)), F.lit(""))


def _gender(text: Column) -> Column:
    word = F.upper(text)
    known = F.lit("U")
    for gender, words in _GENDERS.items():
        known = F.when(word.isin(*words), F.lit(gender)).otherwise(known)
    return known


def _id_reasons(name: str, text: Column) -> tuple[Column, ...]:
    return (
        F.when(text == "", F.lit(f"{name} is empty")),
        F.when(F.length(text) > MAX_ID_LENGTH, F.lit(f"{name} is longer than {MAX_ID_LENGTH}")),
        F.when(text.contains("\x00"), F.lit(f"{name} holds a NUL character")),
    )


def _unless(condition: Column, reason: str) -> Column:
    return F.when(~condition, F.lit(reason))


def _content(names: tuple[str, ...]) -> Column:
    """The line as it came where there is one, else its columns."""
    columns = F.concat_ws(",", *(F.coalesce(F.col(name), F.lit("")) for name in names))
    return F.coalesce(F.col("content"), columns)
