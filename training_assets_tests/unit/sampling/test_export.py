"""Samples as files for others: columns, order of days, and nothing that a spreadsheet computes."""

import csv
from datetime import date
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.fs as pafs
import pyarrow.parquet as pq
import pytest

from training_assets.errors import DayNotPublishedError, SettingsError
from training_assets.lake import Lake
from training_assets.sampling import export
from training_assets.sampling.export import export_samples
from training_assets.schemas import TRAINING_SAMPLES
from training_assets_tests.support.planting import publish_day

FIRST, SECOND = date(2024, 5, 9), date(2024, 5, 10)
IDS = ["=1+1", "+1", "-1+1", "-", "@x", "\tx", "-5", "12", 'a"b,c', "é"]
ESCAPED = ["'=1+1", "'+1", "'-1+1", "'-", "'@x", "'\tx", "-5", "12", 'a"b,c', "é"]


def sample(n: int, item: str) -> dict[str, Any]:
    label = float(n % 2)
    return {
        "user_id": f"u{n}",
        "item_id": item,
        "customer_id": n,
        "item_number": n,
        "label": label,
        "sampling_probability": None if label else 0.25,
        "log_q": None if label else -1.5,
        "seen_before": False,
        "positive_item_id": item,
    }


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    lake = Lake.at(tmp_path / "lake")
    for day, items in ((SECOND, ["later"]), (FIRST, IDS)):
        rows = [sample(n, item) for n, item in enumerate(items)]
        table = pa.Table.from_pylist(rows, TRAINING_SAMPLES.arrow_schema)
        publish_day(lake, TRAINING_SAMPLES, day, table)
    return lake


def exported(lake: Lake, path: Path, days: list[date], form: Any, **options: Any) -> int:
    return export_samples(
        lake.snapshot(TRAINING_SAMPLES.name), TRAINING_SAMPLES, days, str(path), form, **options
    )


def test_csv_without_features_is_ids_and_label(lake: Lake, tmp_path: Path) -> None:
    path = tmp_path / "new" / "out.csv"
    assert exported(lake, path, [SECOND, FIRST], "csv", with_features=False) == 11
    assert path.read_text().splitlines()[0] == "user_id,item_id,label"
    with path.open(newline="") as file:
        rows = list(csv.reader(file))[1:]
    assert [row[1] for row in rows] == [*ESCAPED, "later"]
    assert [float(row[2]) for row in rows] == [float(n % 2) for n in range(10)] + [0.0]
    assert [p.name for p in path.parent.iterdir()] == ["out.csv"]


def test_csv_has_the_other_columns_behind(lake: Lake, tmp_path: Path) -> None:
    exported(lake, tmp_path / "out.csv", [FIRST], "csv")
    with (tmp_path / "out.csv").open(newline="") as file:
        (first, *_) = csv.DictReader(file)
    names = [n for n in TRAINING_SAMPLES.column_names if n not in ("customer_id", "item_number")]
    assert sorted(first) == sorted(names)
    assert list(first)[:4] == ["user_id", "item_id", "label", "dt"]
    # Numbers stay numbers, also below zero.
    assert (first["log_q"], first["dt"], first["occurred_at"]) == ("-1.5", "2024-05-09", "")


def test_parquet_keeps_ids_and_types(lake: Lake, tmp_path: Path) -> None:
    exported(lake, tmp_path / "out.parquet", [FIRST, SECOND], "parquet")
    found = pq.read_table(tmp_path / "out.parquet")
    assert found["item_id"].to_pylist() == [*IDS, "later"]
    assert found["dt"].to_pylist() == [FIRST] * 10 + [SECOND]
    for column in TRAINING_SAMPLES.columns:
        if column.name in found.column_names:
            assert found.schema.field(column.name).type == column.arrow


def test_days_that_are_missing_are_named_and_leave_no_file(lake: Lake, tmp_path: Path) -> None:
    with pytest.raises(DayNotPublishedError, match="training_samples of 2024-05-11 is not publish"):
        exported(lake, tmp_path / "out.csv", [FIRST, date(2024, 5, 11)], "csv")
    assert not (tmp_path / "out.csv").exists()


@pytest.mark.parametrize("form", ["csv", "parquet"])
def test_on_a_store_it_is_there_whole_or_not_at_all(
    lake: Lake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, form: Any
) -> None:
    """A stream to a store ends as a whole object, whatever ended it."""
    path = tmp_path / f"out.{form}"
    monkeypatch.setattr(export, "locate", lambda place: (pafs.LocalFileSystem(), place))
    assert exported(lake, path, [FIRST, SECOND], form) == 11
    whole = path.read_bytes()
    (damaged,) = lake.snapshot(TRAINING_SAMPLES.name).uris(SECOND)
    Path(damaged).write_bytes(b"")
    with pytest.raises(Exception, match=r"Parquet|size|bytes|empty"):
        exported(lake, path, [FIRST, SECOND], form)
    assert path.read_bytes() == whole


def test_what_cannot_be_a_file_is_refused(lake: Lake, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="is a folder"):
        exported(lake, tmp_path, [FIRST], "csv")
    with pytest.raises(SettingsError, match="no place to write to"):
        export_samples(
            lake.snapshot(TRAINING_SAMPLES.name), TRAINING_SAMPLES, [FIRST], "no://a/b", "csv"
        )
