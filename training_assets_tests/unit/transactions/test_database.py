"""A server of our own, one of somebody else, and what messages say of them."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from training_assets.errors import DatabaseError
from training_assets.transactions import database as module
from training_assets.transactions.database import (
    Connection,
    Database,
    database_location,
    migrate,
    sql,
)
from training_assets.transactions.server import Server
from training_assets.transactions.settings import TransactionSettings

SECRET = "s3cr3t-pa55word"


def answer(database: Database) -> object:
    return database.run(lambda c: c.execute("SELECT 40 + 2").fetchone())


def test_a_folder_becomes_a_server_that_ends_with_its_last_user(tmp_path: Path) -> None:
    folder = tmp_path / "server"
    code = f"""
from training_assets.transactions.database import Database
print(Database({str(folder)!r}).run(lambda c: c.execute('SELECT 1').fetchone()))
"""
    database = Database(str(folder))
    assert answer(database) == (42,)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "(1,)"
    # The other process ended, and this one still uses the server.
    assert answer(database) == (42,)
    assert (folder / "data" / "postmaster.pid").exists()
    database.leave()
    assert not (folder / "data" / "postmaster.pid").exists()


def test_nobody_else_can_reach_the_server(postgres: Path, database: Database) -> None:
    assert answer(database) == (42,)
    assert postgres.stat().st_mode & 0o077 == 0
    listening = database.run(lambda c: c.execute("SHOW listen_addresses").fetchone())
    assert listening == ("",)


def test_a_long_path_has_its_socket_elsewhere(tmp_path: Path) -> None:
    database = Database(str(tmp_path / ("long" * 30)))
    try:
        assert answer(database) == (42,)
    finally:
        database.leave()


def test_a_lost_connection_is_opened_again(tmp_path: Path) -> None:
    folder = tmp_path / "server"
    database = Database(str(folder))
    try:
        answer(database)
        Server(folder).stop("immediate")
        assert answer(database) == (42,)
    finally:
        database.leave()


def test_a_server_that_is_away_is_told_without_its_password(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "_FIRST_PATIENCE_SECONDS", 0.0)
    database = Database(f"postgresql://bank:{SECRET}@127.0.0.1:1/patterns")
    with pytest.raises(
        DatabaseError, match=r"database at 127\.0\.0\.1: no connection \("
    ) as caught:
        answer(database)
    assert SECRET not in "".join(map(str, (caught.value, caught.value.__cause__, database.name)))
    assert caught.value.__suppress_context__


def test_a_server_by_its_url_is_used(postgres: Path, database: Database) -> None:
    answer(database)
    other = Database(f"postgresql://postgres@/postgres?host={postgres}")
    assert answer(other) == (42,)
    other.leave()


def test_what_a_server_refuses_for_good_is_told_at_once(postgres: Path, database: Database) -> None:
    answer(database)
    other = Database(f"postgresql://nobody:{SECRET}@/patterns?host={postgres}")
    with pytest.raises(DatabaseError, match="does not exist") as caught:
        answer(other)
    assert SECRET not in str(caught.value)
    assert SECRET not in repr(TransactionSettings(database=f"postgresql://x:{SECRET}@y/z"))


def test_a_state_of_the_first_schema_keeps_what_it_holds(tmp_path: Path) -> None:
    database = Database(str(tmp_path / "server"))

    def old_state(connection: Connection) -> None:
        connection.execute("CREATE TABLE schema_version (version integer PRIMARY KEY)")
        connection.execute(sql("migration_1.sql"))
        connection.execute("INSERT INTO schema_version VALUES (1)")
        connection.execute(
            "INSERT INTO customer_merchant_stats VALUES "
            "('M', 'C', 3, 30, 5, 2), ('M', 'D', 1, 9, 0, 0)"
        )

    try:
        database.run(old_state)
        database.run(migrate)
        found = database.run(
            lambda c: c.execute(
                "SELECT customer_id, sum_amount, weight_rank_key, "
                "weight_rank_key IS NOT DISTINCT FROM weight_rank_key(weight_sum, weight_count) "
                "FROM customer_merchant_stats ORDER BY customer_id"
            ).fetchall()
        )
    finally:
        database.leave()
    assert found == [("C", 30, 25 * 10**35, True), ("D", 9, None, True)]


def test_a_newer_schema_is_refused(database: Database) -> None:
    database.run(migrate)
    database.run(lambda c: c.execute("INSERT INTO schema_version VALUES (99)"))
    try:
        with pytest.raises(DatabaseError, match="schema has version 99; expected at most"):
            database.run(migrate)
    finally:
        database.run(lambda c: c.execute("DELETE FROM schema_version WHERE version = 99"))


def test_the_database_lies_with_the_workdir_if_that_is_a_folder() -> None:
    beside = os.path.abspath("w/temp/postgres")
    assert database_location(TransactionSettings(workdir="w")) == beside
    home = os.path.expanduser("~/w/temp/postgres")
    assert database_location(TransactionSettings(workdir="~/w")) == home
    assert database_location(TransactionSettings(workdir="s3://b/w")).startswith("data/")
    assert database_location(TransactionSettings(database="postgresql://x/y")) == (
        "postgresql://x/y"
    )
