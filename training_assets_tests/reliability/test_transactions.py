"""Feed and detector, killed and doubled, and a database that goes: all is as if undisturbed."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("psycopg", reason="needs the extra training-assets[transactions]")


def in_a_process_of_its_own(root: Path, what: str, number: int) -> dict[str, Any]:
    module = f"{__package__}.transaction_kills"
    done = subprocess.run(
        [sys.executable, "-m", module, str(root), what, str(number)],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def test_a_feed_killed_at_its_steps_puts_each_row_once(tmp_path: Path) -> None:
    found = in_a_process_of_its_own(tmp_path, "feed", 3)
    assert found["wrong"] == []
    assert found["kills"] >= 20


def test_a_detector_killed_at_its_steps_applies_each_chunk_once(tmp_path: Path) -> None:
    found = in_a_process_of_its_own(tmp_path, "detect", 23)
    assert found["wrong"] == []
    assert found["kills"] >= 7


def test_two_detectors_at_once_are_as_one(tmp_path: Path) -> None:
    assert in_a_process_of_its_own(tmp_path, "two", 2)["wrong"] == []


def test_a_database_that_is_restarted_under_load_loses_nothing(tmp_path: Path) -> None:
    assert in_a_process_of_its_own(tmp_path, "restart", 1)["wrong"] == []
