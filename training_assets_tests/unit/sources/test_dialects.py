"""However a table is written, its rows are those of the plain one; bad rows cost no good one."""

import bz2
import csv
import gzip
import io
import json
import tempfile
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyspark.sql import SparkSession

from training_assets.lake import Lake
from training_assets.schemas import CLICKS, MAX_ITEM_ID, SHOP_TABLES, Table
from training_assets.sources import blocks, find_raw_days
from training_assets_tests.support.frames import DAY
from training_assets_tests.support.raw_input import Row, put, read

more = settings(max_examples=4 * settings.default.max_examples)
fewer = settings(max_examples=5)

FIRST = datetime(1, 1, 2, tzinfo=UTC)
SECONDS = int((datetime(9999, 12, 30, tzinfo=UTC) - FIRST).total_seconds())
customers = st.integers(-(2**63), 2**63 - 1)
times = st.builds(
    lambda s, micros: FIRST + timedelta(seconds=s, microseconds=micros),
    st.integers(0, SECONDS) | st.integers(63_800_000_000, 63_900_000_000),
    st.integers(0, 999_999) | st.just(0),
)
some_clicks = st.lists(
    st.fixed_dictionaries(
        {
            "customer_id": customers,
            "item_id": st.integers(1, MAX_ITEM_ID),
            "click_time": st.none() | times,
        }
    ),
    min_size=1,
    max_size=12,
)

# --- spellings ------------------------------------------------------------------------------------


def spell_id(draw: st.DrawFn, value: int, in_json: bool) -> Any:
    forms: list[Any] = [str(value), f"{value}.0", f"{value}.", f" {value}\t"]
    if value >= 0:
        forms += [f"+{value}", f"00{value}"[-19:] if value < 10**17 else str(value)]
    if in_json:
        forms = [*forms[:2], value]
        forms += [float(value)] if abs(value) < 2**53 else []
    return draw(st.sampled_from(forms))


def spell_time(draw: st.DrawFn, at: datetime | None) -> str | None:
    if at is None:
        return None
    zone = draw(st.sampled_from([None, "Z", " UTC", "+00:00", "+0530", "-03:00"]))
    offset = {"+0530": timedelta(hours=5.5), "-03:00": timedelta(hours=-3)}.get(zone or "")
    local = at + (offset or timedelta())
    text = f"{local:%H:%M:%S}"
    if at.microsecond or draw(st.booleans()):
        text += f".{at.microsecond:06}" + draw(st.sampled_from(["", "000", "999"]))
    # strftime writes the year 1 with one digit on some systems.
    return f"{local.date().isoformat()}{draw(st.sampled_from('T '))}{text}{zone or ''}"


def spell_name(draw: st.DrawFn, name: str) -> str:
    words = name.split("_")
    camel = words[0] + "".join(word.title() for word in words[1:])
    return draw(st.sampled_from([name, name.upper(), camel, name.replace("_", " "), name.title()]))


def spell(draw: st.DrawFn, table: Table, name: str, value: Any, in_json: bool) -> Any:
    """A value that is there, in one of the ways in which it may be delivered."""
    (column,) = (c for c in table.columns if c.name == name)
    if column.type == "timestamp":
        return spell_time(draw, value)
    if column.type in ("long", "int"):
        return spell_id(draw, value, in_json)
    if column.type == "boolean":
        words: list[Any] = ["TRUE", "true", "t", "1"] if value else ["False", "f", "0"]
        return draw(st.sampled_from([*words, *([value, int(value)] if in_json else [])]))
    if column.type == "date":
        return draw(st.sampled_from([str(value), f"{value:%Y%m%d}", f"{value} 00:00:00"]))
    if column.type in ("double", "decimal(18,4)"):
        forms: list[Any] = [str(value), f"{value}0", f" {value}"]
        return draw(st.sampled_from([*forms, *([float(value)] if in_json else [])]))
    if column.is_json:
        return json.loads(value) if in_json and draw(st.booleans()) else value
    texts = [value, f" {value} ", value.replace(" ", " \t ")]
    return draw(st.sampled_from([*texts, *([value.upper()] if column.is_key else [])]))


