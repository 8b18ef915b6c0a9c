"""The common way on Apache Spark: a range join, a window per customer and day, collect_list.

    python benchmarks/baselines/spark_window.py --lake L --out O --first D --last D \
        --output history|published --threads 2

Each impression day meets all actions of its customer's year; ``row_number`` keeps the newest 1000.
Histories are written once and read back for the training rows, which is cheaper than computing
them twice or caching them.
"""

import os
import sys

from job import LENGTH, LOOKBACK, MAX_ITEM, Clock, Job, parse
from pyspark.sql import DataFrame, SparkSession, Window
from pyspark.sql import functions as F


def open_session(threads: int) -> SparkSession:
    os.environ["PYSPARK_PYTHON"] = sys.executable
    return (
        SparkSession.builder.master(f"local[{threads}]")
        .appName("spark-window")
        .config("spark.driver.memory", "8g")
        .config("spark.driver.host", "127.0.0.1")
        .config("spark.driver.bindAddress", "127.0.0.1")
        .config("spark.sql.session.timeZone", "UTC")
        .config("spark.sql.shuffle.partitions", 8 * threads)
        .config("spark.sql.parquet.compression.codec", "zstd")
        .config("spark.sql.sources.parallelPartitionDiscovery.threshold", 2000)
        .config("spark.ui.enabled", "false")
        .config("spark.ui.showConsoleProgress", "false")
        .config("spark.log.level", "ERROR")
        .getOrCreate()
    )


def histories(actions: DataFrame, customer_days: DataFrame) -> DataFrame:
    """One row per customer and impression day, newest first, without padding."""
    newest_first = Window.partitionBy("dt", "customer_id").orderBy(
        F.desc("occurred_at"), "item_id", "action_type"
    )
    days_ago = F.datediff("dt", "action_dt")
    ranked = (
        customer_days.join(actions.withColumnRenamed("dt", "action_dt"), "customer_id")
        .where(days_ago.between(1, LOOKBACK))
        .withColumn("rank", F.row_number().over(newest_first))
        .where(F.col("rank") <= LENGTH)
    )
    action = F.struct("rank", "item_id", "action_type", days_ago.cast("smallint").alias("ago"))
    lists = ranked.groupBy("dt", "customer_id").agg(F.sort_array(F.collect_list(action)).alias("a"))

    def column(field: str, kind: str) -> F.Column:
        return F.coalesce(F.col(f"a.{field}"), F.array().cast(f"array<{kind}>"))

    return customer_days.join(lists, ["dt", "customer_id"], "left").select(
        "dt",
        "customer_id",
        column("item_id", "int").alias("action_items"),
        column("action_type", "tinyint").alias("action_types"),
        column("ago", "smallint").alias("action_days_ago"),
    )


def training_rows(rankings: DataFrame, history: DataFrame) -> DataFrame:
    """One row per valid impression item with padded arrays, in order of customer and ranking."""

    def padded(name: str) -> F.Column:
        values = F.col(name).cast("array<int>")
        return F.concat(values, F.array_repeat(F.lit(0), LENGTH - F.size(values))).alias(name)

    ordered = (
        rankings.join(history.drop("action_days_ago"), ["dt", "customer_id"])
        .repartition("dt")
        .sortWithinPartitions("dt", "customer_id", "ranking_id")
    )
    return (
        ordered.select(
            "dt",
            "customer_id",
            "ranking_id",
            F.explode("impressions").alias("item"),
            padded("action_items"),
            padded("action_types"),
        )
        .where(F.col("item.item_id").between(1, MAX_ITEM) & F.col("item.is_order").isNotNull())
        .select(
            "dt",
            "customer_id",
            "ranking_id",
            F.col("item.item_id").cast("long").alias("impression_item_id"),
            F.col("item.is_order").cast("int").alias("is_order"),
            "action_items",
            "action_types",
        )
    )


def run(spark: SparkSession, job: Job) -> None:
    days = F.col("dt").between(F.lit(job.first), F.lit(job.last))
    rankings = (
        spark.read.parquet(str(job.lake / "raw" / "impressions"))
        .where(days & F.col("customer_id").isNotNull())
        .select("dt", "customer_id", "ranking_id", "impressions")
    )
    actions = spark.read.parquet(str(job.lake / "unified_actions")).where(
        (F.col("dt") >= F.lit(job.base)) & (F.col("dt") < F.lit(job.last))
    )
    customer_days = rankings.select("dt", "customer_id").distinct()
    path = str(job.out / "customer_history")
    (
        histories(actions, customer_days)
        .repartition("dt")
        .sortWithinPartitions("dt", "customer_id")
        .write.partitionBy("dt")
        .parquet(path)
    )
    if job.is_published:
        rows = training_rows(rankings, spark.read.parquet(path))
        rows.write.partitionBy("dt").parquet(str(job.out / "training_input"))


def main() -> None:
    clock = Clock()
    job, _ = parse(__doc__)
    spark = open_session(job.threads)
    clock.ready()
    run(spark, job)
    clock.report()
    spark.stop()


if __name__ == "__main__":
    main()
