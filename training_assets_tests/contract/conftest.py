"""Published lakes that several modules look at, or copy and change."""

import shutil
from pathlib import Path

import pytest
from pyspark.sql import SparkSession

from training_assets.lake import Lake
from training_assets.schemas import CUSTOMER_HISTORY, TRAINING_INPUT, UNIFIED_ACTIONS
from training_assets_tests.support.lakes import ACTION_DAYS, IMPRESSION_DAYS, write_tiny_lake
from training_assets_tests.support.tiny_builds import build
from training_assets_tests.support.worlds import WORLDS, build_world


@pytest.fixture(scope="session")
def tiny(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The lake of ``support/lakes.py`` with all days published; not to be changed."""
    lake = Lake.at(write_tiny_lake(tmp_path_factory.mktemp("tiny")))
    build(spark, lake, [UNIFIED_ACTIONS], ACTION_DAYS)
    build(spark, lake, [CUSTOMER_HISTORY, TRAINING_INPUT], IMPRESSION_DAYS)
    return Path(lake.store.url)


@pytest.fixture
def tiny_copy(tiny: Path, tmp_path: Path) -> Lake:
    """A copy of it, with the modification times of the raw files."""
    return Lake.at(shutil.copytree(tiny, tmp_path / "lake"))


@pytest.fixture(scope="session")
def first_world(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> Lake:
    """The first of ``support/worlds.py``, built; not to be changed."""
    lake = WORLDS[0].write(tmp_path_factory.mktemp("world"))
    build_world(spark, lake, WORLDS[0])
    return lake
