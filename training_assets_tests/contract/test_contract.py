"""Every rule of the data contract, on frames and as it is published, on every engine."""

from collections import Counter
from collections.abc import Iterable

import pytest
from pyspark.sql import SparkSession

from training_assets_tests.contract.rules import RULES
from training_assets_tests.support.cases import Case, frame_rows, published_rows, rows_in_company


def knobs_of(case: Case) -> tuple[int, int | None]:
    return case.length, case.lookback


# Of other settings Spark publishes no lake: it computes them on frames, and publishes settings
# that differ from these in test_lake_against_reference.py.
USUAL = Counter(map(knobs_of, RULES.values())).most_common(1)[0][0]
AS_USUAL = {name: case for name, case in RULES.items() if knobs_of(case) == USUAL}
OTHERS = {name: case for name, case in RULES.items() if name not in AS_USUAL}
only_sail = pytest.mark.parametrize("engine", ["sail"], indirect=True, scope="session")


def by_name(names: Iterable[str]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("name", [pytest.param(n, id=n.replace(" ", "_")) for n in names])


@pytest.fixture(scope="session")
def published(
    spark: SparkSession, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, list[tuple]]:
    return published_rows(spark, tmp_path_factory.mktemp("published"), AS_USUAL)


@pytest.fixture(scope="session")
def published_otherwise(
    spark: SparkSession, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, list[tuple]]:
    return published_rows(spark, tmp_path_factory.mktemp("otherwise"), OTHERS)


@only_sail
@by_name(RULES)
def test_rule_holds_on_frames(spark: SparkSession, name: str) -> None:
    assert frame_rows(spark, RULES[name]) == RULES[name].rows


@pytest.fixture(scope="session")
def in_company(spark: SparkSession) -> dict[str, list[tuple]]:
    return rows_in_company(spark, RULES)


@by_name(RULES)
def test_rule_holds_on_frames_with_the_rows_of_others(
    in_company: dict[str, list[tuple]], name: str
) -> None:
    """Four queries for all, where Spark would take a second for each."""
    assert in_company[name] == RULES[name].rows


@by_name(AS_USUAL)
def test_rule_holds_for_what_is_published(published: dict[str, list[tuple]], name: str) -> None:
    assert published[name] == RULES[name].rows


@only_sail
@by_name(OTHERS)
def test_rule_holds_for_what_is_published_under_its_own_settings(
    published_otherwise: dict[str, list[tuple]], name: str
) -> None:
    assert published_otherwise[name] == RULES[name].rows


def test_few_rules_have_settings_of_their_own() -> None:
    assert len(OTHERS) < len(AS_USUAL) / 10
