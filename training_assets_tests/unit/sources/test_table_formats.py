"""Folders of Delta, Hudi and Iceberg: the current version of the first, the others by name."""

import json
import os
import string
import struct
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from deltalake import DeltaTable, write_deltalake

from training_assets.errors import RawDataError
from training_assets.lake import Lake, LocalStore
from training_assets.retention.plan import _raw
from training_assets.retention.settings import RetentionSettings
from training_assets.schemas import CLICKS, PREVIOUS_ORDERS, Table
from training_assets.sources import files_of_days, find_raw_days, source_days
from training_assets.sources.archive import archive_day
from training_assets.tables import SPECS
from training_assets_tests.support.frames import DAY, before
from training_assets_tests.support.raw_input import clicks, orders, parse_all, put, put_rows
from training_assets_tests.support.s3 import S3Place

DECLARED = '[clicks]\npath = "wh/clicks/{place}"\nformat = "parquet"\n'


@pytest.fixture(params=["local", "s3"])
def lake(request: pytest.FixtureRequest, tmp_path: Path) -> Lake:
    if request.param == "local":
        return Lake.at(tmp_path)
    server: S3Place = request.getfixturevalue("s3_server")
    return Lake.at(server.new_url())


def write(lake: Lake, path: str, rows: list[dict[str, Any]], mode: Any = "append", **more: Any):
    """To the Delta table at a path in the lake."""
    uri = lake.store.uri(path)
    write_deltalake(uri, pa.Table.from_pylist(rows), mode=mode, schema_mode=None, **more)


def of_day(day: date, *items: int) -> list[dict[str, Any]]:
    return [{"dt": str(day), **row} for row in clicks(*((1, item) for item in items))]


def items(lake: Lake, day: date = DAY, table: Table = CLICKS) -> list[int]:
    name = "item_id" if table is CLICKS else "config_id"
    found = find_raw_days(lake, table, [day])
    assert parse_all(found, wants_rejects=True) == []
    return sorted(row[name] for row in parse_all(found, wants_rejects=False))


def test_of_a_day_that_is_a_delta_table_the_current_version_is_read(lake: Lake) -> None:
    place = f"raw/clicks/dt={DAY}"
    write(lake, place, clicks((1, 1), (1, 2)))
    write(lake, place, clicks((1, 3)), "overwrite")
    write(lake, place, clicks((1, 4)))
    assert items(lake) == [3, 4]
    write(lake, place, clicks((1, 5)), "overwrite")
    assert items(lake) == [5]


def test_a_day_of_a_delta_table_of_its_own_may_be_emptied(lake: Lake) -> None:
    place = f"raw/clicks/dt={DAY}"
    write(lake, place, clicks((1, 1)))
    DeltaTable(lake.store.uri(place)).delete()
    assert files_of_days(lake, CLICKS, [DAY]) == []


def test_of_a_table_by_days_the_current_version_is_read(lake: Lake) -> None:
    rows = of_day(before(1), 1) + of_day(DAY, 2, 3)
    write(lake, "raw/clicks", rows, partition_by=["dt"])
    overwritten = {"predicate": f"dt = '{DAY}'", "partition_by": ["dt"]}
    write(lake, "raw/clicks", of_day(DAY, 4), "overwrite", **overwritten)
    assert (items(lake, before(1)), items(lake)) == ([1], [4])
    DeltaTable(lake.store.uri("raw/clicks")).delete(f"dt = '{before(1)}'")
    assert source_days(lake, CLICKS).days == (DAY,)
    DeltaTable(lake.store.uri("raw/clicks")).vacuum(0, False, enforce_retention_duration=False)
    assert items(lake) == [4]


def test_of_flat_orders_the_current_version_is_read(lake: Lake) -> None:
    write(lake, "raw/previous_orders", orders(DAY, DAY))
    write(lake, "raw/previous_orders", orders(before(2), DAY), "overwrite")
    assert source_days(lake, PREVIOUS_ORDERS).days == (before(2), DAY)
    assert items(lake, DAY, PREVIOUS_ORDERS) == [2]


