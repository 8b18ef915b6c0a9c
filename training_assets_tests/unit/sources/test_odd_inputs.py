"""What a reviewer delivered: read without loss, set aside row by row, or refused by name."""

import json
from collections.abc import Mapping
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from training_assets.errors import RawDataError, SchemaError
from training_assets.lake import Lake
from training_assets.schemas import CLICKS, IMPRESSIONS, RAW_INTERACTIONS, RAW_ITEMS, Table
from training_assets.sources import find_raw_days, source_days
from training_assets_tests.support.frames import DAY
from training_assets_tests.support.raw_input import parse_all, put, read

CLICK = {"customer_id": 1, "item_id": 2}
EVENT = {"user_id": "u1", "item_id": "7", "interaction_type": "view"}
EVENT["timestamp"] = f"{DAY}T10:00:00Z"


def lines(*rows: Mapping[str, Any]) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)


def declare(root: Path, text: str) -> None:
    (root / "sources.toml").write_text(text)


def test_decimals_of_any_length_are_integers_or_set_aside(tmp_path: Path) -> None:
    for digits, kind in ((37, pa.decimal128(38)), (60, pa.decimal256(70))):
        ids = [Decimal(1), Decimal(2**63), Decimal(10) ** digits, None]
        put(
            tmp_path,
            f"{digits}.parquet",
            pa.table({"customer_id": pa.array(ids, kind), "item_id": [2] * 4}),
        )
    point = pa.array([Decimal("1.0"), Decimal(f"1.{'0' * 36}1")], pa.decimal128(38, 37))
    put(tmp_path, "point.parquet", pa.table({"customer_id": point, "item_id": [2, 2]}))
    found = read(tmp_path)
    assert [row["customer_id"] for row in found.valid] == [1] * 3
    outside = ["customer_id outside 64 bits"] * 2
    expected = [*outside, "customer_id is null"] * 2 + ["customer_id is not an integer"]
    assert sorted(found.reasons) == sorted(expected)


@pytest.mark.parametrize(("kind", "most"), [(pa.float16(), 2**11), (pa.float32(), 2**24)])
def test_integers_that_a_narrow_float_may_have_rounded_are_set_aside(
    tmp_path: Path, kind: pa.DataType, most: int
) -> None:
    ids = pa.array([float(n) for n in (1, most - 1, most, most + 2)], pa.float64()).cast(kind)
    put(tmp_path, "a.parquet", pa.table({"customer_id": ids, "item_id": [2] * 4}))
    found = read(tmp_path)
    assert [row["customer_id"] for row in found.valid] == [1, most - 1]
    assert found.reasons == ["customer_id outside the integers that a float holds"] * 2


def test_rows_are_chosen_alike_in_every_format(tmp_path: Path) -> None:
    declare(tmp_path, "[clicks]\nwhere = { kind = [1, '2.0'] }\n")
    kinds = ["1", " 1 ", "1.0", "2", "1.5", "x", ""]
    put(tmp_path, "a.csv", "customer_id,item_id,kind\n" + "".join(f"1,2,{k}\n" for k in kinds))
    put(tmp_path, "a.jsonl", lines(*({**CLICK, "kind": k} for k in kinds), CLICK))
    put(
        tmp_path, "a.parquet", pa.table({"customer_id": [1] * 7, "item_id": [2] * 7, "kind": kinds})
    )
    floats = {"customer_id": [1] * 3, "item_id": [2] * 3, "kind": [1.0, 1.5, None]}
    put(tmp_path, "b.parquet", pa.table(floats))
    assert len(read(tmp_path).valid) == 3 * 4 + 1


@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_a_column_that_chooses_rows_must_be_there(tmp_path: Path, ending: str) -> None:
    declare(tmp_path, "[clicks]\nwhere = { kind = 1 }\n")
    content = (
        "customer_id,item_id\n1,2\n"
        if ending == "csv"
        else pa.table({"customer_id": [1], "item_id": [2]})
    )
    put(tmp_path, f"a.{ending}", content)
    with pytest.raises(SchemaError, match=rf"a\.{ending}: the column kind is missing; expected it"):
        find_raw_days(Lake.at(tmp_path), CLICKS, [DAY])


def test_a_file_without_a_row_needs_no_column_that_chooses_rows(tmp_path: Path) -> None:
    declare(tmp_path, "[clicks]\nwhere = { 'event.type' = 'click' }\n")
    for name, content in {"a.csv": "", "b.csv": "\n \n", "a.jsonl": "\n"}.items():
        put(tmp_path, name, content)
    assert read(tmp_path).valid == []
    put(tmp_path, "c.csv", "customer_id,item_id,event.type\n1,2,click\n3,4,view\n")
    assert [row["item_id"] for row in read(tmp_path).valid] == [2]


