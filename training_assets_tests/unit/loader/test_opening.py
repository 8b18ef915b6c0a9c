"""What is wrong with a lake or a request is named before the first batch."""

import json
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from training_assets.errors import (
    DayNotPublishedError,
    SchemaError,
    SettingsError,
    ValidationError,
)
from training_assets.loader import TrainingDays, published_days
from training_assets_tests.support.loader_lakes import FIRST_DAY, random_days, write_lake


@pytest.fixture
def lake(tmp_path: Path) -> Path:
    return write_lake(tmp_path / "lake", random_days(2, num_days=2))


def folder(lake: Path, table: str = "training_input", dt: date = FIRST_DAY) -> Path:
    return lake / table / f"dt={dt}"


def change_manifest(path: Path, **changes: Any) -> None:
    manifest = json.loads((path / "_day.json").read_text())
    manifest["settings"].update(changes.pop("settings", {}))
    (path / "_day.json").write_text(json.dumps(manifest | changes))


def change_column(path: Path, column: str, values: pa.Array | None) -> None:
    (file,) = path.glob("part-*.parquet")
    table = pq.read_table(file)
    index = table.column_names.index(column)
    changed = table.remove_column(index)
    if values is not None:
        changed = table.set_column(index, column, values)
    pq.write_table(changed, file)


def test_published_days_are_those_with_a_manifest(lake: Path) -> None:
    folder(lake, dt=date(2024, 3, 9)).mkdir()
    (folder(lake, dt=date(2024, 3, 9)) / "part-00000.parquet").write_bytes(b"")
    assert published_days(lake) == [date(2024, 3, 1), date(2024, 3, 2)]
    assert published_days(lake, table="customer_history") == published_days(lake)
    assert published_days(lake / "nowhere") == []


def test_missing_day(lake: Path) -> None:
    with pytest.raises(
        DayNotPublishedError, match=r"training_input of 2024-03-09.*2 days, 2024-03"
    ):
        TrainingDays(lake, batch_size=4, days=["2024-03-01", "2024-03-09"])


def test_day_of_one_table_only(lake: Path) -> None:
    (folder(lake, "customer_history") / "_day.json").unlink()
    with pytest.raises(
        DayNotPublishedError, match="customer_history of 2024-03-01: the day is not"
    ):
        TrainingDays(lake, batch_size=4)
    TrainingDays(lake, batch_size=4, source="training_input")


def test_empty_lake(tmp_path: Path) -> None:
    with pytest.raises(DayNotPublishedError, match="holds no published day"):
        TrainingDays(tmp_path, batch_size=4)


def test_lost_file(lake: Path) -> None:
    change_manifest(folder(lake), rows=1000)
    with pytest.raises(DayNotPublishedError, match="expected the 1000 rows of its manifest"):
        TrainingDays(lake, batch_size=4)


def test_old_schema_version(lake: Path) -> None:
    change_manifest(folder(lake, "customer_history"), schema_version=0)
    with pytest.raises(SchemaError, match="customer_history of 2024-03-01: schema version 0; ex"):
        TrainingDays(lake, batch_size=4)


def test_manifest_without_settings(lake: Path) -> None:
    path = folder(lake) / "_day.json"
    path.write_text(json.dumps({"table": "training_input"}))
    with pytest.raises(SchemaError, match="KeyError: 'settings'"):
        TrainingDays(lake, batch_size=4)


def test_manifest_of_another_day(lake: Path) -> None:
    change_manifest(folder(lake), dt="2024-02-28")
    with pytest.raises(SchemaError, match="is of training_input of 2024-02-28; expected training"):
        TrainingDays(lake, batch_size=4)


def test_missing_column(lake: Path) -> None:
    change_column(folder(lake, "customer_history"), "action_days_ago", None)
    with pytest.raises(SchemaError, match="column action_days_ago is missing"):
        TrainingDays(lake, batch_size=4, extras=["days_ago"])
    TrainingDays(lake, batch_size=4)


def test_column_of_another_type(lake: Path) -> None:
    num_rows = pq.read_table(next(folder(lake).glob("part-*.parquet"))).num_rows
    change_column(folder(lake), "is_order", pa.array(np.zeros(num_rows, bool)))
    with pytest.raises(SchemaError, match="column is_order is bool; expected int32"):
        TrainingDays(lake, batch_size=4)


