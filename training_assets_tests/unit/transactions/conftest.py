"""One PostgreSQL server for all tests, and a bank on it for each."""

import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from pyspark.sql import SparkSession

pytest.importorskip("psycopg", reason="needs the extra training-assets[transactions]")

from training_assets.transactions.database import Database
from training_assets_tests.unit.transactions.banks import Bank

OpenBank = Callable[..., Bank]


@pytest.fixture(scope="session")
def postgres() -> Iterator[Path]:
    """The folder of a server that ends with the tests."""
    with tempfile.TemporaryDirectory() as folder:
        database = Database(folder)
        try:
            yield Path(folder)
        finally:
            database.leave()


@pytest.fixture(scope="session")
def database(postgres: Path) -> Iterator[Database]:
    database = Database(str(postgres))
    yield database
    database.leave()


@pytest.fixture
def open_bank(tmp_path: Path, database: Database, spark: SparkSession) -> OpenBank:
    """Makes a bank with the given settings, in an emptied database."""
    count = 0

    def open_one(**limits: Any) -> Bank:
        nonlocal count
        count += 1
        root = tmp_path / f"bank-{count}"
        root.mkdir()
        return Bank(root, database, spark, **limits)

    return open_one
