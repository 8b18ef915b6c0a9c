"""Transactions at full size: from command to last file, a chunk in a big state, and upserts.

    python -m benchmarks.transactions [--only run|scale|upserts] [--out FILE]

run: BankSim's 594,643 transactions through feed and detector, by the command, embedded database.
scale: chunks of 10,000 rows on a state with 100 times the customers and merchants.
upserts: chunks into the same tables, in one transaction each, turn by turn. As here: whole (state,
patterns, planned files, ledger), and its part that changes the state. As the usual solutions do it,
to the same state: an upsert per pair, and one per transaction of a pandas frame. And the barest
upserts: of plain tuples, and without what a new pair brings along (its weight, a gender's count).
"""

import argparse
import io
import json
import os
import platform
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any, Final
from urllib.parse import quote

import numpy as np
import pandas as pd
import psutil
import psycopg
import pyarrow as pa
import pyarrow.compute as pc
from psycopg.conninfo import conninfo_to_dict
from psycopg.sql import SQL, Identifier
from pyarrow import csv as arrow_csv

from training_assets.lake import Entry
from training_assets.sample.banksim import TRANSACTIONS, write_banksim
from training_assets.transactions.database import Connection, Database
from training_assets.transactions.inbox import Chunk
from training_assets.transactions.server import Server
from training_assets.transactions.settings import TransactionSettings
from training_assets.transactions.show import summary
from training_assets.transactions.state import (
    Arrived,
    apply_chunks,
    change_state,
    prepare,
    start_again,
)

# merchant, customer, amount, gender
Row = tuple[str, str, Decimal, str]
Work = Callable[[Connection], Any]

OUT: Final = Path(__file__).parent / "results" / "transactions.json"
REPEATS: Final = 3
CHUNK_ROWS: Final = 10_000
# A hundred times BankSim's; 200 of the merchants are above the limit.
CUSTOMERS, MERCHANTS, PAIRS, BIG_MERCHANTS = 411_200, 5_000, 4_180_000, 200
SCALE_CHUNKS: Final = 12
LOADED_CHUNKS: Final = 20
# Of one weight alone, weight_rank_key is the weight times 10^36.
KEY_ZEROS: Final = "0" * 36
AMOUNT: Final = pa.decimal128(38, 18)
NOTHING: Final = pa.table(
    {
        name: pa.array([], kind)
        for name, kind in {"row": pa.int64(), "reason": pa.string(), "content": pa.string()}.items()
    }
)


def main() -> None:
    given = _arguments()
    results: dict[str, Any] = json.loads(given.out.read_text()) if given.out.exists() else {}
    with tempfile.TemporaryDirectory(dir=given.scratch) as scratch:
        for name, measure in (("run", whole_run), ("scale", big_state), ("upserts", upserts)):
            if given.only in (None, name):
                folder = Path(scratch) / name
                folder.mkdir()
                results[name] = {**measure(folder), "machine": _machine()}
                print(name, json.dumps(results[name], indent=2), flush=True)
                given.out.write_text(json.dumps(results, indent=2) + "\n")
                shutil.rmtree(folder)


def whole_run(folder: Path) -> dict[str, Any]:
    """Seconds from the command to its end, and of each chunk; every run in a new place."""
    files = write_banksim(folder / "source")
    seconds, chunks, latencies = [], [], []
    for number in range(REPEATS):
        settings = TransactionSettings(workdir=str(folder / f"work-{number}"))
        began = time.monotonic()
        _run_command(settings, files)
        seconds.append(time.monotonic() - began)
        database = Database.of(settings)
        times = database.run(
            lambda c: c.execute("SELECT seconds FROM applied_chunks ORDER BY first_row").fetchall()
        )
        found = summary(database)
        database.leave()
        chunks.append([each for (each,) in times])
        latencies.append(found.latency)
    return {
        "rows": TRANSACTIONS,
        "seconds": seconds,
        "median_seconds": median(seconds),
        "cpu_seconds": _cpu_of_a_run(TransactionSettings(workdir=str(folder / "cpu")), files),
        "chunk_seconds": _spread([each for run in chunks for each in run]),
        "first_ten_chunks": median([each for run in chunks for each in run[:10]]),
        "last_ten_chunks": median([each for run in chunks for each in run[-10:]]),
        "latency_p50_p99": latencies,
        "detections": found.by_pattern,
    }


