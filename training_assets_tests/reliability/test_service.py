"""The service as a process: killed at random moments under load, and stopped politely."""

from pathlib import Path

import pytest

from training_assets_tests.reliability.service_kills import kill_under_load
from training_assets_tests.support.s3 import S3Place


@pytest.mark.parametrize("place", ["local", "s3"])
def test_every_accepted_row_is_there_once_after_kills_under_load(
    root: Path, request: pytest.FixtureRequest, place: str
) -> None:
    lake = str(root / "lake")
    if place == "s3":
        server: S3Place = request.getfixturevalue("s3_server")
        lake = f"{server.new_url()}/lake"
    outcome = kill_under_load(lake, kills=3, seed=11)
    assert not outcome.faults, outcome.faults[:5]
    assert outcome.accepted >= 3
    assert outcome.rows == outcome.accepted * 40