def test_longer_than_the_history(lake: Path) -> None:
    with pytest.raises(SettingsError, match="length is 13; expected 1 to 12"):
        TrainingDays(lake, batch_size=4, length=13)
    with pytest.raises(SettingsError, match="length is 0; expected 1 to 12"):
        TrainingDays(lake, batch_size=4, length=0)


def test_days_of_different_lengths(lake: Path) -> None:
    for table in ("training_input", "customer_history"):
        change_manifest(folder(lake, table), settings={"history_length": 20})
    with pytest.raises(SettingsError, match="history_length is 20 on 2024-03-01 and 12 on"):
        TrainingDays(lake, batch_size=4)
    TrainingDays(lake, batch_size=4, length=12)


def test_tables_of_different_lengths(lake: Path) -> None:
    change_manifest(folder(lake), settings={"history_length": 20})
    with pytest.raises(SettingsError, match="made with history_length 20 and customer_history w"):
        TrainingDays(lake, batch_size=4)


def test_days_of_different_look_back(lake: Path) -> None:
    change_manifest(folder(lake, "customer_history"), settings={"lookback_days": None})
    with pytest.raises(SettingsError, match="lookback_days is None on 2024-03-01 and 365 on"):
        TrainingDays(lake, batch_size=4)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"source": "training_input", "extras": ["days_ago"]}, "days_ago was asked for with sou"),
        ({"source": "raw"}, "source is 'raw'; expected customer_history"),
        ({"layout": "dense"}, "layout is 'dense'; expected one of expanded, deduplicated, jagg"),
        ({"layout": "jagged", "extras": ["mask"]}, "mask was asked for with layout='jagged'"),
        ({"extras": ["ids"]}, r"extras is \['ids'\]; expected a collection of days_ago"),
        ({"extras": "mask"}, "extras is 'mask'; expected a collection"),
        ({"days": []}, "days holds 0 days"),
        ({"days": ["2024-03-01", "2024-03-01"]}, "days holds 2 days, 1 of them different"),
    ],
)
def test_impossible_requests(lake: Path, options: dict[str, Any], message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        TrainingDays(lake, batch_size=4, **options)


def test_customer_without_a_history_row(lake: Path) -> None:
    path = next(folder(lake, "customer_history").glob("part-*.parquet"))
    table = pq.read_table(path)
    pq.write_table(table.slice(1), path)
    change_manifest(folder(lake, "customer_history"), rows=table.num_rows - 1)
    customer = table.column("customer_id")[0].as_py()
    with pytest.raises(
        ValidationError, match=f"1 of the 9 customers.*among them {customer} with 0"
    ):
        next(iter(TrainingDays(lake, batch_size=4)))


def test_arrays_that_are_not_parallel(lake: Path) -> None:
    path = next(folder(lake, "customer_history").glob("part-*.parquet"))
    lists = pq.read_table(path).column("action_types").to_pylist()
    longest = max(range(len(lists)), key=lambda n: len(lists[n]))
    lists[longest] = lists[longest][:-1]
    change_column(path.parent, "action_types", pa.array(lists, pa.list_(pa.int8())))
    with pytest.raises(SchemaError, match="action_types and action_items differ in length"):
        next(iter(TrainingDays(lake, batch_size=4)))


def test_nulls_in_arrays(lake: Path) -> None:
    path = next(folder(lake, "customer_history").glob("part-*.parquet"))
    lists = [[None] * len(x) for x in pq.read_table(path).column("action_items").to_pylist()]
    change_column(path.parent, "action_items", pa.array(lists, pa.list_(pa.int32())))
    with pytest.raises(SchemaError, match="action_items holds nulls"):
        next(iter(TrainingDays(lake, batch_size=4)))


def test_padded_rows_of_another_length(lake: Path) -> None:
    change_manifest(folder(lake), settings={"history_length": 11})
    with pytest.raises(SchemaError, match="arrays of 12 to 12 items; expected 11"):
        next(iter(TrainingDays(lake, batch_size=4, source="training_input", days=[FIRST_DAY])))


def test_errors_of_a_day_read_ahead_reach_the_caller(lake: Path) -> None:
    days = TrainingDays(lake, batch_size=4)
    for file in folder(lake, dt=date(2024, 3, 2)).glob("part-*.parquet"):
        file.write_bytes(file.read_bytes() + b"PAR1")
    with pytest.raises(DayNotPublishedError, match="Was the day published anew"):
        list(days)
