"""Files without a day in their path: a day knows of the rows that are its own, and of no others."""

from collections.abc import Iterable
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from training_assets.lake import Lake
from training_assets.provenance import Provenance
from training_assets.schemas import PREVIOUS_ORDERS
from training_assets_tests.support.frames import DAY, at, before, order
from training_assets_tests.support.lakes import (
    SETTINGS,
)
from training_assets_tests.support.late_lakes import (
    put,
)


def fingerprints(root: Path, days: Iterable[date]) -> dict[date, Any]:
    provenance = Provenance(Lake.at(root), SETTINGS)
    return {day: provenance.fingerprint(PREVIOUS_ORDERS, day) for day in days}


def test_flat_file_enters_a_day_with_the_rows_of_that_day(tmp_path: Path) -> None:
    folder = tmp_path / "raw/previous_orders"
    folder.mkdir(parents=True)
    first = [order(1, 5, before(2), at(DAY)), order(2, 6, before(2)), order(1, 5, before(1))]
    put(folder / "o.parquet", "previous_orders", first)
    days = [before(3), before(2), before(1)]
    found = fingerprints(tmp_path, days)
    assert found[before(3)] == {}
    assert [found[day]["raw/previous_orders/o.parquet"][0] for day in days[1:]] == [2, 1]
    # Neither the order of rows, nor rows of other days, nor what is ignored make a difference.
    same = [order(1, 5, DAY), *({**row, "simple_id": 77} for row in first[::-1])]
    put(folder / "o.parquet", "previous_orders", same)
    assert fingerprints(tmp_path, days) == found
    for row in first[:2]:
        for name, value in (("customer_id", 3), ("config_id", 4), ("occurred_at", at(before(1)))):
            put(folder / "o.parquet", "previous_orders", [{**row, name: value}, *first[1:]])
            other = fingerprints(tmp_path, days)
            assert other[before(2)] != found[before(2)]
            assert other[before(1)] == found[before(1)]


def test_fault_in_a_flat_file_changes_the_day_that_it_is_kept_with(tmp_path: Path) -> None:
    folder = tmp_path / "raw/previous_orders"
    folder.mkdir(parents=True)
    days = [before(2), before(1)]
    header = "order_date,customer_id,config_id\n"
    rows = [f"{before(2)},1,5\n", f"{before(1)},1,x\n", ",1,5\n"]
    (folder / "o.csv").write_text(header + "".join(rows))
    found = fingerprints(tmp_path, days)
    # A row without a day is kept with the first one in the file.
    assert [found[day]["raw/previous_orders/o.csv"][0] for day in days] == [2, 1]
    (folder / "o.csv").write_text(header + "".join(rows).replace("1,x", "1,y"))
    other = fingerprints(tmp_path, days)
    assert other[before(2)] == found[before(2)]
    assert other[before(1)] != found[before(1)]


def test_flat_file_is_read_once_for_its_size_and_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "raw/previous_orders"
    folder.mkdir(parents=True)
    put(folder / "o.parquet", "previous_orders", [order(1, 5, DAY)])
    found = fingerprints(tmp_path, [DAY])

    def refuse(*_: object) -> None:
        raise AssertionError("read again")

    with monkeypatch.context() as patch:
        patch.setattr("training_assets.sources.flat._judge_all", refuse)
        assert fingerprints(tmp_path, [DAY]) == found
        (cache,) = (tmp_path / "_cache").iterdir()
        cache.write_text("{broken")
        with pytest.raises(AssertionError, match="read again"):
            fingerprints(tmp_path, [DAY])
    assert fingerprints(tmp_path, [DAY]) == found
