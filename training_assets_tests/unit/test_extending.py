"""What docs/extending.md shows works, and docs/README.md leads to every page."""

import re
import sys
from datetime import date
from pathlib import Path
from types import ModuleType
from typing import Any

import dagster as dg
import pyarrow as pa
import pytest

from training_assets.features import declared_tables
from training_assets.lake import Lake
from training_assets.schemas import TRAINING_INPUT
from training_assets.sources.declared import parse
from training_assets_tests.support.planting import publish_day

DOCS = Path(__file__).parents[2] / "docs"
PAGE = (DOCS / "extending.md").read_text()
BLOCKS = re.findall(r"```(\w+)\n(.*?)```", PAGE, re.DOTALL)
PYTHON = [block for language, block in BLOCKS if language == "python"]
DAY = date(2026, 3, 1)


@pytest.fixture
def scope(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """The names that the page's Python defines, over a lake with one day."""
    monkeypatch.setenv("TRAINING_ASSETS_LAKE", str(tmp_path))
    monkeypatch.setenv("TRAINING_ASSETS_START_DATE", str(DAY))
    row = {"ranking_id": "r", "action_items": [0], "action_types": [0], "customer_id": 1}
    rows = [row | {"impression_item_id": item, "is_order": int(item == 6)} for item in (5, 6, 6)]
    table = pa.Table.from_pylist(rows, TRAINING_INPUT.arrow_schema)
    publish_day(Lake.at(tmp_path), TRAINING_INPUT, DAY, table)
    found: dict[str, Any] = {"__name__": "extending"}
    for block in PYTHON:
        exec(compile(block, "docs/extending.md", "exec"), found)
    return found


def test_own_assets_run_on_the_days_and_with_the_engine(scope: dict[str, Any]) -> None:
    defs: dg.Definitions = scope["defs"]
    parents = defs.resolve_asset_graph().get(dg.AssetKey("shown_items")).parent_keys
    assert parents == {dg.AssetKey("training_input")}
    result = dg.materialize(
        [scope["shown_items"]], partition_key=str(DAY), selection=["shown_items"]
    )
    (event,) = result.asset_materializations_for_node("shown_items")
    assert event.metadata["items"].value == 2


def test_the_engine_is_that_of_the_platform(scope: dict[str, Any]) -> None:
    resources = {"spark": scope["SparkResource"](engine="sail")}
    result = dg.materialize([scope["squares"]], resources=resources)
    (event,) = result.asset_materializations_for_node("squares")
    assert event.metadata["sum"].value == 385


def test_own_check_looks_at_the_newest_day(scope: dict[str, Any]) -> None:
    result = scope["newest_day_has_orders"]()
    assert result.passed
    assert result.metadata["orders"].value == 2


def test_own_sources_are_understood() -> None:
    (toml,) = (block for language, block in BLOCKS if language == "toml")
    declared = parse(toml.encode(), "docs/extending.md")
    assert [table.name for table in declared.further] == ["wishes"]


def test_own_features_become_columns(
    scope: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    module = ModuleType("features_of_the_page")
    module.USER_FEATURES = scope["USER_FEATURES"]  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, module.__name__, module)
    columns = [f.name for f in declared_tables(module.__name__)["user_features"].features]
    assert "likes_7d" in columns


def test_the_index_leads_to_every_page() -> None:
    links = re.findall(r"\]\(([^)#]+)\)", (DOCS / "README.md").read_text())
    assert all((DOCS / link).exists() for link in links)
    pages = {page.name for page in DOCS.glob("*.md")} - {"README.md"}
    assert pages <= set(links)
