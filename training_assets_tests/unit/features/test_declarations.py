"""A shop's own features, what is refused, and the files that are made from declarations."""

import json
from pathlib import Path

import pytest
from pyspark.sql import SparkSession

from training_assets.errors import SchemaError, SettingsError
from training_assets.features import (
    Feature,
    FeatureTable,
    Given,
    build_item_features,
    build_user_features,
    count,
    declared_table,
    declared_tables,
)
from training_assets.features.measures import Favorite
from training_assets.features.schema_file import catalogue_text, difference, files, main, write
from training_assets_tests.support import shop_features
from training_assets_tests.support.feature_cases import CART, LIKE, act, order
from training_assets_tests.support.feature_frames import DAY, frame

ROOT = Path(__file__).parents[3]
SHOP = shop_features.__name__


def test_features_of_a_shop_stand_behind_the_others_and_have_values(
    spark: SparkSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRAINING_ASSETS_FEATURES", SHOP)
    rows = [act(CART, 1), act(LIKE, 2), act(LIKE, 3), order(4, price="10"), order(5, price="9")]
    acted = frame(spark, "actions", rows)
    users = build_user_features(acted, days=[DAY])
    assert users.columns[-2:] == ["cart_likes_2d", "dear_share"]
    (user,) = users.collect()
    assert (user.cart_likes_2d, user.dear_share) == (2, 1 / 2)
    (item,) = build_item_features(acted, days=[DAY]).collect()
    assert item.days_unsold == 4


def test_features_of_a_shop_are_documented_as_others_are() -> None:
    page = catalogue_text(declared_tables(SHOP))
    assert "| `cart_likes_2d` | long | Carts and likes of the last two days. |" in page
    assert "count of add_to_cart or like in 2 days" in page


def test_a_module_that_is_not_there_is_named() -> None:
    with pytest.raises(SettingsError, match="'no_such_shop' cannot be imported"):
        declared_tables("no_such_shop")


def test_a_module_without_features_is_named() -> None:
    with pytest.raises(SettingsError, match="json declares no feature; expected one of the tuples"):
        declared_tables("json")


def feature(name: str, measure: object) -> Feature:
    return Feature(name, "long", "What it is.", measure)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("table", "refused", "message"),
    [
        (
            "user_features",
            feature("sessions", count()),
            "user_features.sessions: the name is taken",
        ),
        ("user_features", feature("dt", count()), "user_features.dt: the name is taken"),
        (
            "item_features",
            feature("x", Favorite("name")),
            "item_features.x: Favorite cannot be collected for item_features",
        ),
        (
            "item_features",
            feature("x", Given("catalogue", "colour")),
            "item_features.x: colour of the catalogue is unknown; expected one of",
        ),
    ],
)
def test_a_feature_that_a_table_cannot_have_is_refused(
    table: str, refused: Feature, message: str
) -> None:
    with pytest.raises(SettingsError, match=message):
        declared_table(table).extended((refused,))


def test_kinds_and_windows_derive_from_the_declaration() -> None:
    features = {feature.name: feature for feature in declared_table("item_features").features}
    assert features["trending_score"].windows == (7, 35)
    assert not features["trending_score"].has_lookback
    assert features["click_through_rate"].kinds == ("click", "shown", "view")
    assert features["price"].kinds == ("catalogue",)
    assert not features["price"].has_lookback


def test_the_committed_schema_and_catalogue_are_those_of_the_declarations() -> None:
    changes = "".join(difference(path, text) for path, text in files(ROOT).items())
    assert not changes, (
        "the declared features differ from the committed files; raise FEATURES_VERSION if values "
        f"or columns change, then run python -m training_assets.features.schema_file\n{changes}"
    )


def test_a_version_that_is_written_is_not_written_again_with_another_schema(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(tmp_path)
    path = tmp_path / "data" / "schemas" / "v1.json"
    changed = json.loads(path.read_text())
    changed["tables"]["user_features"]["columns"][2]["type"] = "double"
    path.write_text(json.dumps(changed, indent=2) + "\n")
    assert main(["--root", str(tmp_path), "--check"]) == 1
    assert '+          "type": "long"' in capsys.readouterr().out
    with pytest.raises(SchemaError, match=r"v1.json: version 1 has another schema(.|\n)*double"):
        write(tmp_path)
    write(tmp_path, overwrite=True)
    assert main(["--root", str(tmp_path), "--check"]) == 0


def test_a_table_with_two_features_of_one_name_is_refused() -> None:
    twice = (feature("x", count()), feature("x", count()))
    with pytest.raises(SettingsError, match=r"shop\.x: the name is taken"):
        FeatureTable("shop", "a row", ("customer_id",), twice, leaves=(type(count()),))