def _run_command(settings: TransactionSettings, files: tuple[Path, Path]) -> None:
    command = [sys.executable, "-m", "training_assets.cli", "transactions", "run", "--drain"]
    command += ["--transactions", str(files[0]), "--importance", str(files[1])]
    subprocess.run([*command, "--workdir", settings.workdir], check=True, stdout=subprocess.DEVNULL)


def _cpu_of_a_run(settings: TransactionSettings, files: tuple[Path, Path]) -> dict[str, float]:
    """Of the command and of the server, whatever else the machine does; without making it."""
    database = Database.of(settings)
    database.run(lambda c: c.execute("SELECT 1"))
    pid_file = Path(settings.workdir, "temp", "postgres", "data", "postmaster.pid")
    server = psutil.Process(int(pid_file.read_text().split()[0]))
    before, own = _tree_cpu(server), resource.getrusage(resource.RUSAGE_CHILDREN)
    _run_command(settings, files)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    found = {
        "command": after.ru_utime + after.ru_stime - own.ru_utime - own.ru_stime,
        "database": _tree_cpu(server) - before,
    }
    database.leave()
    return found


def _tree_cpu(process: psutil.Process) -> float:
    """With its children, those that ended too."""
    living = [child.cpu_times() for child in process.children(recursive=True)]
    return sum(process.cpu_times()[:4]) + sum(sum(times[:4]) for times in living)


def big_state(folder: Path) -> dict[str, Any]:
    """Seconds of a chunk on the big state, with new pairs among known ones at any merchant."""
    database, settings = Database(str(folder / "postgres")), TransactionSettings()
    rng = np.random.default_rng(0)
    try:
        began = time.monotonic()
        database.run(lambda c: start_again(c, settings, generation=0))
        known = _load_big_state(database, rng)
        loaded = time.monotonic() - began
        first, seconds, cpu_seconds = len(known[0]) * 20, [], []
        database.run(lambda c: c.execute("UPDATE progress SET next_row = %s", (first,)))
        for number in range(SCALE_CHUNKS):
            arrived = _arrived(first + number * CHUNK_ROWS, _any_pairs(rng, known))
            cpu = database.run(_cpu_seconds)
            seconds.append(_timed(database, _apply(arrived, settings)))
            cpu_seconds.append(database.run(_cpu_seconds) - cpu)
        made = database.run(lambda c: c.execute("SELECT count(*) FROM detections").fetchall())
    finally:
        database.leave()
    return {
        "customers": CUSTOMERS,
        "merchants": MERCHANTS,
        "pairs": len(known[0]),
        "merchants_above_the_limit": BIG_MERCHANTS,
        "load_seconds": loaded,
        "first_chunk_seconds": seconds[0],
        "chunk_seconds": _spread(seconds[1:]),
        "chunk_cpu_seconds_of_the_database": _spread(cpu_seconds[1:]),
        "detections": made[0][0],
    }


