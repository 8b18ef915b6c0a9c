"""Builds of the tiny lake that must succeed."""

from collections.abc import Sequence
from datetime import date

from pyspark.sql import SparkSession

from training_assets.lake import Lake
from training_assets.pipeline import build_days
from training_assets.schemas import Table
from training_assets.tables import SPECS
from training_assets_tests.support.lakes import SETTINGS


def build(spark: SparkSession, lake: Lake, tables: Sequence[Table], days: Sequence[date]) -> None:
    specs = [SPECS[table.name] for table in tables]
    problems = [r.problem for r in build_days(spark, lake, SETTINGS, specs, days) if r.problem]
    assert problems == []
    lake.refresh()
