"""What is wrong with a lake or a request is named before the first batch."""

from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from training_assets.errors import (
    DayNotPublishedError,
    SchemaError,
    SettingsError,
    ValidationError,
)
from training_assets.lake import Lake
from training_assets.list_format import DamagedFileError
from training_assets.loader import TrainingDays, published_days
from training_assets_tests.support import planting
from training_assets_tests.support.loader_lakes import (
    FIRST_DAY,
    change_manifest,
    input_table,
    publish_rows,
    random_days,
    replace_rows,
    write_lake,
)


@pytest.fixture
def lake(tmp_path: Path) -> Path:
    return write_lake(tmp_path / "lake", random_days(2, num_days=2))


def change_column(lake: Path, table: str, column: str, values: pa.Array | None) -> None:
    rows = rows_of(lake, table)
    index = rows.column_names.index(column)
    changed = rows.remove_column(index)
    if values is not None:
        changed = rows.set_column(index, column, values)
    replace_rows(lake, table, FIRST_DAY, changed)


def rows_of(lake: Path, table: str) -> pa.Table:
    return planting.rows_of(Lake.at(lake), table, FIRST_DAY)


def test_published_days_are_those_of_the_log(lake: Path) -> None:
    stray = lake / "training_input" / "dt=2024-03-09"
    stray.mkdir()
    (stray / "part-00000.parquet").write_bytes(b"")
    assert published_days(lake) == [date(2024, 3, 1), date(2024, 3, 2)]
    assert published_days(lake, table="customer_history") == published_days(lake)
    assert published_days(lake / "nowhere") == []


def test_missing_day(lake: Path) -> None:
    with pytest.raises(
        DayNotPublishedError, match=r"training_input of 2024-03-09.*2 days, 2024-03"
    ):
        TrainingDays(lake, batch_size=4, days=["2024-03-01", "2024-03-09"])


def test_day_of_one_table_only(lake: Path) -> None:
    (day,) = random_days(3, num_days=1)
    lake = lake.parent / "other"
    publish_rows(lake, "training_input", {day.dt: input_table(day)})
    with pytest.raises(
        DayNotPublishedError, match="customer_history of 2024-03-01: the day is not"
    ):
        TrainingDays(lake, batch_size=4)
    TrainingDays(lake, batch_size=4, source="training_input")


def test_empty_lake(tmp_path: Path) -> None:
    with pytest.raises(DayNotPublishedError, match="holds no published day"):
        TrainingDays(tmp_path, batch_size=4)


def test_lost_file(lake: Path) -> None:
    change_manifest(lake, "training_input", FIRST_DAY, rows=1000)
    with pytest.raises(DayNotPublishedError, match="expected the 1000 rows of its manifest"):
        TrainingDays(lake, batch_size=4)


def test_old_schema_version(lake: Path) -> None:
    change_manifest(lake, "customer_history", FIRST_DAY, schema_version=0)
    with pytest.raises(SchemaError, match="customer_history of 2024-03-01: schema version 0; ex"):
        TrainingDays(lake, batch_size=4)


def test_manifest_without_settings(lake: Path) -> None:
    snapshot = Lake.at(lake).snapshot("training_input")
    snapshot.store.put(snapshot.manifest_path(FIRST_DAY), b'{"table": "training_input"}')
    with pytest.raises(SchemaError, match="KeyError: 'settings'"):
        TrainingDays(lake, batch_size=4)


def test_manifest_of_another_day(lake: Path) -> None:
    change_manifest(lake, "training_input", FIRST_DAY, dt="2024-02-28")
    with pytest.raises(SchemaError, match="is of training_input of 2024-02-28; expected training"):
        TrainingDays(lake, batch_size=4)


def test_missing_column(lake: Path) -> None:
    change_column(lake, "customer_history", "action_days_ago", None)
    with pytest.raises(SchemaError, match="column action_days_ago is missing"):
        TrainingDays(lake, batch_size=4, extras=["days_ago"])
    TrainingDays(lake, batch_size=4)


def test_column_of_another_type(lake: Path) -> None:
    num_rows = rows_of(lake, "training_input").num_rows
    change_column(lake, "training_input", "is_order", pa.array(np.zeros(num_rows, bool)))
    with pytest.raises(SchemaError, match="column is_order is bool; expected int32"):
        TrainingDays(lake, batch_size=4)