def upserts(folder: Path) -> dict[str, Any]:
    """Chunks of BankSim's shape into the same tables, each way in a database of its own."""
    server, settings = Server(folder / "postgres"), TransactionSettings()
    rng = np.random.default_rng(0)
    times: dict[str, list[float]] = {way: [] for way in _WAYS}
    # Of both ends of the connection, which other work on the machine does not change.
    cpus: dict[str, list[float]] = {way: [] for way in _WAYS}
    host = quote(conninfo_to_dict(server.start())["host"], safe="")
    try:
        _load_banksim_state(f"postgresql:///postgres?host={host}&user=postgres", rng)
        databases = {}
        for way in _WAYS:
            # Copies of the one that was loaded, as full and as old as it.
            with psycopg.connect(server.start(), autocommit=True) as connection:
                connection.execute(
                    SQL("CREATE DATABASE {} TEMPLATE postgres").format(Identifier(way))
                )
            databases[way] = Database(f"postgresql:///{way}?host={host}&user=postgres")
            databases[way].run(lambda c: prepare(c, settings))
        for number in range(LOADED_CHUNKS, LOADED_CHUNKS + REPEATS + 1):
            rows = _banksim_rows(rng)
            for way, prepared in _WAYS.items():
                work, database = prepared(rows, number, settings), databases[way]
                cpu = time.process_time() + database.run(_cpu_seconds)
                times[way].append(_timed(database, work))
                cpus[way].append(time.process_time() + database.run(_cpu_seconds) - cpu)
        are_equal = {
            way: _state(databases[way]) == _state(databases["whole_chunk"]) for way in _WAYS
        }
        for database in databases.values():
            database.leave()
    finally:
        server.leave()
    middle, middle_cpu = _medians(times), _medians(cpus)
    return {
        "rows": CHUNK_ROWS,
        "seconds": times,
        "cpu_seconds": cpus,
        "median_seconds": middle,
        "median_cpu_seconds": middle_cpu,
        "same_tables_as_whole_chunk": are_equal,
        "times_as_fast": _times_as_fast(middle),
        "times_as_fast_by_cpu": _times_as_fast(middle_cpu),
    }


def _medians(measured: dict[str, list[float]]) -> dict[str, float]:
    return {way: median(values[1:]) for way, values in measured.items()}


def _times_as_fast(middle: dict[str, float]) -> dict[str, dict[str, float]]:
    ours = ("whole_chunk", "state_alone")
    return {
        way: {other: middle[other] / middle[way] for other in _WAYS if other not in ours}
        for way in ours
    }


_MERCHANT: Final = (
    "INSERT INTO merchant_transaction_counts AS m VALUES (%s, %s) ON CONFLICT (merchant_id) "
    "DO UPDATE SET transaction_count = m.transaction_count + excluded.transaction_count"
)
_PAIR: Final = (
    "INSERT INTO customer_merchant_stats AS s "
    "(merchant_id, customer_id, transaction_count, sum_amount) VALUES (%s, %s, %s, %s) "
    "ON CONFLICT (merchant_id, customer_id) DO UPDATE "
    "SET transaction_count = s.transaction_count + excluded.transaction_count, "
    "sum_amount = s.sum_amount + excluded.sum_amount"
)
_CUSTOMER: Final = (
    "INSERT INTO customers VALUES (%s, %s) "
    "ON CONFLICT (customer_id) DO UPDATE SET gender = excluded.gender"
)
# Of a pair that is new.
_WEIGHT: Final = (
    "UPDATE customer_merchant_stats s SET weight_sum = w.weight_sum, "
    "weight_count = w.weight_count, "
    "weight_rank_key = weight_rank_key(w.weight_sum, w.weight_count) "
    "FROM customer_importance w WHERE s.merchant_id = %s AND s.customer_id = %s "
    "AND w.merchant_id = s.merchant_id AND w.customer_id = s.customer_id"
)
_GENDER: Final = (
    "INSERT INTO merchant_gender_stats AS g VALUES (%s, %s, 1) "
    "ON CONFLICT (merchant_id, gender) DO UPDATE SET customer_count = g.customer_count + 1"
)


class _Upserts:
    """The usual statements, each executed by itself; the server prepares what comes again."""

    def __init__(self, connection: Connection) -> None:
        self._cursor = psycopg.Cursor(connection)

    def merchant(self, merchant: str, count: int) -> None:
        self._cursor.execute(_MERCHANT, (merchant, count))

    def pair(self, merchant: str, customer: str, count: int, amount: Decimal) -> None:
        self._cursor.execute(_PAIR, (merchant, customer, count, amount))

    def pair_in_full(
        self, merchant: str, customer: str, count: int, amount: Decimal, gender: str
    ) -> None:
        """With what a new pair brings along: its weight, and one more customer of that gender."""
        self._cursor.execute(
            _PAIR + " RETURNING s.transaction_count", (merchant, customer, count, amount)
        )
        if self._cursor.fetchone() == (count,):
            self._cursor.execute(_WEIGHT, (merchant, customer))
            self._cursor.execute(_GENDER, (merchant, gender))

    def customer(self, customer: str, gender: str) -> None:
        self._cursor.execute(_CUSTOMER, (customer, gender))


