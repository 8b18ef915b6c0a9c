"""The table that CONTRIBUTING.md adds is one: built, checked, published, and an asset."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pyspark.sql import SparkSession

from training_assets.definitions import build_definitions
from training_assets.engine.resource import SparkResource
from training_assets.lake import Lake
from training_assets.list_format import SealedParquet
from training_assets.pipeline import build_days
from training_assets.provenance import Provenance, find_outdated
from training_assets.settings import Settings
from training_assets.tables import SPECS, TableSpec, unified_actions
from training_assets_tests.support.frames import DAY, before, click
from training_assets_tests.support.lakes import write_raw_lake

SHOWN = (Path(__file__).parents[3] / "CONTRIBUTING.md").read_text()
IMPORTS = """
from collections.abc import Mapping, Sequence
from datetime import date
from typing import Final
from pyspark.sql import functions as F
from training_assets import checks
from training_assets.kernels import write_rows
from training_assets.lake.frames import read_days
from training_assets.provenance import BuiltFrom, Upstream
from training_assets.schemas import UNIFIED_ACTIONS, Column, Table
from training_assets.schemas.published import _DT
from training_assets.tables import Build, NewFiles, TableSpec, unified_actions
from training_assets.tables.build import write_days
"""


@pytest.fixture
def activity(monkeypatch: pytest.MonkeyPatch) -> Iterator[TableSpec]:
    """The specification as it is shown, in the registry."""
    blocks = re.findall(r"```python\n(.*?)```", SHOWN, re.DOTALL)
    code = "\n".join(re.sub(r"^   ", "", block, flags=re.MULTILINE) for block in blocks)
    names: dict[str, Any] = {}
    exec(compile(IMPORTS + code, "CONTRIBUTING.md", "exec"), names)
    spec: TableSpec = names["SPEC"]
    monkeypatch.setitem(SPECS, spec.name, spec)
    return spec


@pytest.mark.parametrize("engine", ["sail"], indirect=True, scope="session")
def test_rows_are_built_checked_published_and_known_when_late(
    spark: SparkSession, activity: TableSpec, tmp_path: Path
) -> None:
    days = [before(1), DAY]
    actions = [click(1, 7, DAY), click(1, 8, DAY), click(2, 7, DAY), click(2, 7, before(1))]
    write_raw_lake(tmp_path, [], actions, impression_days=days, action_days=days)
    lake, settings = Lake.at(tmp_path), Settings(history_length=4)
    reports = list(build_days(spark, lake, settings, [unified_actions.SPEC, activity], days))
    assert [report.problem for report in reports] == [None] * 4
    assert {check.check.name for report in reports for check in report.checks} >= {"schema"}
    (uri,) = lake.snapshot("activity").uris(DAY)
    assert SealedParquet(uri).read().to_pylist() == [
        {"customer_id": 1, "num_actions": 2},
        {"customer_id": 2, "num_actions": 1},
    ]
    tables = [unified_actions.BUILT_FROM, activity.built_from]
    assert find_outdated(Provenance(Lake.at(tmp_path), settings), tables).days == ()


def test_it_is_an_asset_with_columns_checks_and_lineage(
    activity: TableSpec, tmp_path: Path
) -> None:
    defs = build_definitions(Settings(lake=str(tmp_path)), SparkResource())
    graph = defs.resolve_asset_graph()
    (key,) = [key for key in graph.get_all_asset_keys() if key.to_user_string() == "activity"]
    assert {parent.to_user_string() for parent in graph.get(key).parent_keys} == {"unified_actions"}
    assert any(check.asset_key == key for check in graph.asset_check_keys)