class Written(NamedTuple):
    name: str
    content: bytes
    declared: str
    folder: str


@st.composite
def csv_files(draw: st.DrawFn, rows: list[Row], table: Table) -> Written:
    delimiter = draw(st.sampled_from([",", ";", "\t", "|"]))
    null = draw(st.sampled_from(["", "NULL", "\\N"]))
    names = draw(st.permutations([*rows[0], "spare"]))
    file = io.StringIO()
    out = csv.writer(
        file,
        delimiter=delimiter,
        quoting=draw(st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL])),
        lineterminator=draw(st.sampled_from(["\n", "\r\n"])),
    )
    spelled = {name: spell_name(draw, name) for name in rows[0]}
    out.writerow([spelled.get(name, name) for name in names])
    spare = st.sampled_from(["", "x", 'a "b"', "two\nlines", "ä,;|\tö", '"'])
    for row in rows:
        cells = {
            name: null if value is None else str(spell(draw, table, name, value, False))
            for name, value in row.items()
        }
        out.writerow([cells[name] if name in cells else draw(spare) for name in names])
    text = ("\ufeff" if draw(st.booleans()) else "") + file.getvalue()
    if draw(st.booleans()):
        text = text.rstrip("\r\n")
    declared = f"[{table.name}.csv]\ndelimiter = {json.dumps(delimiter)}\n"
    declared += f"null = ['', '{null}']\n"
    return packed(draw, "csv", text.encode(), declared)


@st.composite
def json_files(draw: st.DrawFn, rows: list[Row], table: Table) -> Written:
    names = draw(st.permutations(list(rows[0])))
    spare = st.sampled_from([None, 1, 2.5, "x", 'a "b" \\ \n ä', [1, {"a": None}], {"b": [True]}])
    shown = []
    for row in rows:
        found: Row = {}
        for name in names:
            value = row[name]
            if value is None:
                if draw(st.booleans()):
                    found[name] = None
            else:
                found[name] = spell(draw, table, name, value, True)
        if draw(st.booleans()):
            found["spare"] = draw(spare)
        shown.append(found)
    indent = draw(st.sampled_from([None, 1]))
    is_ascii = draw(st.booleans())
    objects = [json.dumps(row, indent=indent, ensure_ascii=is_ascii) for row in shown]
    layout = draw(st.sampled_from(["\n", "\r\n", "\n\n", " ", "array"]))
    text = f"[{', '.join(objects)}]" if layout == "array" else layout.join(objects) + "\n"
    return packed(draw, "jsonl", text.encode(), "")


@st.composite
def parquet_files(draw: st.DrawFn, rows: list[Row], table: Table) -> Written:
    columns: dict[str, pa.Array] = {}
    for name in draw(st.permutations(list(rows[0]))):
        values = [row[name] for row in rows]
        (column,) = (c for c in table.columns if c.name == name)
        if column.type == "timestamp":
            array = draw(st.sampled_from([_texts_of_times, _micros, _zoned]))(draw, values)
        elif column.type not in ("long", "int"):
            array = pa.array(values, column.arrow)
            if draw(st.booleans()):
                texts = [
                    v if v is None else str(spell(draw, table, name, v, False)) for v in values
                ]
                array = pa.array(texts, draw(st.sampled_from([pa.string(), pa.large_string()])))
            if draw(st.booleans()):
                array = array.dictionary_encode()
        elif None in values:
            array = pa.array(values, draw(st.sampled_from([pa.int64(), pa.float64()])))
        else:
            kinds = [pa.int64(), pa.string(), pa.large_string(), pa.decimal128(38, 0)]
            kind = draw(st.sampled_from(kinds))
            array = pa.array(values, pa.int64())
            if pa.types.is_decimal(kind):
                array = pa.array([Decimal(v) for v in values], kind)
            array = array.cast(kind)
            if draw(st.booleans()) and not pa.types.is_decimal(kind):
                array = array.dictionary_encode()
        columns[spell_name(draw, name)] = array
    file = io.BytesIO()
    pq.write_table(
        pa.table(columns),
        file,
        compression=draw(st.sampled_from(["none", "snappy", "zstd", "gzip"])),
        row_group_size=draw(st.integers(1, 20)),
    )
    ending = draw(st.sampled_from(["parquet", "snappy.parquet", "parq"]))
    return Written(f"a.{ending}", file.getvalue(), "", draw(folders))