def _per_pair(rows: list[Row], number: int, settings: TransactionSettings) -> Work:
    pairs, merchants, customers = _aggregated(rows)

    def work(connection: Connection) -> None:
        upserts = _Upserts(connection)
        for merchant, count in merchants.items():
            upserts.merchant(merchant, count)
        for pair in pairs:
            upserts.pair_in_full(*pair)
        for customer, gender in customers.items():
            upserts.customer(customer, gender)

    return work


def _per_transaction(rows: list[Row], number: int, settings: TransactionSettings) -> Work:
    frame = pd.DataFrame(rows, columns=["merchant", "customer", "amount", "gender"])

    def work(connection: Connection) -> None:
        upserts = _Upserts(connection)
        for _, row in frame.iterrows():
            upserts.merchant(row["merchant"], 1)
            upserts.pair_in_full(row["merchant"], row["customer"], 1, row["amount"], row["gender"])
            upserts.customer(row["customer"], row["gender"])

    return work


def _barest_per_pair(rows: list[Row], number: int, settings: TransactionSettings) -> Work:
    pairs, merchants, customers = _aggregated(rows)

    def work(connection: Connection) -> None:
        upserts = _Upserts(connection)
        for merchant, count in merchants.items():
            upserts.merchant(merchant, count)
        for merchant, customer, count, amount, _ in pairs:
            upserts.pair(merchant, customer, count, amount)
        for customer, gender in customers.items():
            upserts.customer(customer, gender)

    return work


def _barest_per_transaction(rows: list[Row], number: int, settings: TransactionSettings) -> Work:
    def work(connection: Connection) -> None:
        upserts = _Upserts(connection)
        for merchant, customer, amount, gender in rows:
            upserts.merchant(merchant, 1)
            upserts.pair(merchant, customer, 1, amount)
            upserts.customer(customer, gender)

    return work


def _whole_chunk(rows: list[Row], number: int, settings: TransactionSettings) -> Work:
    return _apply(_arrived(number * CHUNK_ROWS, _totals(rows)), settings)


def _state_alone(rows: list[Row], number: int, settings: TransactionSettings) -> Work:
    totals = _totals(rows)
    return lambda connection: change_state(connection, totals, settings)


_WAYS: Final[dict[str, Callable[[list[Row], int, TransactionSettings], Work]]] = {
    "whole_chunk": _whole_chunk,
    "state_alone": _state_alone,
    "per_pair": _per_pair,
    "per_transaction": _per_transaction,
    "barest_per_pair": _barest_per_pair,
    "barest_per_transaction": _barest_per_transaction,
}


def _aggregated(
    rows: list[Row],
) -> tuple[list[tuple[str, str, int, Decimal, str]], dict[str, int], dict[str, str]]:
    pairs = _counted(rows)
    merchants: dict[str, int] = {}
    for merchant, _, count, _, _ in pairs:
        merchants[merchant] = merchants.get(merchant, 0) + count
    return pairs, merchants, {customer: gender for _, customer, _, _, gender in pairs}


def _load_banksim_state(address: str, rng: np.random.Generator) -> None:
    """A feed under way: all pairs have weights, and the two large merchants are above the limit."""
    database, settings = Database(address), TransactionSettings()
    database.run(lambda c: start_again(c, settings, generation=0))
    database.run(
        lambda c: c.execute(
            "INSERT INTO customer_importance SELECT 'M' || m, 'C' || c, (c * 7 + m) % 1000, 1 "
            "FROM generate_series(0, 49) m, generate_series(0, 4111) c"
        )
    )
    for number in range(LOADED_CHUNKS):
        database.run(_whole_chunk(_banksim_rows(rng), number, settings))
    with psycopg.connect(address, autocommit=True) as connection:
        connection.execute("VACUUM ANALYZE")
    database.leave()