def test_a_shops_own_export_of_a_topic_is_read_as_it_is_declared(tmp_path: Path) -> None:
    marks = {"_topic": ["t"] * 2, "_partition": [0] * 2, "_offset": [0, 1]}
    own = {"uid": ["1", "2"], "item_id": ["5", "6"], "kind": ["a", "b"]}
    columns = "where = { kind = 'b' }\n[%s.columns]\n%s = 'uid'\n"
    actions = columns % ("interactions", "user_id") + "timestamp = 'at'\n"
    actions += "interaction_type = { value = 'view' }\n"
    declare(tmp_path, f"[clicks]\n{columns % ('clicks', 'customer_id')}[interactions]\n{actions}")
    put(tmp_path, "a.parquet", pa.table({**marks, **own, "customer_id": [7, 8]}))
    own["at"] = [f"{DAY}T10:00:00Z"] * 2
    put(tmp_path, "a.parquet", pa.table({**marks, **own}), RAW_INTERACTIONS)
    filed = {**marks, **{name: [value] * 2 for name, value in EVENT.items()}}
    put(tmp_path, "b.parquet", pa.table(filed), RAW_INTERACTIONS)
    assert [row["customer_id"] for row in read(tmp_path).valid] == [2]
    days = find_raw_days(Lake.at(tmp_path), RAW_INTERACTIONS, [DAY])
    found = parse_all(days, wants_rejects=False)
    assert sorted(row["user_id"] for row in found) == ["2", "u1", "u1"]


def test_ids_written_as_floats_are_integers_in_the_shops_tables_too(tmp_path: Path) -> None:
    rows = "user_id,item_id,interaction_type,timestamp\n"
    rows += "".join(
        f"{u},{i},view,{DAY}\n"
        for u, i in (("1.0", "5."), ("-2.000", "x1.0"), ("0.0", "1.5"), ("01.0", "7"))
    )
    put(tmp_path, "a.csv", rows, RAW_INTERACTIONS)
    days = find_raw_days(Lake.at(tmp_path), RAW_INTERACTIONS, [DAY])
    found = [(row["user_id"], row["item_id"]) for row in parse_all(days, wants_rejects=False)]
    assert found == [("1", "5"), ("-2", "x1.0"), ("0", "1.5"), ("01.0", "7")]


def test_a_ranking_id_with_a_point_costs_no_other_ranking(tmp_path: Path) -> None:
    items = [{"item_id": 5, "is_order": 1}]
    rows = [{"ranking_id": n, "customer_id": 1, "impressions": items} for n in (1, 2.0, 1.5)]
    put(tmp_path, "a.jsonl", lines(*rows), IMPRESSIONS)
    found = read(tmp_path, IMPRESSIONS)
    assert [row["ranking_id"] for row in found.valid] == ["1", "2"]
    assert found.reasons == ["ranking_id is not a string"]


@pytest.mark.parametrize("table", [RAW_INTERACTIONS, RAW_ITEMS])
def test_days_may_be_folders_of_years_months_and_days(tmp_path: Path, table: Table) -> None:
    """The default layout of the event stream; what comes by the service lies under dt=."""
    row = EVENT if table is RAW_INTERACTIONS else {"item_id": "1", "title": "A"}
    year = f"year={DAY.year}/month={DAY:%m}/day={DAY:%d}"
    later = date(DAY.year, DAY.month, DAY.day + 1)
    for folder in (year, f"{year}/hour=10", f"dt={DAY}", f"dt={later}"):
        put(tmp_path, "a.jsonl", lines(row), table, folder=folder)
    put(tmp_path, "_SUCCESS", "", table, folder=year)
    lake = Lake.at(tmp_path)
    assert source_days(lake, table).days == (DAY, later)
    found = find_raw_days(lake, table, [DAY])
    assert sorted(file.name.removeprefix(f"raw/{table.name}/") for file in found.files()) == [
        f"dt={DAY}/a.jsonl",
        f"{year}/a.jsonl",
        f"{year}/hour=10/a.jsonl",
    ]
    assert len(parse_all(found, wants_rejects=False)) == found.count_rows()[DAY] == 3
    put(tmp_path, "b.jsonl", lines(row), table, folder=f"year={DAY.year}/month=13/day=01")
    with pytest.raises(
        RawDataError, match=r"month=13/day=01/b\.jsonl: the file is read for no day"
    ):
        find_raw_days(lake, table, [DAY])


def test_only_the_shops_tables_have_folders_of_years(tmp_path: Path) -> None:
    put(tmp_path, "a.jsonl", lines(CLICK), folder="year=2024/month=05/day=10")
    with pytest.raises(RawDataError, match="the folder is read for no day"):
        find_raw_days(Lake.at(tmp_path), CLICKS, [DAY], allow_missing=True)
