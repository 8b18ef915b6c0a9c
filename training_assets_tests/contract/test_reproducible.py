"""The same inputs give the same bytes on one engine, and the same rows on both.

And a lake that was rebuilt after changes holds what one from scratch holds.
"""

import os
import shutil
from collections.abc import Iterable
from datetime import date
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from pyspark.sql import SparkSession

from training_assets.lake import Lake
from training_assets.pipeline import build_days, changed_customers
from training_assets.provenance import Provenance
from training_assets.provenance.provenance import CODE_VERSION
from training_assets.schemas import SCHEMA_VERSION
from training_assets.settings import Settings
from training_assets_tests.support import reference
from training_assets_tests.support.frames import DAY, before, click, order
from training_assets_tests.support.lakes import (
    SHORT,
    SILENT,
    TRUNCATED,
    tiny_actions,
    tiny_rankings,
    write_raw_lake,
)
from training_assets_tests.support.late_lakes import (
    CH,
    TI,
    UA,
    everything,
    grow_orders,
    late_click,
    outdated,
    put,
    raw_file,
    raw_rows,
    rebuild,
    tables_of,
)
from training_assets_tests.support.planting import unpublish
from training_assets_tests.support.tables import SEQUENCE

VERSIONS = {"training-assets", "pyspark", "pysail", "deltalake", "engine"}
SETTINGS = Settings(history_length=6, lookback_days=2)
ACTION_DAYS = [before(n) for n in (3, 2, 1, 0)]
IMPRESSION_DAYS = [before(1), DAY]


def build(spark: SparkSession, root: Path) -> Lake:
    actions, *later = SEQUENCE.values()
    for specs, days in (([actions], ACTION_DAYS), (later, IMPRESSION_DAYS)):
        reports = list(build_days(spark, Lake.at(root), SETTINGS, specs, days))
        assert [report.problem for report in reports if report.problem] == []
    return Lake.at(root)


def bytes_of(lake: Lake) -> dict[tuple[str, date], list[bytes]]:
    return {
        (table, day): [Path(uri).read_bytes() for uri in lake.snapshot(table).uris(day)]
        for table in SEQUENCE
        for day in lake.days(table)
    }


def raw_lake(root: Path) -> Path:
    """Two files of clicks on one day, so that their order may differ."""
    rankings = [row for row in tiny_rankings() if row["dt"] in IMPRESSION_DAYS]
    actions = [row for row in tiny_actions() if row.get("dt", row.get("order_date")) in ACTION_DAYS]
    write_raw_lake(
        root, rankings, actions, impression_days=IMPRESSION_DAYS, action_days=ACTION_DAYS
    )
    more = [click(customer, 77, before(2)) for customer in range(1, 30)]
    put(raw_file(root, "clicks", before(2), "more.parquet"), "clicks", more)
    return root


def shuffled_copy(raw: Path, root: Path) -> Path:
    """The same files written in another order, with other names and modification times."""
    files: Iterable[Path] = sorted((raw / "raw").rglob("*.parquet"), reverse=True)
    for n, file in enumerate(files):
        target = root / file.relative_to(raw)
        # Names that sort the other way round.
        name = {"part-0.parquet": "z.parquet", "more.parquet": "a.parquet"}.get(file.name)
        target = target.with_name(name or file.name)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, target)
        os.utime(target, (1_000_000_000 + n, 1_000_000_000 + n))
    return root


on_sail_only = pytest.mark.parametrize("engine", ["sail"], indirect=True)


