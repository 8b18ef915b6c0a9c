"""A feed and its database for tests: write a source, feed it, apply it, look at the tables."""

import csv
from collections.abc import Sequence
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

from pyspark.sql import SparkSession

from training_assets.lake import Store, open_store
from training_assets.transactions.database import Connection, Database
from training_assets.transactions.detector import Detector
from training_assets.transactions.feed import Feed, feed_all
from training_assets.transactions.settings import TransactionSettings
from training_assets.transactions.state import start_again
from training_assets_tests.unit.transactions.reference import Expected, Row, Weight

HEADER = "step,customer,age,gender,zipcodeOri,merchant,zipMerchant,category,amount,fraud"


def line(customer: str, merchant: str, gender: str = "F", amount: str = "10", step: int = 0) -> str:
    return f"{step},'{customer}','4','{gender}','28007','{merchant}','28007','es_food',{amount},0"


def write_lines(path: Path, lines: Sequence[str]) -> None:
    path.write_text("\n".join([HEADER, *lines]) + "\n")


def write_rows(path: Path, rows: Sequence[Row]) -> None:
    write_lines(path, [line(r.customer, r.merchant, r.gender, str(r.amount)) for r in rows])


def write_weights(path: Path, weights: Sequence[Weight]) -> None:
    lines = [f"'{w.customer}','{w.merchant}',{w.weight},'type{i}',0" for i, w in enumerate(weights)]
    path.write_text("\n".join(["Source,Target,Weight,typeTrans,fraud", *lines]) + "\n")


class Bank:
    """One workdir, one source, one database that is emptied when the bank opens."""

    def __init__(
        self,
        root: Path,
        database: Database,
        session: SparkSession,
        workdir: str = "",
        **limits: Any,
    ) -> None:
        self.source, self.importance = root / "transactions.csv", root / "importance.csv"
        write_lines(self.source, [])
        write_weights(self.importance, [])
        self.settings = TransactionSettings(
            workdir=workdir or str(root / "bank"),
            transactions=str(self.source),
            importance=str(self.importance),
            **limits,
        )
        self.store: Store = open_store(self.settings.workdir)
        self.database, self.session = database, session
        database.run(lambda connection: start_again(connection, self.settings, generation=0))

    def feed(self, **changed: Any) -> int:
        return feed_all(Feed(self.store, replace(self.settings, **changed)), lambda message: None)

    def detector(self, **changed: Any) -> Detector:
        settings = replace(self.settings, **changed)
        return Detector(self.session, self.store, self.database, settings, lambda message: None)

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        def ask(connection: Connection) -> list[tuple[Any, ...]]:
            return connection.execute(query).fetchall()  # type: ignore[call-overload,no-any-return]

        return self.database.run(ask)

    def detections(self) -> list[tuple[str, str, str]]:
        """All that were made, in the order of their numbers."""
        return [
            (pattern, merchant, customer)
            for pattern, merchant, customer in self.rows(
                "SELECT pattern_id, merchant_id, customer_id FROM detections ORDER BY detection_id"
            )
        ]

    def detections_by_chunk(self) -> dict[int, list[tuple[str, str, str]]]:
        found: dict[int, list[tuple[str, str, str]]] = {}
        for last, *key in self.rows(
            "SELECT chunk_last, pattern_id, merchant_id, customer_id FROM detections "
            "ORDER BY detection_id"
        ):
            found.setdefault(last + 1, []).append(tuple(key))  # type: ignore[arg-type]
        return found

    def current(self) -> set[tuple[str, str, str]]:
        return set(
            self.rows("SELECT pattern_id, merchant_id, customer_id FROM current_detections")  # type: ignore[arg-type]
        )

    def state(self) -> Expected:
        """What the database holds, in the shape of the reference."""
        state = Expected()
        state.merchants = dict(self.rows("SELECT * FROM merchant_transaction_counts"))  # type: ignore[arg-type]
        for merchant, customer, count, amount, weight_sum, weight_count in self.rows(
            "SELECT merchant_id, customer_id, transaction_count, sum_amount, weight_sum, "
            "weight_count FROM customer_merchant_stats"
        ):
            state.pairs[merchant, customer] = (count, amount)
            if weight_count:
                state.weights[merchant, customer] = (weight_sum, weight_count)
        state.genders = dict(self.rows("SELECT customer_id, gender FROM customers"))  # type: ignore[arg-type]
        state.merchant_genders = {
            (merchant, gender): count
            for merchant, gender, count in self.rows("SELECT * FROM merchant_gender_stats")
        }
        state.current = self.current()
        return state

    def files(self) -> dict[str, list[dict[str, str]]]:
        """Rows of the CSV files of detections, by name."""
        store = self.store.child("detections")
        return {
            entry.path: list(csv.DictReader(store.read(entry.path).decode().splitlines()))
            for entry in store.list()
            if entry.path.endswith(".csv")
        }


def require_equal(found: Expected, expected: Expected) -> None:
    assert found.merchants == dict(expected.merchants)
    assert found.pairs == expected.pairs
    assert found.genders == expected.genders
    assert found.merchant_genders == dict(expected.merchant_genders)
    assert found.weights == {k: v for k, v in expected.weights.items() if k in expected.pairs}
    assert found.current == expected.current


def amount(text: str) -> Decimal:
    return Decimal(text)
