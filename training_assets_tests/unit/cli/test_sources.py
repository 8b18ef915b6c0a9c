"""What ``training-assets sources`` says of a lake."""

from pathlib import Path

import pytest
from click.testing import CliRunner

from training_assets.cli import main


def put(root: Path, path: str, text: str) -> None:
    target = root / path
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(text)


@pytest.fixture
def lake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TRAINING_ASSETS_LAKE", str(tmp_path))
    return tmp_path


def test_place_columns_absent_sources_and_first_rows_are_told(lake: Path) -> None:
    put(lake, "raw/clicks/dt=2026-03-01/a.csv", "customerId,item_id,color\n1,5,red\nx,6,blue\n")
    put(lake, "sources.toml", '[likes]\nkind = "like"\npath = "l/{dt}"\n')
    put(lake, "l/2026-03-01/a.jsonl", '{"customer_id": 1, "item_id": 4}\n')
    result = CliRunner().invoke(main, ["sources"])
    assert result.exit_code == 0
    for told in (
        "csv, 1 days, 2026-03-01 to 2026-03-01",
        "customerId",
        "not read: color",
        "first rows of 2026-03-01: 1 valid",
        "set aside: 1 customer_id is not an integer",
        "place: l/{dt}",
        "add_to_carts: nothing at",
    ):
        assert told in result.output


def test_a_source_that_cannot_be_read_is_told_and_ends_with_1(lake: Path) -> None:
    put(lake, "raw/clicks/dt=2026-03-01/a.csv", "customer,item_id\n1,5\n")
    result = CliRunner().invoke(main, ["sources"])
    assert result.exit_code == 1
    assert "cannot be read: clicks.customer_id: the column is missing" in result.output