@pytest.mark.parametrize("place", ["dt={dt}", "{dt}"])
def test_at_a_declared_place_the_current_version_is_read(lake: Lake, place: str) -> None:
    lake.store.put("sources.toml", DECLARED.replace("{place}", place).encode())
    folder = f"wh/clicks/{place.replace('{dt}', str(DAY))}"
    write(lake, folder, clicks((1, 1)))
    write(lake, folder, clicks((1, 2)), "overwrite")
    assert items(lake) == [2]


def test_a_declared_table_by_days_is_read_as_it_is_now(lake: Lake) -> None:
    lake.store.put("sources.toml", DECLARED.replace("{place}", "dt={dt}").encode())
    write(lake, "wh/clicks", of_day(before(1), 9) + of_day(DAY, 1), partition_by=["dt"])
    write(lake, "wh/clicks", of_day(DAY, 2), "overwrite", partition_by=["dt"])
    assert source_days(lake, CLICKS).days == (DAY,)
    assert items(lake) == [2]


@pytest.mark.parametrize("path", [".hoodie/hoodie.properties", "metadata/v1.metadata.json"])
@pytest.mark.parametrize("folder", ["", f"dt={DAY}/"])
def test_hudi_and_iceberg_are_refused_by_name(lake: Lake, folder: str, path: str) -> None:
    lake.raw.put(f"clicks/dt={DAY}/a.csv", b"customer_id,item_id\n1,2\n")
    lake.raw.put(f"clicks/{folder}{path}", b"{}")
    name = "Hudi" if "hoodie" in path else "Iceberg"
    with pytest.raises(RawDataError, match=rf"is a table of {name}, which is not read"):
        find_raw_days(lake, CLICKS, [DAY])


def test_a_file_of_the_version_that_is_gone_is_an_error(lake: Lake) -> None:
    place = f"clicks/dt={DAY}"
    write(lake, f"raw/{place}", clicks((1, 1)))
    write(lake, f"raw/{place}", clicks((1, 2)))
    lost = next(e.path for e in lake.raw.list(place) if e.path.endswith(".parquet"))
    lake.raw.delete([lost])
    with pytest.raises(RawDataError, match=r"in the current version .* but was not found"):
        find_raw_days(lake, CLICKS, [DAY])


def plant_text(root: Path) -> None:
    put(root, "a.csv", "customer_id,item_id\n1,2\n")


def plant_damage(root: Path) -> None:
    log = root / f"raw/clicks/dt={DAY}/_delta_log"
    (log / "00000000000000000001.json").write_text('{"add": 1')


def plant_mapping(root: Path) -> None:
    log = root / f"raw/clicks/dt={DAY}/_delta_log/00000000000000000000.json"
    actions = [json.loads(line) for line in log.read_text().splitlines()]
    meta = next(action["metaData"] for action in actions if "metaData" in action)
    schema = json.loads(meta["schemaString"])
    for number, field in enumerate(schema["fields"], 1):
        physical = {"delta.columnMapping.physicalName": field["name"]}
        field["metadata"] = {"delta.columnMapping.id": number, **physical}
    meta["schemaString"] = json.dumps(schema)
    meta["configuration"] = {"delta.columnMapping.mode": "name"}
    protocol = next(action["protocol"] for action in actions if "protocol" in action)
    protocol |= {"minReaderVersion": 2, "minWriterVersion": 5}
    protocol.pop("writerFeatures", None)
    log.write_text("".join(json.dumps(action) + "\n" for action in actions))


@pytest.mark.parametrize(
    ("plant", "said"),
    [
        (plant_text, "lies in a Delta table without being of it"),
        (plant_damage, "the Delta table cannot be read"),
        (plant_mapping, "its columns are mapped by name"),
    ],
)
def test_what_cannot_be_read_of_a_delta_table_is_refused(
    tmp_path: Path, plant: Callable[[Path], None], said: str
) -> None:
    write(Lake.at(tmp_path), f"raw/clicks/dt={DAY}", clicks((1, 1)))
    plant(tmp_path)
    with pytest.raises(RawDataError, match=said):
        find_raw_days(Lake.at(tmp_path), CLICKS, [DAY])


