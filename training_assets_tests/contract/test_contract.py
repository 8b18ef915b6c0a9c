"""Every rule of the data contract, on frames and as it is published, on every engine."""

import pytest
from pyspark.sql import SparkSession

from training_assets_tests.contract.rules import RULES
from training_assets_tests.support.cases import frame_rows, published_rows

by_name = pytest.mark.parametrize("name", [pytest.param(n, id=n.replace(" ", "_")) for n in RULES])


@pytest.fixture(scope="session")
def published(
    spark: SparkSession, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, list[tuple]]:
    return published_rows(spark, tmp_path_factory.mktemp("published"), RULES)


@by_name
def test_rule_holds_on_frames(spark: SparkSession, name: str) -> None:
    assert frame_rows(spark, RULES[name]) == RULES[name].rows


@by_name
def test_rule_holds_for_what_is_published(published: dict[str, list[tuple]], name: str) -> None:
    assert published[name] == RULES[name].rows
