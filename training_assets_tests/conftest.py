"""One engine session at a time for the whole run; hypothesis seeded; engines by marker."""

import gc
import os
import re
import shutil
import sys
import warnings
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from pyspark.sql import SparkSession

from training_assets.engine import java_version, shipping, spark_session
from training_assets.engine import partitioning as partitioning

pytest_plugins = [
    "training_assets_tests.support.pickling",
    "training_assets_tests.support.kafka",
    "training_assets_tests.support.s3",
    "training_assets_tests.support.online_servers",
]

os.environ.setdefault("PYSPARK_PYTHON", sys.executable)

# Every published day is synced: on disks the suite would mostly wait. Containers often have a
# memory file system that is too small.
_MEMORY = Path("/dev/shm")
_NEEDED_BYTES = 2 * 1024**3
if _MEMORY.is_dir() and shutil.disk_usage(_MEMORY).free >= _NEEDED_BYTES:
    os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", str(_MEMORY))

settings.register_profile(
    "engine",
    deadline=None,
    derandomize=True,
    max_examples=15,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
# For hours in which nobody waits: other examples each time, and many more.
settings.register_profile(
    "campaign", settings.get_profile("engine"), derandomize=False, max_examples=1_000
)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "engine"))

HAS_JAVA = (java_version() or 0) >= 17
NO_JAVA = "Java 17 or newer was not found: NOTHING was tested on Apache Spark"
_SMALL_SPARK = {
    "spark.sql.shuffle.partitions": "2",
    "spark.python.daemon.module": "training_assets_tests.support.spark_daemon",
    "spark.ui.enabled": "false",
    "spark.sql.adaptive.enabled": "false",
    "spark.sql.codegen.wholeStage": "false",
    "spark.sql.codegen.factoryMode": "NO_CODEGEN",
    "spark.driver.extraJavaOptions": "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC "
    "-XX:+UnlockDiagnosticVMOptions -XX:-BytecodeVerificationRemote",
}


@pytest.fixture(scope="session", params=["sail", pytest.param("spark", marks=pytest.mark.spark)])
def engine(request: pytest.FixtureRequest) -> str:
    if request.param == "spark" and not HAS_JAVA:
        pytest.skip(NO_JAVA)
    return str(request.param)


_SESSION = ExitStack()


@pytest.fixture(scope="session")
def spark(engine: str) -> Iterator[SparkSession]:
    """The engine's session, shared by all tests of that engine."""
    with _SESSION:
        if engine == "spark":
            # A task of Spark costs more than these few rows, with a Python worker for each.
            patch = _SESSION.enter_context(pytest.MonkeyPatch.context())
            patch.setattr(partitioning, "_MAX_PARTITIONS", 4)
        conf = _SMALL_SPARK if engine == "spark" else {}
        yield _SESSION.enter_context(spark_session(engine, memory="2g", conf=conf))


@pytest.hookimpl(trylast=True)
def pytest_runtest_teardown(item: pytest.Item, nextitem: pytest.Item | None) -> None:
    """No Spark after its last test: commands that tests call open Sail, which fails beside it."""
    if nextitem is not None and _is_on_spark(item.nodeid) and not _is_on_spark(nextitem.nodeid):
        _SESSION.close()


@pytest.fixture
def workers_elsewhere() -> Iterator[None]:
    """What is pickled is for workers that need not have this package, whatever session there is."""
    with shipping.workers(are_here=False):
        yield


def _is_on_spark(nodeid: str) -> bool:
    return bool(re.search(r"[\[-]spark[\]-]", nodeid.partition("::")[2]))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Iterator[None]:
    """A quarter of the examples on Spark, where a query costs many times as much as on Sail.

    What Spark does with a query is shown by a few; that the query is right, by those on Sail.
    """
    test = getattr(item, "obj", None)
    if not hasattr(test, "hypothesis") or not _is_on_spark(item.nodeid):
        return (yield)
    chosen = test._hypothesis_internal_use_settings
    fewer = settings(chosen, max_examples=max(1, chosen.max_examples // 4))
    test._hypothesis_internal_use_settings = fewer
    try:
        return (yield)
    finally:
        test._hypothesis_internal_use_settings = chosen


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Spark first: it takes longest, and its worker changes the engine once.

    Beside it, which computes, run the tests that mostly wait for servers and processes. On Spark is
    only the first case of what is marked ``first_on_spark``.
    """
    left_out, seen = [], set()
    for item in items:
        if _is_on_spark(item.nodeid) and item.get_closest_marker("first_on_spark"):
            name = item.nodeid.partition("[")[0]
            left_out += [item] if name in seen else []
            seen.add(name)
    config.hook.pytest_deselected(items=left_out)
    gone = set(left_out)
    items[:] = sorted((i for i in items if i not in gone), key=_turn)


def _turn(item: pytest.Item) -> tuple[bool, bool]:
    waits = item.path.parent.name in ("integration", "reliability")
    return not _is_on_spark(item.nodeid), not waits


# What is imported and collected stays: Python's collector need not look through it again and again.
gc.disable()


def pytest_collection_finish() -> None:
    gc.freeze()
    gc.set_threshold(20_000, 20, 50)
    gc.enable()


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Several workers share the tests file by file; one has all that are on Spark, and these first.

    A second Java would take ten seconds to start, and more to become fast.

    By our own rule, because xdist 3.8 marks groups in a way that pytest 9.2 does not see: without a
    word, each test was a group of its own, and every worker had every engine and every lake.
    """
    if config.getvalue("dist") != "loadgroup":
        return None
    from xdist.scheduler import LoadScopeScheduling

    class ByEngineAndFile(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return "spark" if _is_on_spark(nodeid) else nodeid.partition("::")[0]

    config.option.loadscopereorder = False
    return ByEngineAndFile(config, log)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if not HAS_JAVA:
        terminalreporter.write_sep("!", NO_JAVA, red=True, bold=True)


warnings.filterwarnings("error", module="training_assets")
