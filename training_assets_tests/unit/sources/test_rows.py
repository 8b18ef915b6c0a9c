"""Every raw row ends among the valid rows or, with its reason, among the faults.

No engine: ``rows.parse`` is called as the workers call it.
"""

import gzip
import json
import random
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyspark import cloudpickle

from training_assets.errors import RawDataError, SchemaError
from training_assets.lake import Lake
from training_assets.schemas import (
    CLICKS,
    MAX_ITEM_ID,
    PREVIOUS_ORDERS,
)
from training_assets.sources import (
    find_raw_days,
    fingerprint,
    source_days,
    write_rejects,
)
from training_assets_tests.support.frames import DAY, at, before, click
from training_assets_tests.support.raw_input import (
    FORMATS,
    NOON,
    OUTSIDE,
    WRITE,
    clicks,
    each_format,
    each_text,
    json_lines,
    orders,
    parse_all,
    put,
    put_rows,
    read,
)

# --- files ----------------------------------------------------------------------------------------


@each_format
def test_good_rows_are_read_exactly(tmp_path: Path, ending: str) -> None:
    rows = [
        click(7, 1, DAY, NOON),
        click(-(2**63), MAX_ITEM_ID, DAY, None),
        click(7, 1, DAY, at(before(3))),
    ]
    put_rows(tmp_path, ending, rows)
    assert read(tmp_path) == (rows, [])


@pytest.mark.parametrize("kept", [0, 1, 4, 100, -1, -5])
def test_truncated_parquet_is_an_error_that_names_the_file(tmp_path: Path, kept: int) -> None:
    path = put_rows(tmp_path, "parquet", clicks((1, 1)))
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(RawDataError) as caught:
        find_raw_days(Lake.at(tmp_path), CLICKS, [DAY])
    assert f"raw/clicks/dt={DAY}/a.parquet: the file cannot be read as parquet" in str(caught.value)


@pytest.mark.parametrize(
    "content",
    [b"customer_id,item_id\n1,2\n", b"PAR1", b"PAR1....PAR1", random.Random(0).randbytes(9999)],
)
def test_file_that_is_no_parquet_is_an_error_that_names_it(tmp_path: Path, content: bytes) -> None:
    put(tmp_path, "x.parquet", content)
    with pytest.raises(RawDataError, match=f"raw/clicks/dt={DAY}/x.parquet: .* Deliver it again"):
        find_raw_days(Lake.at(tmp_path), CLICKS, [DAY])


