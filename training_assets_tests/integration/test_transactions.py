"""The commands of transactions, as a person gives them."""

import csv
import gzip
import io
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from click.testing import CliRunner

pytest.importorskip("psycopg", reason="needs the extra training-assets[transactions]")

from training_assets.cli import main
from training_assets.lake import open_store
from training_assets.sample.banksim import write_banksim
from training_assets_tests.support.s3 import S3Place
from training_assets_tests.unit.transactions.banks import line, write_lines, write_weights

TIME = r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d"


def arguments(command: str, *given: str) -> list[str]:
    return [sys.executable, "-m", "training_assets.cli", "transactions", command, *given]


def command(folder: Path, name: str, *given: str) -> str:
    done = subprocess.run(
        arguments(name, *given), cwd=folder, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr + done.stdout
    return done.stdout


def here(*given: str) -> str:
    """Without the seconds that a process takes to begin."""
    done = CliRunner().invoke(main, ["transactions", *given])
    assert done.exit_code == 0, done.output
    return done.stdout


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in [name for name in os.environ if name.startswith("TRAINING_ASSETS_")]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_one_command_feeds_detects_and_exports_and_show_prints_it(folder: Path) -> None:
    write_banksim(folder / "data" / "banksim", transactions=4_000)
    limits = ["--child-min-transactions", "2", "--file-rows", "20"]
    said = command(folder, "run", "--drain", "--chunk-rows", "900", *limits)
    assert "4,000 rows in 5 chunks, 0 quarantined" in said
    found = list(csv.DictReader(io.StringIO(here("show", "detections", "--format", "csv"))))
    assert list(found[0]) == [
        "YStartTime(IST)",
        "detectionTime(IST)",
        "patternId",
        "ActionType",
        "customerName",
        "MerchantId",
    ]
    files = sorted((folder / "data/lake/transactions/detections").glob("*.csv"))
    in_files = [row for file in files for row in csv.DictReader(file.open())]
    assert in_files == found
    merchants = csv.DictReader(io.StringIO(here("show", "merchants", "--format", "csv")))
    assert sum(int(row["transaction_count"]) for row in merchants) == 4_000
    genders = here("show", "genders", "--format", "csv").splitlines()
    assert genders[0] == "merchant_id,gender,customer_count"
    customers = here("show", "customers", "--limit", "3")
    assert "3 of" in customers
    refused = CliRunner().invoke(main, ["transactions", "detect", "--women-min", "7"])
    assert refused.exit_code == 1
    assert "transactions rebuild" in refused.output
    here("rebuild", *limits)
    said = here("detect", "--batch", *limits)
    assert "4,000 rows in 5 chunks" in said


def test_feed_and_detect_in_two_processes_and_a_store_meet(
    folder: Path, s3_server: S3Place
) -> None:
    write_lines(folder / "t.csv", [line(f"C{i % 3}", "M") for i in range(300)])
    write_weights(folder / "i.csv", [])
    url = s3_server.new_url()
    # The source may lie on a store, too.
    packed = gzip.compress((folder / "t.csv").read_bytes())
    open_store(url).child("source").put("t.csv.gz", packed)
    place = ["--workdir", url, "--transactions", f"{url}/source/t.csv.gz"]
    place += ["--importance", "i.csv"]
    fast = ["--every", "0.1s", "--chunk-rows", "60"]
    with (
        subprocess.Popen(arguments("feed", *place, *fast), cwd=folder) as feed,
        subprocess.Popen(
            arguments("detect", "--follow", "--flush-after", "0.5", *place), cwd=folder
        ) as detect,
    ):
        store = open_store(url)
        deadline = time.monotonic() + 120
        while not store.child("detections").list() and time.monotonic() < deadline:
            time.sleep(0.2)
        for process in (feed, detect):
            process.send_signal(signal.SIGTERM)
    assert (feed.returncode, detect.returncode) == (0, 0)
    names = [entry.path for entry in store.child("detections").list()]
    assert names == [
        "detections-000000000001-000000000003.csv",
        "detections-000000000001-000000000003.parquet",
    ]
    rows = store.child("detections").read(names[0]).decode().splitlines()[1:]
    assert [row.split(",")[2:] for row in rows] == [
        ["PatId2", "CHILD", f"C{i}", "M"] for i in range(3)
    ]