def _state(database: Database) -> list[Any]:
    """The four tables that every way changes, in full."""
    return [
        database.run(
            lambda c, query=f"SELECT * FROM {table} ORDER BY 1, 2": c.execute(query).fetchall()
        )
        for table in (
            "merchant_transaction_counts",
            "customer_merchant_stats",
            "customers",
            "merchant_gender_stats",
        )
    ]


def _cpu_seconds(connection: Connection) -> float:
    """Of the process that serves this connection, on this machine."""
    stat = Path(f"/proc/{connection.info.backend_pid}/schedstat").read_text()
    return int(stat.split()[0]) / 1e9


def _timed(database: Database, work: Callable[[Connection], Any]) -> float:
    began = time.monotonic()
    database.run(work)
    return time.monotonic() - began


def _apply(arrived: Arrived, settings: TransactionSettings) -> Callable[[Connection], str]:
    def work(connection: Connection) -> str:
        return apply_chunks(
            connection,
            arrived,
            settings,
            generation=0,
            started_at=datetime.now(UTC),
            began=time.monotonic(),
        )

    return work


def _arrived(first: int, totals: pa.Table) -> Arrived:
    last = first + CHUNK_ROWS - 1
    return Arrived([Chunk(first, last, Entry(f"chunk-{first}", 1, 1))], ["-"], totals, NOTHING)


def _load_big_state(database: Database, rng: np.random.Generator) -> tuple[Any, Any]:
    """Pairs with their weights; those of big merchants have up to 40 transactions, others 2."""
    # Big merchants have thousands of customers each, as BankSim's two.
    merchant = np.where(
        rng.random(PAIRS) < 0.2,
        rng.integers(0, BIG_MERCHANTS, PAIRS),
        rng.integers(BIG_MERCHANTS, MERCHANTS, PAIRS),
    )
    customer = rng.integers(0, CUSTOMERS, PAIRS)
    pair = np.unique(merchant * CUSTOMERS + customer)
    merchant, customer = pair // CUSTOMERS, pair % CUSTOMERS
    count = np.where(merchant < BIG_MERCHANTS, rng.integers(2, 40, len(pair)), 2)
    weight = rng.integers(1, 1_000, len(pair))

    columns = [_texts("M", merchant), _texts("C", customer), count, count * 27, weight]
    columns += [np.ones(len(pair), dtype=np.int64), _texts("", weight, KEY_ZEROS)]
    out = io.BytesIO()
    arrow_csv.write_csv(
        pa.table(dict(zip("mcnawkr", map(pa.array, columns), strict=True))),
        out,
        arrow_csv.WriteOptions(include_header=False),
    )

    def load(connection: Connection) -> None:
        # Made at once when the rows are there; row by row they take minutes.
        indexes = connection.execute(
            "SELECT indexname, indexdef FROM pg_indexes WHERE tablename = 'customer_merchant_stats'"
        ).fetchall()
        connection.execute(
            "ALTER TABLE customer_merchant_stats DROP CONSTRAINT customer_merchant_stats_pkey"
        )
        connection.execute(
            "DROP INDEX customer_merchant_stats_customer, customer_merchant_stats_weight"
        )
        with connection.cursor().copy(
            "COPY customer_merchant_stats (merchant_id, customer_id, transaction_count, "
            "sum_amount, weight_sum, weight_count, weight_rank_key) FROM STDIN (FORMAT csv)"
        ) as copy:
            copy.write(out.getvalue())
        for _, definition in indexes:
            connection.execute(definition)
        connection.execute(
            "INSERT INTO customer_importance SELECT merchant_id, customer_id, weight_sum, "
            "weight_count FROM customer_merchant_stats"
        )
        connection.execute(
            "INSERT INTO merchant_transaction_counts SELECT merchant_id, sum(transaction_count) "
            "FROM customer_merchant_stats GROUP BY 1"
        )
        connection.execute(
            "INSERT INTO customers SELECT customer_id, CASE WHEN right(customer_id, 1) "
            "IN ('0', '2', '4', '6', '8') THEN 'F' ELSE 'M' END FROM customer_merchant_stats "
            "GROUP BY 1"
        )
        connection.execute(
            "INSERT INTO merchant_gender_stats SELECT merchant_id, gender, count(*) "
            "FROM customer_merchant_stats JOIN customers USING (customer_id) GROUP BY 1, 2"
        )

    database.run(load)
    database.run(lambda c: c.execute("ANALYZE"))
    return merchant, customer


