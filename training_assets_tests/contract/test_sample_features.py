"""How customer and item of each sample fit is what plain loops say, on both engines."""

from pathlib import Path

import pytest
from pyspark.sql import SparkSession

from training_assets.pipeline import build_days
from training_assets.schemas import TRAINING_SAMPLES
from training_assets.tables import SPECS
from training_assets_tests.support import feature_reference as reference
from training_assets_tests.support.feature_lakes import (
    ACTION_DAYS,
    FEATURE_DAYS,
    SETTINGS,
    as_given,
    shop_actions,
    shop_items,
    write_shop_lake,
)
from training_assets_tests.support.planting import rows_of

TABLE = TRAINING_SAMPLES.name
FIT = ("user_item_affinity", "category_match", "price_match", "price_ratio")


def test_features_of_pairs_are_those_of_the_reference(spark: SparkSession, tmp_path: Path) -> None:
    actions, items = shop_actions(), shop_items()
    lake = write_shop_lake(tmp_path, actions, items)
    reports = list(build_days(spark, lake, SETTINGS, [SPECS[TABLE]], FEATURE_DAYS))
    assert {report.problem for report in reports} == {None}
    lake.refresh()
    pairs, found = [], []
    for day in FEATURE_DAYS:
        for row in rows_of(lake, TABLE, day).to_pylist():
            customer, item = row["customer_id"], row["item_number"]
            pairs.append({"dt": day, "customer_id": customer, "item_id": item})
            found.append([row[name] for name in FIT])
    expected = [
        [row[name] for name in FIT]
        for row in reference.pair_features(
            pairs, as_given(actions), items, lookback_days=SETTINGS.lookback_days
        )
    ]
    assert len(found) > 100
    for pair, here, there in zip(pairs, found, expected, strict=True):
        assert here == [v if v is None else pytest.approx(v, rel=1e-9) for v in there], pair
    for values in zip(*found, strict=True):
        assert len(set(values)) > 1


@pytest.mark.parametrize("engine", ["sail"], indirect=True)
def test_a_day_that_no_catalogue_came_before_knows_nothing_of_pairs(
    spark: SparkSession, tmp_path: Path
) -> None:
    """In a range with days that have one, as alone."""
    lake = write_shop_lake(tmp_path, shop_actions(), shop_items())
    early, late = ACTION_DAYS[4], ACTION_DAYS[12]
    reports = list(build_days(spark, lake, SETTINGS, [SPECS[TABLE]], [early, late]))
    assert {report.problem for report in reports} == {None}
    lake.refresh()
    assert all(rows_of(lake, TABLE, early)[name].null_count for name in FIT)
    assert rows_of(lake, TABLE, late)["user_item_affinity"].null_count == 0
