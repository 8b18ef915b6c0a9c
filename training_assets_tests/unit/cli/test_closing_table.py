"""The table that ends a run, in terminals of two widths."""

from datetime import date
from pathlib import Path
from unittest.mock import Mock

import pytest

from training_assets.cli.closing_table import print_days
from training_assets.cli.console import console
from training_assets.lake import Lake
from training_assets.tables import SPECS

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


def test_manifests_of_a_table_are_read_at_once(capsys: pytest.CaptureFixture[str]) -> None:
    figures = {"rows": 5, "customers": 4, "positives": 3, "median_length": 2}
    snapshot = Mock(spec=["files", "manifests"], files=dict.fromkeys(DAYS, ()))
    snapshot.manifests.return_value = {
        day: {"figures": figures, "seconds": {"read": 0.25, "write": 1.0}} for day in DAYS
    }
    print_days(Mock(spec=["snapshot"], snapshot=Mock(return_value=snapshot)), DAYS, {})
    assert snapshot.manifests.call_count == len(SPECS)
    assert capsys.readouterr().out.count(f"{1.25 * len(SPECS):.2f}") == len(DAYS)