def test_rows_deleted_by_vectors_are_refused(tmp_path: Path) -> None:
    lake, place = Lake.at(tmp_path), f"raw/clicks/dt={DAY}"
    write(lake, place, clicks((1, 1), (1, 2)))
    log = tmp_path / place / "_delta_log/00000000000000000000.json"
    actions = [json.loads(line) for line in log.read_text().splitlines()]
    protocol = next(action["protocol"] for action in actions if "protocol" in action)
    named = {"readerFeatures": ["deletionVectors"], "writerFeatures": ["deletionVectors"]}
    protocol |= {"minReaderVersion": 3, "minWriterVersion": 7, **named}
    log.write_text("".join(json.dumps(action) + "\n" for action in actions))
    assert items(lake) == [1, 2]
    # A bitmap of 64 bits that holds the number 0: the first row is deleted.
    bitmap = struct.pack("<IQIIIHHIH", 1681511377, 1, 0, 12346, 1, 0, 0, 16, 0)
    vector = {"storageType": "i", "pathOrInlineDv": z85(bitmap), "sizeInBytes": len(bitmap)}
    add = next(action["add"] for action in actions if "add" in action)
    add["deletionVector"] = {**vector, "cardinality": 1}
    log.write_text("".join(json.dumps(action) + "\n" for action in actions))
    with pytest.raises(RawDataError, match="deleted by deletion vectors"):
        find_raw_days(lake, CLICKS, [DAY])


def z85(data: bytes) -> str:
    digits = string.digits + string.ascii_lowercase + string.ascii_uppercase
    digits += ".-:+=^!/*?&<>()[]{}@%$#"
    padded = data + bytes(-len(data) % 4)
    numbers = struct.unpack(f">{len(padded) // 4}I", padded)
    return "".join(digits[n // 85**power % 85] for n in numbers for power in (4, 3, 2, 1, 0))


def test_a_column_that_only_the_log_has_is_refused(tmp_path: Path) -> None:
    write(Lake.at(tmp_path), f"raw/clicks/dt={DAY}", clicks((1, 1)), partition_by=["item_id"])
    with pytest.raises(RawDataError, match="partitioned by item_id, a column that is read"):
        find_raw_days(Lake.at(tmp_path), CLICKS, [DAY])


def test_a_flat_delta_table_of_clicks_is_refused(tmp_path: Path) -> None:
    write(Lake.at(tmp_path), "raw/clicks", of_day(DAY, 1))
    with pytest.raises(RawDataError, match="the file is read for no day"):
        find_raw_days(Lake.at(tmp_path), CLICKS, [DAY])


def test_a_day_of_a_delta_table_is_not_archived(tmp_path: Path) -> None:
    lake, folder = Lake.at(tmp_path), f"dt={DAY}"
    write(lake, f"raw/clicks/{folder}", clicks((1, 1)))
    assert isinstance(lake.raw, LocalStore)
    with pytest.raises(RawDataError, match="a Delta table, which is not archived"):
        archive_day(lake.raw, "clicks", DAY, (folder,))
    assert items(lake) == [1]
    assert not os.path.exists(tmp_path / "archive")


@pytest.mark.parametrize(("place", "steps"), [("raw/clicks", 0), (f"raw/clicks/dt={DAY}", 1)])
def test_retention_plans_nothing_that_would_break_a_delta_table(
    tmp_path: Path, place: str, steps: int
) -> None:
    lake = Lake.at(tmp_path)
    by_day = {} if steps else {"partition_by": ["dt"]}
    write(lake, place, clicks((1, 1)) if steps else of_day(DAY, 1), **by_day)
    staying: dict[str, list[date]] = {name: [] for name in SPECS}
    cold = RetentionSettings(cold_after_days=1, keep_raw_days=10_000)
    assert _raw(lake, cold, date(2025, 1, 1), CLICKS, staying)[0] == []
    gone = RetentionSettings(cold_after_days=1, keep_raw_days=2)
    found, _ = _raw(lake, gone, date(2025, 1, 1), CLICKS, staying)
    assert [step.action for step in found] == ["delete raw"] * steps


def test_plain_days_beside_a_day_that_is_a_delta_table_stay_as_they_are(tmp_path: Path) -> None:
    lake = Lake.at(tmp_path)
    put_rows(tmp_path, "csv", clicks((1, 7)), folder=f"dt={before(1)}")
    write(lake, f"raw/clicks/dt={DAY}", clicks((1, 1)))
    assert (items(lake, before(1)), items(lake)) == ([7], [1])