def test_parquet_with_a_damaged_page_is_an_error_when_read(tmp_path: Path) -> None:
    path = tmp_path / "raw" / "clicks" / f"dt={DAY}" / "a.parquet"
    path.parent.mkdir(parents=True)
    rows = pa.Table.from_pylist(clicks(*((n, n) for n in range(1, 500))))
    pq.write_table(rows, path, write_page_checksum=True, compression="none", use_dictionary=False)
    damaged = bytearray(path.read_bytes())
    damaged[len(damaged) // 4] ^= 0xFF
    path.write_bytes(damaged)
    with pytest.raises(RawDataError, match=r"a\.parquet: the file cannot be read"):
        read(tmp_path)


def test_parquet_with_fewer_rows_than_its_footer_says_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "raw" / "clicks" / f"dt={DAY}" / "a.parquet"
    path.parent.mkdir(parents=True)
    rows = pa.Table.from_pylist(clicks(*((n, n) for n in range(1, 40))))
    pq.write_table(rows, path, compression="none", use_dictionary=False)
    damaged = bytearray(path.read_bytes())
    # The kind of the first page; Arrow ends at one that it does not know, without a word.
    damaged[5] ^= 1
    path.write_bytes(damaged)
    assert list(pq.ParquetFile(path).iter_batches()) == []
    with pytest.raises(RawDataError, match="39 rows of its footer are not in its pages"):
        read(tmp_path)


@each_text
@pytest.mark.parametrize("content", [b"", b"\n", b" \r\n\n", b"\xef\xbb\xbf"])
def test_empty_text_file_has_no_rows(tmp_path: Path, ending: str, content: bytes) -> None:
    put(tmp_path, f"a.{ending}", content)
    put(tmp_path, f"b.{ending}.gz", gzip.compress(content))
    put(tmp_path, f"c.{ending}.gz", b"")
    assert read(tmp_path) == ([], [])


@each_format
def test_file_with_columns_but_no_rows_has_no_rows(tmp_path: Path, ending: str) -> None:
    schema = CLICKS.arrow_schema
    empty = {"parquet": schema.empty_table(), "csv": ",".join(schema.names), "jsonl": ""}
    put(tmp_path, f"a.{ending}", empty[ending])
    assert read(tmp_path) == ([], [])


def test_parquet_without_row_groups_has_no_rows(tmp_path: Path) -> None:
    path = put(tmp_path, "a.parquet", b"")
    with pq.ParquetWriter(path, CLICKS.arrow_schema):
        pass
    assert read(tmp_path) == ([], [])


@each_format
def test_file_delivered_twice_counts_twice(tmp_path: Path, ending: str) -> None:
    rows = [*clicks((1, 5)), *clicks((None, 6))]
    path = put_rows(tmp_path, ending, rows)
    path.with_name(f"again.{ending}").write_bytes(path.read_bytes())
    found = read(tmp_path)
    assert found.valid == [click(1, 5, DAY, NOON)] * 2
    assert [fault.source_file for fault in found.faults] == [
        f"raw/clicks/dt={DAY}/a.{ending}",
        f"raw/clicks/dt={DAY}/again.{ending}",
    ]


@each_text
def test_gzipped_text_is_read(tmp_path: Path, ending: str) -> None:
    text = WRITE[ending](clicks((1, 2), (None, 3)))
    put(tmp_path, f"a.{ending}.gz", gzip.compress(text.encode()))
    found = read(tmp_path)
    assert found.valid == [click(1, 2, DAY, NOON)]
    assert found.faults[0].content == text.splitlines()[-1]


@each_text
@pytest.mark.parametrize("damage", ["cut", "flipped", "not gzip"])
def test_damaged_gzip_is_an_error_that_names_the_file(
    tmp_path: Path, ending: str, damage: str
) -> None:
    rows = clicks(*((random.Random(n).randrange(10**9), n) for n in range(1, 3000)))
    whole = gzip.compress(WRITE[ending](rows).encode())
    broken = {
        "cut": whole[: len(whole) // 2],
        "flipped": whole[:5000] + bytes(b ^ 0xFF for b in whole[5000:5100]) + whole[5100:],
        "not gzip": b"{}",
    }
    put(tmp_path, f"a.{ending}.gz", broken[damage])
    with pytest.raises(RawDataError, match=rf"a\.{ending}\.gz: the file cannot be read as"):
        read(tmp_path)
    if damage != "not gzip":
        with pytest.raises(RawDataError, match=rf"a\.{ending}\.gz: the file cannot be read as"):
            find_raw_days(Lake.at(tmp_path), CLICKS, [DAY]).count_rows()


@each_format
def test_file_that_vanishes_after_the_listing_is_an_error(tmp_path: Path, ending: str) -> None:
    path = put_rows(tmp_path, ending, clicks((1, 2)))
    found = find_raw_days(Lake.at(tmp_path), CLICKS, [DAY])
    path.unlink()
    for act in (
        lambda: parse_all(found, wants_rejects=False),
        lambda: parse_all(found, wants_rejects=True),
        found.count_rows,
        lambda: fingerprint(CLICKS, DAY, found.files()),
    ):
        with pytest.raises(RawDataError, match=rf"a\.{ending}"):
            act()


def test_parquet_replaced_by_a_shorter_one_after_the_listing_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "raw" / "clicks" / f"dt={DAY}" / "a.parquet"
    path.parent.mkdir(parents=True)
    rows = pa.Table.from_pylist(clicks((1, 2), (3, 4)))
    pq.write_table(rows, path, row_group_size=1)
    found = find_raw_days(Lake.at(tmp_path), CLICKS, [DAY])
    pq.write_table(rows, path)
    for act in (lambda: parse_all(found, wants_rejects=False), found.count_rows):
        with pytest.raises(RawDataError, match=r"a\.parquet: .*fewer row groups than when it was"):
            act()


@pytest.mark.parametrize("ending", ["parquet", "csv"])
def test_file_replaced_by_one_without_a_column_is_an_error(tmp_path: Path, ending: str) -> None:
    put_rows(tmp_path, ending, clicks((1, 2)))
    found = find_raw_days(Lake.at(tmp_path), CLICKS, [DAY])
    put_rows(tmp_path, ending, [{"item_id": 2}])
    with pytest.raises(RawDataError, match=rf"a\.{ending}: the column customer_id was there"):
        parse_all(found, wants_rejects=False)


def test_parquet_replaced_by_one_of_another_type_is_an_error(tmp_path: Path) -> None:
    put_rows(tmp_path, "parquet", clicks((1, 2)))
    found = find_raw_days(Lake.at(tmp_path), CLICKS, [DAY])
    put_rows(tmp_path, "parquet", clicks((1, True)))
    with pytest.raises(RawDataError, match=r"a\.parquet: .*item_id is bool; expected int"):
        parse_all(found, wants_rejects=False)


# --- the day --------------------------------------------------------------------------------------


@each_format
def test_dt_in_the_file_must_agree_with_the_folder(tmp_path: Path, ending: str) -> None:
    rows = [click(1, 1, DAY, NOON), click(1, 2, before(1), NOON), click(1, 3, None, NOON)]
    path = put_rows(tmp_path, ending, rows)
    found = read(tmp_path)
    assert found.valid == rows[:1]
    assert found.reasons == ["dt contradicts the folder", "dt is null"]
    assert {fault.dt for fault in found.faults} == {DAY}
    if ending == "parquet":
        assert [json.loads(f.content)["dt"] for f in found.faults] == [str(before(1)), None]
    else:
        assert [f.content for f in found.faults] == path.read_text().splitlines()[-2:]


@each_text
@pytest.mark.parametrize(
    "text", ["nope", "2024-5-10", "2024-02-30", "20240230", "2024-05-10T00:00:01", "1715299200"]
)
def test_text_that_is_no_day_is_a_fault(tmp_path: Path, ending: str, text: str) -> None:
    put_rows(tmp_path, ending, [{**clicks((1, 1))[0], "dt": text}, click(1, 1, DAY, NOON)])
    found = read(tmp_path)
    assert (found.reasons, len(found.valid)) == (["dt is not a date"], 1)


def test_json_row_that_does_not_speak_of_its_day_has_that_of_the_folder(tmp_path: Path) -> None:
    put(
        tmp_path, "a.json", json_lines([*clicks((1, 1)), click(1, 1, DAY, NOON), click(1, 2, None)])
    )
    found = read(tmp_path)
    assert found.valid == [click(1, 1, DAY, NOON)] * 2
    assert found.reasons == ["dt is null"]


@pytest.mark.parametrize(
    "type_", [pa.date32(), pa.date64(), pa.string(), pa.large_string()], ids=str
)
@pytest.mark.parametrize("is_encoded", [False, True])
def test_day_is_read_from_any_parquet_date_or_text(
    tmp_path: Path, type_: pa.DataType, is_encoded: bool
) -> None:
    days = pa.array([DAY, None, before(1)]).cast(pa.string() if "string" in str(type_) else type_)
    days = days.cast(type_)
    rows = {"customer_id": [1, 1, 1], "item_id": [1, 2, 3]}
    put(
        tmp_path,
        "a.parquet",
        pa.table({**rows, "dt": days.dictionary_encode() if is_encoded else days}),
    )
    found = read(tmp_path)
    assert found.valid == [click(1, 1, DAY)]
    assert found.reasons == ["dt is null", "dt contradicts the folder"]


def test_parquet_day_beyond_the_calendar_is_a_fault_with_its_number(tmp_path: Path) -> None:
    days = pa.array([2**31 - 1, -(2**31)], pa.int32()).cast(pa.date32())
    put(tmp_path, "a.parquet", pa.table({"customer_id": [1, 1], "item_id": [1, 1], "dt": days}))
    found = read(tmp_path)
    assert found.reasons == ["dt outside the years 1..9999"] * 2
    assert json.loads(found.faults[0].content)["dt"] == 2**31 - 1


# --- orders ---------------------------------------------------------------------------------------


@each_format
@pytest.mark.parametrize("prefix", ["dt", "order_date"])
def test_orders_may_lie_in_folders_by_either_name(tmp_path: Path, ending: str, prefix: str) -> None:
    folder = f"{prefix}={DAY}"
    put_rows(tmp_path, ending, orders(DAY, before(1)), PREVIOUS_ORDERS, folder=folder)
    found = read(tmp_path, PREVIOUS_ORDERS)
    assert (found.valid, found.reasons) == (orders(DAY), ["order_date contradicts the folder"])
    assert source_days(Lake.at(tmp_path), PREVIOUS_ORDERS).days == (DAY,)


@each_format
def test_flat_orders_are_read_by_their_days(tmp_path: Path, ending: str) -> None:
    rows = orders(before(2), DAY, before(1), DAY)
    put_rows(tmp_path, ending, rows, PREVIOUS_ORDERS, folder=None)
    assert read(tmp_path, PREVIOUS_ORDERS).valid == [rows[1], rows[3]]
    assert read(tmp_path, PREVIOUS_ORDERS, [before(1), before(2)]).valid == [rows[0], rows[2]]
    assert read(tmp_path, PREVIOUS_ORDERS, [before(9)]) == ([], [])


@each_format
def test_flat_orders_without_a_day_are_faults_of_the_first_day_once(
    tmp_path: Path, ending: str
) -> None:
    put_rows(tmp_path, ending, orders(None, DAY, before(2), None), PREVIOUS_ORDERS, folder=None)
    for days in ([before(2)], [before(2), before(1), DAY]):
        found = read(tmp_path, PREVIOUS_ORDERS, days)
        assert found.reasons == ["order_date is null"] * 2
        assert {fault.dt for fault in found.faults} == {before(2)}
    assert read(tmp_path, PREVIOUS_ORDERS) == ([orders(None, DAY)[1]], [])


@each_format
def test_flat_orders_of_one_file_share_their_first_day_over_its_parts(
    tmp_path: Path, ending: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("training_assets.sources.header._ROWS_PER_TASK", 1)
    rows = orders(DAY, None, before(2))
    path = put_rows(tmp_path, ending, rows, PREVIOUS_ORDERS, folder=None)
    if ending == "parquet":
        pq.write_table(pa.Table.from_pylist(rows), path, row_group_size=1)
        assert len(find_raw_days(Lake.at(tmp_path), PREVIOUS_ORDERS, [DAY]).tasks) == 3
    found = read(tmp_path, PREVIOUS_ORDERS, [before(2), DAY])
    assert [(fault.dt, fault.reason) for fault in found.faults] == [
        (before(2), "order_date is null")
    ]


@each_text
def test_flat_rows_that_cannot_be_parsed_are_faults_of_the_first_day(
    tmp_path: Path, ending: str
) -> None:
    rows = [{**orders(DAY)[0], "order_date": text} for text in (str(DAY), "nope")]
    put(tmp_path, f"a.{ending}", WRITE[ending](rows) + "junk\n", PREVIOUS_ORDERS, None)
    found = read(tmp_path, PREVIOUS_ORDERS)
    odd = (
        "row is not JSON"
        if ending == "jsonl"
        else "row has another number of cells than the header"
    )
    assert (found.valid, found.reasons) == (orders(DAY), ["order_date is not a date", odd])


@each_format
def test_flat_orders_of_which_none_has_a_day_are_an_error(tmp_path: Path, ending: str) -> None:
    put_rows(tmp_path, ending, orders(None, None), PREVIOUS_ORDERS, folder=None)
    with pytest.raises(RawDataError) as caught:
        read(tmp_path, PREVIOUS_ORDERS)
    assert f"raw/previous_orders/a.{ending}: no row has a day in order_date" in str(caught.value)


@each_format
def test_flat_orders_need_their_day_column(tmp_path: Path, ending: str) -> None:
    rows = [{"customer_id": 1, "config_id": 1}]
    put_rows(tmp_path, ending, rows, PREVIOUS_ORDERS, folder=None)
    with pytest.raises(SchemaError, match=r"previous_orders\.order_date: the column is missing"):
        read(tmp_path, PREVIOUS_ORDERS)


def test_flat_orders_and_folders_add_up(tmp_path: Path) -> None:
    put_rows(tmp_path, "csv", orders(DAY), PREVIOUS_ORDERS, folder=None)
    put_rows(tmp_path, "csv", orders(DAY), PREVIOUS_ORDERS)
    put(tmp_path, "_SUCCESS", b"", PREVIOUS_ORDERS, None)
    assert read(tmp_path, PREVIOUS_ORDERS).valid == orders(DAY) * 2


# --- workers --------------------------------------------------------------------------------------

_WORKER = """
import pickle, sys

class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0].startswith("training_assets"):
            raise ModuleNotFoundError(name)

sys.meta_path.insert(0, Blocker())
tasks, *functions = pickle.load(open(sys.argv[1], "rb"))
for parse in functions:
    for batch in parse(iter([tasks])):
        print(batch.to_pylist())
try:
    import training_assets
except ModuleNotFoundError:
    print("not installed")
"""


class _Engine:
    """Stands for a session of Spark and a frame; keeps what would be sent to the workers."""

    version = "4.2.1"

    def __init__(self) -> None:
        self.sent: list[Any] = []

    def sql(self, text: str) -> "_Engine":
        return self

    def collect(self) -> list[tuple[str]]:
        return [(self.version,)]

    def createDataFrame(self, rows: Any, schema: str) -> "_Engine":  # noqa: N802
        return self

    def repartition(self, *args: Any) -> "_Engine":
        return self

    def mapInArrow(self, function: Any, schema: str) -> None:  # noqa: N802
        self.sent.append(function)


@pytest.mark.usefixtures("workers_elsewhere")
def test_workers_need_not_have_the_package(tmp_path: Path) -> None:
    for ending in FORMATS:
        put_rows(tmp_path, ending, clicks((1, 2), (None, 3), (1, 0)))
    found = find_raw_days(Lake.at(tmp_path), CLICKS, [DAY])
    engine: Any = _Engine()
    found.read_valid(engine)
    found.read_rejects(engine)
    _, read_rejects = engine.sent
    root = str(tmp_path / "unified_actions")

    def write(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in read_rejects(batches):
            source = pa.array(["clicks"] * len(batch))
            yield from write_rejects([batch.append_column("source", source)], root, "0" * 12)

    tasks = pa.RecordBatch.from_pylist([task._asdict() for task in found.tasks])
    pickled = tmp_path / "sent.pickle"
    pickled.write_bytes(cloudpickle.dumps([tasks, *engine.sent, write]))
    done = subprocess.run(
        [sys.executable, "-c", _WORKER, str(pickled)],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("'item_id': 2") == 3
    assert done.stdout.count("customer_id is null") == 3
    assert done.stdout.count(OUTSIDE) == 3
    assert done.stdout.count("'rows': 2, 'name': '_quarantine/dt=") == 3
    assert done.stdout.endswith("not installed\n")