def _texts_of_times(draw: st.DrawFn, values: list[datetime | None]) -> pa.Array:
    return pa.array([spell_time(draw, value) for value in values], pa.string())


def _micros(draw: st.DrawFn, values: list[datetime | None]) -> pa.Array:
    bare = [value and value.replace(tzinfo=None) for value in values]
    return pa.array(bare, pa.timestamp("us"))


def _zoned(draw: st.DrawFn, values: list[datetime | None]) -> pa.Array:
    return pa.array(values, pa.timestamp("us", tz="UTC")).cast(pa.timestamp("us", "Asia/Tokyo"))


folders = st.sampled_from(["", "part", "a/b/c", "hour=10"])


def packed(draw: st.DrawFn, ending: str, content: bytes, declared: str) -> Written:
    """Compressed or not; what is compressed need not say so in its name."""
    packing = draw(st.sampled_from(["", "gz", "zst", "bz2"]))
    pack = {
        "": bytes,
        "gz": gzip.compress,
        "zst": lambda data: pa.Codec("zstd").compress(data, asbytes=True),
        "bz2": bz2.compress,
    }
    says_so = packing and draw(st.booleans())
    name = f"a.{ending}.{packing}" if says_so else f"a.{ending}"
    return Written(name, pack[packing](content), declared, draw(folders))


@st.composite
def written_clicks(draw: st.DrawFn) -> tuple[list[Row], Written]:
    rows = draw(some_clicks)
    of = draw(st.sampled_from([csv_files, json_files, parquet_files]))
    return rows, draw(of(rows, CLICKS))


texts = st.sampled_from(["u1", "prod_456", "Äpfel grün", "0b5f", "x y z", "-"])
keys = st.none() | st.sampled_from(["mobile", "grün", "a b"])
moments = st.builds(
    lambda s: datetime(2001, 1, 1, tzinfo=UTC) + timedelta(seconds=s), st.integers(0, 10**8)
)
money = st.none() | st.sampled_from([Decimal("0.0000"), Decimal("1.5000"), Decimal("17.2500")])
objects = st.none() | st.sampled_from(['{"a": 1}', '{"b": {"c": "ä"}}'])
SHOP: dict[str, dict[str, st.SearchStrategy]] = {
    "interactions": {
        "user_id": texts,
        "item_id": texts,
        "interaction_type": st.sampled_from(["view", "click", "add_to_cart", "purchase", "like"]),
        "timestamp": moments,
        "session_id": st.none() | texts,
        "rating": st.none() | st.sampled_from([1.0, 2.5, 5.0]),
        "price": money,
        "quantity": st.none() | st.sampled_from([0.5, 1.0, 3.0]),
        "device_type": keys,
    },
    "items": {
        "item_id": texts,
        "title": texts,
        "category": keys,
        "price": money,
        "attributes": objects,
        "num_reviews": st.none() | st.integers(0, 2**40),
        "created_at": st.none() | moments,
        "is_active": st.none() | st.booleans(),
    },
    "users": {
        "user_id": texts,
        "gender": keys,
        "location": st.none() | texts,
        "join_date": st.none() | moments.map(datetime.date),
        "preferences": objects,
    },
}


@st.composite
def written_shop(draw: st.DrawFn) -> tuple[Table, list[Row], Written]:
    table = SHOP_TABLES[draw(st.sampled_from(list(SHOP)))]
    rows = draw(st.lists(st.fixed_dictionaries(SHOP[table.name]), min_size=1, max_size=6))
    of = draw(st.sampled_from([csv_files, json_files, parquet_files]))
    return table, rows, draw(of(rows, table))


@given(case=written_shop())
def test_rows_of_a_shop_are_those_of_the_plain_table(
    case: tuple[Table, list[Row], Written],
) -> None:
    table, rows, written = case
    with tempfile.TemporaryDirectory() as folder:
        put_written(Path(folder), written, table)
        found = read(Path(folder), table)
    assert found.faults == []
    plain = [{name: row[name] for name in rows[0]} for row in found.valid]
    for row in plain:
        for name in ("attributes", "preferences"):
            if row.get(name) is not None:
                row[name] = json.dumps(json.loads(row[name]), ensure_ascii=False)
    assert plain == rows


