"""Executors without this package, reached through Spark Connect, give the rows of Sail."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from training_assets_tests.conftest import HAS_JAVA, NO_JAVA
from training_assets_tests.support.frames import DAY, before
from training_assets_tests.support.lakes import SETTINGS, tiny_rankings, write_tiny_lake

COMPARE = Path(__file__).parents[2] / "benchmarks" / "compare_engines.py"
# Java must start quickly here, and has nothing to do that would be worth compiling well.
QUICK_JAVA = (
    "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC "
    "-XX:+UnlockDiagnosticVMOptions -XX:-BytecodeVerificationRemote"
)
SMALL = (
    f"spark.executor.extraJavaOptions={QUICK_JAVA}",
    f"spark.driver.extraJavaOptions={QUICK_JAVA}",
    "spark.sql.shuffle.partitions=2",
    "spark.sql.adaptive.enabled=false",
    "spark.sql.codegen.wholeStage=false",
    "spark.ui.enabled=false",
)


@pytest.mark.spark
@pytest.mark.skipif(not HAS_JAVA, reason=NO_JAVA)
def test_standalone_cluster_behind_spark_connect_gives_the_rows_of_sail(tmp_path: Path) -> None:
    # Of the four engines that the benchmark compares; the others cost more seconds than they tell.
    days = (before(1), DAY)
    lake = write_tiny_lake(tmp_path / "lake")
    span = ["--start-date", str(days[0]), "--end-date", str(days[1])]
    # Executors have pyarrow and NumPy, but not the platform.
    bare = tmp_path / "bare"
    bare.mkdir()
    (bare / "sitecustomize.py").write_text("import sys; sys.modules['training_assets'] = None")
    conf = [*SMALL, f"spark.executorEnv.PYTHONPATH={bare}"]
    size = ["--workers", "1", "--memory-mb", "512", "--conf", *conf]
    done = subprocess.run(
        [sys.executable, COMPARE, "--lake", lake, *span, "--engines", "sail", "connect", *size],
        env={
            **os.environ,
            "TRAINING_ASSETS_HISTORY_LENGTH": str(SETTINGS.history_length),
            "TRAINING_ASSETS_LOOKBACK_DAYS": "4",
        },
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    rows = sum(
        len([item for item in ranking["impressions"] if item["item_id"]])
        for ranking in tiny_rankings()
        if ranking["dt"] in days
    )
    assert f"training_input: {rows} rows, identical" in done.stdout
    assert done.stdout.count("identical") == 3
