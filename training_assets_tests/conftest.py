"""One engine session at a time for the whole run; hypothesis seeded; engines by marker."""

import os
import sys
import warnings
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings
from pyspark.sql import SparkSession

from training_assets.engine import java_version, spark_session

os.environ.setdefault("PYSPARK_PYTHON", sys.executable)

settings.register_profile(
    "engine",
    deadline=None,
    derandomize=True,
    max_examples=15,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
settings.load_profile("engine")

HAS_JAVA = (java_version() or 0) >= 17
NO_JAVA = "Java 17 or newer was not found: NOTHING was tested on Apache Spark"
_SMALL_SPARK = {
    "spark.sql.shuffle.partitions": "2",
    "spark.ui.enabled": "false",
    "spark.sql.adaptive.enabled": "false",
    "spark.sql.codegen.wholeStage": "false",
    "spark.driver.extraJavaOptions": "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC",
}


@pytest.fixture(scope="session", params=["sail", pytest.param("spark", marks=pytest.mark.spark)])
def engine(request: pytest.FixtureRequest) -> str:
    if request.param == "spark" and not HAS_JAVA:
        pytest.skip(NO_JAVA)
    return str(request.param)


@pytest.fixture(scope="session")
def spark(engine: str) -> Iterator[SparkSession]:
    """The engine's session, shared by all tests of that engine."""
    with spark_session(engine, memory="2g", conf=_SMALL_SPARK if engine == "spark" else {}) as s:
        yield s


@pytest.hookimpl(tryfirst=True)  # before the workers read the groups
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """With several workers, one has the engine's session and its lakes for all of its tests."""
    for item in items:
        chosen = getattr(item, "callspec", None)
        engine = chosen.params.get("engine") if chosen else None
        # Tests without an engine go file by file, to whichever worker is free.
        item.add_marker(pytest.mark.xdist_group(engine or item.path.name))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if not HAS_JAVA:
        terminalreporter.write_sep("!", NO_JAVA, red=True, bold=True)


warnings.filterwarnings("error", module="training_assets")