def put_written(root: Path, written: Written, table: Table = CLICKS) -> None:
    folder = f"dt={DAY}/{written.folder}".rstrip("/")
    put(root, written.name, written.content, table, folder)
    if written.declared:
        (root / "sources.toml").write_text(written.declared)


def shown(row: Row) -> tuple[int, int, datetime | None]:
    at = row["click_time"]
    return row["customer_id"], row["item_id"], at and at.astimezone(UTC)


@more
@given(case=written_clicks())
def test_rows_are_those_of_the_plain_table(case: tuple[list[Row], Written]) -> None:
    rows, written = case
    with tempfile.TemporaryDirectory() as folder:
        put_written(Path(folder), written)
        found = read(Path(folder))
    assert found.faults == []
    assert list(map(shown, found.valid)) == list(map(shown, rows))


@fewer
@given(case=written_clicks())
def test_engines_read_the_rows_of_the_plain_table(
    spark: SparkSession, case: tuple[list[Row], Written]
) -> None:
    rows, written = case
    with tempfile.TemporaryDirectory() as folder:
        put_written(Path(folder), written)
        raw = find_raw_days(Lake.at(folder), CLICKS, [DAY])
        found = raw.read_valid(spark).toArrow().to_pylist()
        assert raw.read_rejects(spark).count() == 0
    assert sorted(map(repr, map(shown, found))) == sorted(map(repr, map(shown, rows)))


# --- bad rows among good ones ---------------------------------------------------------------------

BAD_CSV = ("x,1,", "1,0,", ",1,", "1,1,2024-02-30", "1,1", "1,1,,", '"1,1,', "1.5,1,", "\xff,1,")
BAD_JSON = (
    '{"customer_id":"x","item_id":1}',
    '{"customer_id":1,"item_id":0}',
    '{"customer_id":1}',
    '{"customer_id":1,"item_id":1.5}',
    '{"customer_id":1,"item_id":true}',
    '{"customer_id":1,"item_id":[1]}',
    '{"customer_id":9223372036854775808,"item_id":1}',
    '{"customer_id":1,"item_id":1,"click_time":"2024-02-30 10:00:00"}',
    '{"customer_id":1,"item_id":1,"click_time":5}',
    '{"customer_id":1,"item_id":1',
    "[1]",
    "null",
    '{"customer_id":1,"item_id":1,"spare":"\xff"}',
)


@more
@given(
    rows=some_clicks,
    data=st.data(),
    ending=st.sampled_from(["csv", "jsonl"]),
    size=st.sampled_from([64, 1 << 20]),
)
def test_good_rows_are_read_whatever_stands_between_them(
    rows: list[Row], data: st.DataObject, ending: str, size: int
) -> None:
    is_csv = ending == "csv"
    good = [csv_line(row) if is_csv else json_line(row) for row in rows]
    bad = data.draw(st.lists(st.sampled_from(BAD_CSV if is_csv else BAD_JSON), max_size=6))
    mixed = data.draw(
        st.permutations([*((line, True) for line in good), *((b, False) for b in bad)])
    )
    lines = [line for line, _ in mixed]
    if is_csv:
        lines.insert(0, "customer_id,item_id,click_time")
    content = "\n".join(lines).encode("latin-1") + b"\n"
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr(blocks, "_BLOCK_BYTES", size)
        put(Path(folder), f"a.{ending}", content)
        found = read(Path(folder))
    expected = [good.index(line) for line, is_good in mixed if is_good]
    assert list(map(shown, found.valid)) == [shown(rows[n]) for n in expected]
    assert len(found.faults) == len(bad)


def csv_line(row: Row) -> str:
    at = row["click_time"]
    return f"{row['customer_id']},{row['item_id']},{at.isoformat() if at else ''}"


def json_line(row: Row) -> str:
    at = row["click_time"]
    return json.dumps({**row, "click_time": at and at.isoformat()})