@pytest.fixture(scope="module")
def raw(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return raw_lake(tmp_path_factory.mktemp("raw"))


@pytest.fixture(scope="module")
def built(spark: SparkSession, raw: Path, tmp_path_factory: pytest.TempPathFactory) -> Lake:
    root = tmp_path_factory.mktemp("built")
    shutil.copytree(raw / "raw", root / "raw")
    return build(spark, root)


def test_two_lakes_from_the_same_rows_hold_the_same_bytes(
    spark: SparkSession, built: Lake, raw: Path, tmp_path: Path
) -> None:
    other = build(spark, shuffled_copy(raw, tmp_path))
    found, expected = bytes_of(other), bytes_of(built)
    assert found.keys() == expected.keys()
    assert [key for key in expected if found[key] != expected[key]] == []
    contents = [
        {key: lake.manifest(*key)["content"] for key in expected} for lake in (built, other)
    ]
    assert contents[0] == contents[1]


def copy_of(built: Lake, folder: Path) -> Lake:
    return Lake.at(shutil.copytree(built.store.url, folder / "lake"))


@on_sail_only
def test_days_alone_give_the_bytes_that_a_range_gives(
    spark: SparkSession, built: Lake, tmp_path: Path
) -> None:
    lake, specs = copy_of(built, tmp_path), list(SEQUENCE.values())
    # Of its own day's actions no history makes use, so all three can be built at once.
    for day in IMPRESSION_DAYS:
        for table in SEQUENCE:
            unpublish(lake, table, day)
        reports = list(build_days(spark, lake, SETTINGS, specs, [day]))
        assert [report.problem for report in reports if report.problem] == []
        assert all(report.has_changed for report in reports)
    lake.refresh()
    found, expected = bytes_of(lake), bytes_of(built)
    assert [key for key in expected if found[key] != expected[key]] == []


def test_rows_and_their_order_are_those_of_the_contract_on_both_engines(built: Lake) -> None:
    sources = [raw_rows(built, name) for name in ("clicks", "add_to_carts", "previous_orders")]
    actions = reference.unified_actions(*sources)
    shown = sorted(
        reference.training_input(raw_rows(built, "impressions"), *sources, 6, 2),
        key=lambda row: (row[1], row[2]),
    )
    for day in ACTION_DAYS:
        of_day = [action[1:] for action in actions if action.day == day]
        # What only an event stream tells of an action comes after that.
        found = [row[:4] for row in values_of(built, UA, day)]
        assert [row[0] for row in found] == sorted(row[0] for row in of_day)
        assert sorted(found) == sorted(of_day)
    for day in IMPRESSION_DAYS:
        of_day = [row[1:] for row in shown if row[0] == str(day)]
        found = values_of(built, TI, day)
        assert [row[:2] for row in found] == [row[:2] for row in of_day]
        assert sorted(found) == sorted(of_day)
        customers = sorted({row[0] for row in of_day})
        newest = {c: reference.history(actions, c, day, 6, 2) for c in customers}
        assert values_of(built, CH, day) == [
            (
                customer,
                [a.item_id for a in newest[customer]],
                [a.action_type for a in newest[customer]],
                [(day - a.day).days for a in newest[customer]],
            )
            for customer in customers
        ]


def values_of(lake: Lake, table: str, day: date) -> list[tuple[Any, ...]]:
    (file,) = tables_of(lake, table, day)
    return [tuple(row.values()) for row in file.to_pylist()]


LENGTHS = {"history_length": 6, "lookback_days": 2}
KNOBS = {
    UA: {"interaction_kinds": "missing"},
    CH: {"action_types": [1, 2, 3], "bots": "leave_out", **LENGTHS},
    TI: LENGTHS,
}


def test_manifest_says_what_made_the_day(built: Lake, engine: str) -> None:
    for table in SEQUENCE:
        manifest = built.manifest(table, DAY)
        assert manifest["schema_version"] == SCHEMA_VERSION
        assert manifest["built_from"]["code_version"] == CODE_VERSION
        assert manifest["settings"] == manifest["built_from"]["settings"] == KNOBS[table]
        assert manifest["versions"].keys() == VERSIONS
        assert manifest["versions"]["engine"].split()[0] == engine
        assert len(manifest["content"]) == len(manifest["inputs"]) == 32


@pytest.fixture
def small_lake(built: Lake, tmp_path: Path) -> Lake:
    """A copy with four changes: two late clicks, an order twice, and clicks in another order."""
    lake = copy_of(built, tmp_path)
    root = Path(lake.store.url)
    late_click(SHORT, 5, before(3))(root)  # read by the first day of histories only
    late_click(TRUNCATED, 5, before(2))(root)  # read by both
    file = raw_file(root, "clicks", before(1))  # the same rows in another order
    put(file, "clicks", pq.ParquetFile(file).read().to_pylist()[::-1])
    grow_orders(root, order(SILENT, 5, before(2)), order(SILENT, 5, before(2)))
    return lake


def test_customers_with_other_actions_are_counted_with_what_is_theirs(
    spark: SparkSession, small_lake: Lake, engine: str
) -> None:
    lake, days = small_lake, [before(3), before(2), before(1)]
    found = changed_customers(spark, Provenance(lake, SETTINGS), days)
    assert found.customers == {before(3): 1, before(2): 2}
    assert found.examples == [TRUNCATED, SHORT, SILENT]
    assert found.histories == {before(1): 2, DAY: 1}
    # SHORT has three rankings a day of three items, TRUNCATED two; SILENT is shown nothing.
    assert found.rows == {before(1): 15, DAY: 6}
    if engine == "spark":
        # The same queries, which take many seconds there.
        return
    one = changed_customers(spark, Provenance(lake, SETTINGS), days, num_examples=1)
    assert one.examples == [TRUNCATED]
    assert changed_customers(spark, Provenance(lake, SETTINGS), []).customers == {}


@on_sail_only
def test_rebuilt_lake_holds_what_one_from_scratch_holds_in_the_same_order(
    spark: SparkSession, small_lake: Lake, tmp_path: Path
) -> None:
    lake, days = small_lake, [before(3), before(2), before(1)]
    assert outdated(lake, SETTINGS) == ({UA: days}, {CH: IMPRESSION_DAYS, TI: IMPRESSION_DAYS})
    done = rebuild(spark, lake, SETTINGS)
    assert [result.days for result in done] == [days, IMPRESSION_DAYS, IMPRESSION_DAYS]
    assert done[0].changed == days[:2]
    assert outdated(lake, SETTINGS) == ({}, {})
    shutil.copytree(lake.raw.url, tmp_path / "scratch" / "raw")
    assert everything(lake) == everything(build(spark, tmp_path / "scratch"))