def _any_pairs(rng: np.random.Generator, known: tuple[Any, Any]) -> pa.Table:
    """Rows of known pairs, 85 % of them at big merchants as in BankSim, and 5 % of new pairs."""
    merchant, customer = known
    num_big = int(np.searchsorted(merchant, BIG_MERCHANTS))
    at_big = rng.integers(0, num_big, CHUNK_ROWS)
    elsewhere = rng.integers(num_big, len(merchant), CHUNK_ROWS)
    chosen = np.where(rng.random(CHUNK_ROWS) < 0.85, at_big, elsewhere)
    is_new = rng.random(CHUNK_ROWS) < 0.05
    customers = np.where(is_new, rng.integers(0, CUSTOMERS, CHUNK_ROWS), customer[chosen])
    rows = [
        (f"M{m}", f"C{c}", Decimal(27), "FM"[c % 2])
        for m, c in zip(merchant[chosen], customers, strict=True)
    ]
    return _totals(rows)


def _texts(before: str, numbers: Any, after: str = "") -> pa.Array:
    return pc.binary_join_element_wise(before, pa.array(numbers).cast(pa.string()), after, "")


def _banksim_rows(rng: np.random.Generator) -> list[Row]:
    merchant = np.where(
        rng.random(CHUNK_ROWS) < 0.85,
        rng.integers(0, 2, CHUNK_ROWS),
        rng.integers(2, 50, CHUNK_ROWS),
    )
    customer = rng.integers(0, 4_112, CHUNK_ROWS)
    cents = rng.integers(100, 9_000, CHUNK_ROWS)
    return [
        (f"M{m}", f"C{c}", Decimal(int(a)) / 100, "FM"[c % 2])
        for m, c, a in zip(merchant, customer, cents, strict=True)
    ]


def _counted(
    rows: list[Row],
) -> list[tuple[str, str, int, Decimal, str]]:
    found: dict[tuple[str, str], tuple[int, Decimal, str]] = {}
    for merchant, customer, amount, gender in rows:
        count, total, _ = found.get((merchant, customer), (0, Decimal(0), gender))
        found[merchant, customer] = (count + 1, total + amount, gender)
    return [(m, c, *values) for (m, c), values in found.items()]


def _totals(rows: list[Row]) -> pa.Table:
    merchants, customers, counts, amounts, genders = zip(*_counted(rows), strict=True)
    return pa.table(
        {
            "merchant_id": pa.array(merchants),
            "customer_id": pa.array(customers),
            "transaction_count": pa.array(counts, pa.int64()),
            "sum_amount": pa.array(amounts, AMOUNT),
            "last_row": pa.array(range(len(merchants)), pa.int64()),
            "gender": pa.array(genders),
        }
    )


def _spread(seconds: list[float]) -> dict[str, float]:
    return {
        "min": min(seconds),
        "median": median(seconds),
        "p99": float(np.percentile(seconds, 99)),
        "max": max(seconds),
    }


def _machine() -> dict[str, Any]:
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False
    )
    return {
        "cores": len(os.sched_getaffinity(0)),
        "load_before": os.getloadavg()[0],
        "commit": commit.stdout.strip(),
        "python": platform.python_version(),
        **{name: version(name) for name in ("pysail", "pyspark", "pyarrow", "psycopg")},
    }


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--only", choices=("run", "scale", "upserts"))
    parser.add_argument("--out", type=Path, default=OUT)
    parser.add_argument("--scratch", help="Folder for data; about 3 GB.")
    return parser.parse_args()


if __name__ == "__main__":
    main()
