"""The table that ends a run, in terminals of two widths."""

from datetime import date
from pathlib import Path

import pytest

from training_assets.cli.closing_table import print_days
from training_assets.cli.console import console
from training_assets.lake import Lake

DAYS = [date(2026, 3, 1), date(2026, 3, 2)]
REASON = "unified_actions: clicks: a.csv cannot be read"


@pytest.mark.parametrize(("width", "lines"), [(80, 1), (160, 0)])
def test_reasons_stand_below_the_table_where_they_have_no_room_beside(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    width: int,
    lines: int,
) -> None:
    monkeypatch.setattr(console, "width", width)
    print_days(Lake.at(tmp_path), DAYS, dict.fromkeys(DAYS, REASON))
    text = capsys.readouterr().out
    line = f"2026-03-01 to 2026-03-02, 2 days failed: {REASON}"
    assert text.splitlines().count(line) == lines
    assert ("failed because" in text) == (lines == 0)