def test_longer_than_the_history(lake: Path) -> None:
    with pytest.raises(SettingsError, match="length is 13; expected 1 to 12"):
        TrainingDays(lake, batch_size=4, length=13)
    with pytest.raises(SettingsError, match="length is 0; expected 1 to 12"):
        TrainingDays(lake, batch_size=4, length=0)


def test_days_of_different_lengths(lake: Path) -> None:
    for table in ("training_input", "customer_history"):
        change_manifest(lake, table, FIRST_DAY, settings={"history_length": 20})
    with pytest.raises(SettingsError, match="history_length is 20 on 2024-03-01 and 12 on"):
        TrainingDays(lake, batch_size=4)
    TrainingDays(lake, batch_size=4, length=12)


def test_tables_of_different_lengths(lake: Path) -> None:
    change_manifest(lake, "training_input", FIRST_DAY, settings={"history_length": 20})
    with pytest.raises(SettingsError, match="made with history_length 20 and customer_history w"):
        TrainingDays(lake, batch_size=4)


def test_days_of_different_look_back(lake: Path) -> None:
    change_manifest(lake, "customer_history", FIRST_DAY, settings={"lookback_days": None})
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
    table = rows_of(lake, "customer_history")
    replace_rows(lake, "customer_history", FIRST_DAY, table.slice(1))
    customer = table.column("customer_id")[0].as_py()
    with pytest.raises(
        ValidationError, match=f"1 of the 9 customers.*among them {customer} with 0"
    ):
        next(iter(TrainingDays(lake, batch_size=4)))


def test_arrays_that_are_not_parallel(lake: Path) -> None:
    lists = rows_of(lake, "customer_history").column("action_types").to_pylist()
    longest = max(range(len(lists)), key=lambda n: len(lists[n]))
    lists[longest] = lists[longest][:-1]
    values = pa.array(lists, pa.list_(pa.int8()))
    change_column(lake, "customer_history", "action_types", values)
    with pytest.raises(SchemaError, match="action_types and action_items differ in length"):
        next(iter(TrainingDays(lake, batch_size=4)))


def test_nulls_in_arrays(lake: Path) -> None:
    column = rows_of(lake, "customer_history").column("action_items")
    values = pa.array([[None] * len(x) for x in column.to_pylist()], pa.list_(pa.int32()))
    change_column(lake, "customer_history", "action_items", values)
    with pytest.raises(SchemaError, match="action_items holds nulls"):
        next(iter(TrainingDays(lake, batch_size=4)))


def test_padded_rows_of_another_length(lake: Path) -> None:
    change_manifest(lake, "training_input", FIRST_DAY, settings={"history_length": 11})
    with pytest.raises(SchemaError, match="arrays of 12 to 12 items; expected 11"):
        next(iter(TrainingDays(lake, batch_size=4, source="training_input", days=[FIRST_DAY])))


def test_errors_of_a_day_read_ahead_reach_the_caller(lake: Path) -> None:
    days = TrainingDays(lake, batch_size=4)
    for path in planting.paths_of(Lake.at(lake), "training_input", date(2024, 3, 2)):
        path.unlink()
    with pytest.raises(DayNotPublishedError, match=r"training_input of 2024-03-02: .* is gone"):
        list(days)


@pytest.mark.parametrize("table", ["training_input", "customer_history"])
def test_any_damaged_byte_of_what_is_read_is_an_error(lake: Path, table: str) -> None:
    """Each row group's columns lie one after the other, so every few bytes hit another one."""
    (path,) = planting.paths_of(Lake.at(lake), table, FIRST_DAY)
    whole = path.read_bytes()
    options: Any = {"batch_size": 4, "days": [FIRST_DAY], "extras": ["identity"]}
    if table == "customer_history":
        options["extras"] = ["identity", "days_ago"]
    expected = read_by(lake, **options)
    same = 0
    for place in range(4, len(whole), max(1, len(whole) // 60)):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 0x10]) + whole[place + 1 :])
        try:
            found = read_by(lake, **options)
        except DamagedFileError as error:
            assert str(path) in str(error)
            continue
        # Columns that this loader does not read may be damaged without a word.
        assert found == expected
        same += 1
    assert same < 30
    path.write_bytes(whole)
    assert read_by(lake, **options) == expected


def read_by(lake: Path, **options: Any) -> list[Any]:
    found = TrainingDays(lake, **options)
    return [(b.actions.tolist(), b.impressions.tolist(), b.labels.tolist()) for b in found]
