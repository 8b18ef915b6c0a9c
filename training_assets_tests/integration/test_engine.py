"""Engines start, stop, and fail in one clear sentence."""

import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import dagster as dg
import pytest
from pyspark.errors.utils import is_debugging_enabled
from pyspark.sql import SparkSession

from training_assets import spark_session
from training_assets.engine import session as sessions
from training_assets.engine.resource import SparkResource
from training_assets.errors import EngineError
from training_assets_tests.support.frames import DAY
from training_assets_tests.support.lakes import write_tiny_lake

COMPARE = Path(__file__).parents[2] / "benchmarks" / "compare_engines.py"

# pyspark holds one mode per process, classic or Connect, and Sail's is Connect.
beside_sail = pytest.mark.parametrize("engine", ["sail"], indirect=True)


def test_session_is_in_utc(spark: SparkSession) -> None:
    assert spark.conf.get("spark.sql.session.timeZone") == "UTC"


def test_no_call_is_looked_up_for_errors_that_may_come(spark: SparkSession) -> None:
    assert spark.range(3).select("id").count() == 3
    assert not is_debugging_enabled()


def test_unknown_engine_names_the_known_ones() -> None:
    with (
        pytest.raises(EngineError, match="'flink' is unknown; expected one of sail, spark, remote"),
        spark_session("flink"),  # type: ignore[arg-type]
    ):
        pass


def test_missing_java_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    monkeypatch.delenv("JAVA_HOME", raising=False)
    with (
        pytest.raises(EngineError, match=r"needs Java 17 or newer, and none was found.*sail"),
        spark_session("spark"),
    ):
        pass


def test_old_java_is_named(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    java = tmp_path / "bin" / "java"
    java.parent.mkdir()
    java.write_text("#!/bin/sh\necho 'openjdk version \"1.8.0_402\"' >&2\n")
    java.chmod(0o755)
    monkeypatch.setenv("JAVA_HOME", str(tmp_path))
    with pytest.raises(EngineError, match="Java 8 was found"), spark_session("spark"):
        pass


def test_dead_endpoint_fails_at_once_and_keeps_its_token_to_itself() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
    started = time.monotonic()
    endpoint = f"sc://127.0.0.1:{port}/;token=secret"
    with (
        pytest.raises(EngineError) as caught,
        spark_session("remote", remote=endpoint, connect_timeout_seconds=0.5),
    ):
        pass
    assert f"sc://127.0.0.1:{port} does not answer" in str(caught.value)
    assert "secret" not in str(caught.value)
    assert time.monotonic() - started < 5


def test_endpoint_that_never_answers_is_given_up() -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        endpoint = f"sc://127.0.0.1:{silent.getsockname()[1]}"
        with (
            pytest.raises(EngineError, match=r"does not answer within 0.5 s"),
            spark_session("remote", remote=endpoint, connect_timeout_seconds=0.5),
        ):
            pass


@beside_sail
def test_remote_engine_uses_a_connect_server(engine: str) -> None:
    from pysail.spark import SparkConnectServer

    server = SparkConnectServer("127.0.0.1", 0)
    server.start(background=True)
    address = server.listening_address
    assert address is not None
    with spark_session("remote", remote=f"sc://127.0.0.1:{address[1]}") as session:
        assert session.range(3).count() == 3
    server.stop()


@pytest.mark.parametrize(
    "remote",
    ["", "http://127.0.0.1:1", "sc://", "sc://h:port", "sc://h:1/;token", "sc://h:1/x;token=y"],
)
def test_malformed_endpoint_is_refused(remote: str) -> None:
    with (
        pytest.raises(EngineError, match="not of the form sc://host:port"),
        spark_session("remote", remote=remote),
    ):
        pass


def test_classic_and_connect_sessions_are_not_mixed(engine: str, spark: SparkSession) -> None:
    other = "sail" if engine == "spark" else "spark"
    with (
        pytest.raises(EngineError, match="a session of the other kind is open"),
        spark_session(other),  # type: ignore[arg-type]
    ):
        pass


def test_only_classic_spark_names_a_place_that_shows_its_work(
    spark: SparkSession, engine: str
) -> None:
    resource = SparkResource(
        engine=engine, spark_config={"spark.eventLog.enabled": "true"} if engine == "spark" else {}
    )
    # The shared session of the test run, which has neither UI nor event log. One of the resource's
    # own would stay open.
    resource._spark_session = spark
    assert resource.web_places() == {}


def test_resource_takes_its_fields_from_the_environment(monkeypatch) -> None:
    monkeypatch.setenv("TRAINING_ASSETS_ENGINE", "remote")
    monkeypatch.setenv("TRAINING_ASSETS_REMOTE", "sc://example:1")
    monkeypatch.setenv("TRAINING_ASSETS_MEMORY", "7g")
    resource = SparkResource.from_env()
    assert (resource.engine, resource.memory) == ("remote", "7g")
    # By name: the endpoint may hold a token, and Dagster shows what a resource was given.
    assert resource.remote == dg.EnvVar("TRAINING_ASSETS_REMOTE")


def test_session_that_gets_no_answer_does_not_keep_the_process(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    closed = threading.Event()
    channel = SimpleNamespace(close=closed.set)
    session = SimpleNamespace(stop=closed.wait, client=SimpleNamespace(_channel=channel))
    monkeypatch.setattr(sessions, "_STOP_SECONDS", 0.05)
    sessions._stop_client(session)
    assert closed.is_set()


def test_a_process_ends_well_though_a_query_needed_only_a_part() -> None:
    code = """
import time
from training_assets import spark_session

def slow(batches):
    for batch in batches:
        yield batch
        for _ in range(50):
            time.sleep(0.01)

with spark_session() as spark:
    spark.range(4).repartition(2, "id").mapInArrow(slow, "id long").limit(1).collect()
"""
    started = [subprocess.Popen([sys.executable, "-c", code]) for _ in range(3)]
    assert [process.wait(120) for process in started] == [0, 0, 0]


def test_the_script_that_compares_engines_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On one engine: rows of several are compared elsewhere, on a cluster in ``test_stores.py``."""
    lake = write_tiny_lake(tmp_path / "lake")
    monkeypatch.setenv("TRAINING_ASSETS_LOOKBACK_DAYS", "4")
    span = ["--start-date", str(DAY), "--end-date", str(DAY)]
    words = [sys.executable, COMPARE, "--lake", lake, *span, "--engines", "sail"]
    done = subprocess.run(words, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("identical") == 3
