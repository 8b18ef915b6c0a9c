"""What ``sources.toml`` may say, and what each mistake in it is told."""

import json
from datetime import date
from pathlib import Path

import pytest

from training_assets.errors import RawDataError, SettingsError
from training_assets.lake import Lake
from training_assets.schemas import ADD_TO_CARTS, CLICKS, LIKE, PREVIOUS_ORDERS, Table
from training_assets.sources import (
    describe_sources,
    find_raw_days,
    fingerprint,
    source_days,
)
from training_assets.sources.declared import declarations, parse
from training_assets_tests.support.raw_input import parse_all

DAY = date(2026, 3, 1)


def put(root: Path, path: str, text: str) -> None:
    target = root / path
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(text)


def rows(root: Path, table: Table, day: date = DAY) -> list[dict[str, object]]:
    return parse_all(find_raw_days(Lake.at(root), table, [day]), wants_rejects=False)


def test_a_declared_source_is_read_where_and_as_it_is_declared(tmp_path: Path) -> None:
    declared = """
        [clicks]
        path = "exports/y={year}/m={month}/d={day}"
        format = "jsonl"
        [clicks.columns]
        customer_id = "user.id"
        item_id = "sku"
        click_time = { from = "ts", unit = "ms" }
    """
    put(tmp_path, "sources.toml", declared)
    event = {"user": {"id": 7}, "sku": "42", "ts": 1772359200000}
    put(tmp_path, "exports/y=2026/m=3/d=01/10/part.txt", json.dumps(event) + "\n")
    [row] = rows(tmp_path, CLICKS)
    assert (row["customer_id"], row["item_id"]) == (7, 42)
    assert str(row["click_time"]) == "2026-03-01 10:00:00+00:00"
    assert source_days(Lake.at(tmp_path), CLICKS).days == (DAY,)


def test_a_dialect_of_csv_and_a_time_zone_are_as_declared(tmp_path: Path) -> None:
    declared = """
        [clicks]
        time_zone = "Europe/Berlin"
        [clicks.csv]
        delimiter = ";"
        null = ["NULL"]
    """
    put(tmp_path, "sources.toml", declared)
    text = "customer_id;item_id;click_time\n1;5;2026-03-01 10:00:00\n2;6;NULL\n"
    put(tmp_path, f"raw/clicks/dt={DAY}/a.csv", text)
    first, second = rows(tmp_path, CLICKS)
    assert str(first["click_time"]) == "2026-03-01 09:00:00+00:00"
    assert second["click_time"] is None


def test_days_may_be_in_the_names_of_files(tmp_path: Path) -> None:
    put(tmp_path, "sources.toml", '[clicks]\npath = "in/clicks-{yyyymmdd}"\n')
    put(tmp_path, "in/clicks-20260301.csv", "customer_id,item_id\n1,5\n")
    put(tmp_path, "in/clicks-20260302.csv", "customer_id,item_id\n1,6\n")
    assert [row["item_id"] for row in rows(tmp_path, CLICKS)] == [5]
    put(tmp_path, "in/other.csv", "customer_id,item_id\n1,6\n")
    with pytest.raises(RawDataError, match=r"in/other\.csv: the file is read for no day"):
        rows(tmp_path, CLICKS)


def test_flat_files_of_any_source_tell_their_days_in_their_rows(tmp_path: Path) -> None:
    declared = """
        [previous_orders]
        path = "warehouse"
        columns = { order_date = "at", config_id = "sku", occurred_at = "at" }
    """
    put(tmp_path, "sources.toml", declared)
    lines = "customer_id,sku,at\n1,5,2026-03-01 10:00:00\n1,6,2026-03-02 00:00:00\n"
    put(tmp_path, "warehouse/orders.csv", lines)
    [row] = rows(tmp_path, PREVIOUS_ORDERS)
    assert row["config_id"] == 5
    assert source_days(Lake.at(tmp_path), PREVIOUS_ORDERS).days == (DAY, date(2026, 3, 2))


def test_an_absent_source_has_no_days(tmp_path: Path) -> None:
    put(tmp_path, "sources.toml", "[add_to_carts]\nabsent = true\n")
    put(tmp_path, f"raw/add_to_carts/dt={DAY}/a.csv", "customer_id,config_id\n1,5\n")
    assert source_days(Lake.at(tmp_path), ADD_TO_CARTS).days == ()
    assert rows(tmp_path, ADD_TO_CARTS) == []


def test_another_declaration_is_another_fingerprint(tmp_path: Path) -> None:
    put(tmp_path, f"raw/clicks/dt={DAY}/a.csv", "customer_id;item_id\n1;5\n")
    prints = []
    for null in ("x", "y"):
        put(tmp_path, "sources.toml", f'[clicks.csv]\ndelimiter = ";"\nnull = ["{null}"]\n')
        files = find_raw_days(Lake.at(tmp_path), CLICKS, [DAY]).files()
        prints.append(fingerprint(CLICKS, DAY, files))
    assert prints[0] != prints[1]


def test_a_further_source_is_a_table_of_actions_of_its_kind() -> None:
    found = parse(b'[likes]\nkind = "like"\ncolumns = { customer_id = "uid" }\n', "sources.toml")
    [table] = found.further
    assert (table.name, table.action_type) == ("likes", LIKE)
    assert found.of(table).reading.paths == {"customer_id": ("uid",)}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "[clicks]\npaht = 'x'",
            r"\[clicks\]: the key 'paht' is not known \(did you mean 'path'\?\)",
        ),
        (
            "[click]\npath = 'x'",
            r"\[click\] is no source that is known \(did you mean 'clicks'\?\)",
        ),
        ("[likes]\nkind = 'liek'", r"\[likes\] kind is 'liek' \(did you mean 'like'\?\)"),
        ("[clicks]\nkind = 'click'", r"\[clicks\] kind is 'click'; expected none"),
        ("[clicks]\nformat = 'jsnl'", r"\[clicks\] format is 'jsnl' \(did you mean 'jsonl'\?\)"),
        ("[clicks]\npath = 'a/{dayy}'", r"the place-holder 'dayy' is not known .*'day'"),
        ("[clicks]\npath = 'a/{year}'", r"expected a day in it"),
        ("[clicks]\npath = 's4://b/{dt}'", r"the scheme s4 is not known .*'s3'"),
        ("[clicks]\ntime_zone = 'Berlin'", r"time_zone is 'Berlin'; expected a name like"),
        (
            "[clicks]\ncolumns = { click_time = { from = 't', unit = 'sec' } }",
            r"columns\.click_time unit is 'sec'",
        ),
        ("[clicks]\ncolumns = { item = 't' }", r"columns: the key 'item' is not known .*'item_id'"),
        ("[clicks]\ncolumns = { item_id = '' }", r"columns\.item_id is ''; expected the name"),
        ("[clicks]\ncolumns = { item_id = { from = 'a', unit = 's' } }", "expected units only of"),
        ("[clicks.csv]\ndelimiter = '||'", r"\[clicks\.csv\] delimiter is '\|\|'"),
        ("[clicks.csv]\nheadr = true", r"\[clicks\.csv\]: the key 'headr' .*'header'"),
        ("[clicks]\nabsent = 'yes'", r"absent is 'yes'; expected true or false"),
        ("[clicks]\nabsent = true\npath = 'x'", r"absent is true, but more is declared"),
        ("clicks = 1", r"clicks is 1; expected a table \[clicks\]"),
        ("[clicks", r"sources\.toml: not TOML"),
    ],
)
def test_a_mistake_is_told_with_the_nearest_known_word(text: str, message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        parse(text.encode(), "sources.toml")


def test_the_file_may_lie_elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(tmp_path, "conf/mine.toml", "[clicks]\nabsent = true\n")
    monkeypatch.setenv("TRAINING_ASSETS_SOURCES", str(tmp_path / "conf/mine.toml"))
    assert declarations(Lake.at(tmp_path)).of(CLICKS).is_absent
    monkeypatch.setenv("TRAINING_ASSETS_SOURCES", str(tmp_path / "nowhere.toml"))
    with pytest.raises(SettingsError, match="cannot be read"):
        declarations(Lake.at(tmp_path))


@pytest.mark.parametrize(
    "declared", ['path = "exports/{dt}"', "[clicks.csv]\ndelimiter = ';'", 'time_zone = "UTC"']
)
def test_a_declared_source_without_any_file_is_an_error(tmp_path: Path, declared: str) -> None:
    put(tmp_path, "sources.toml", f"[clicks]\n{declared}\n")
    lake = Lake.at(tmp_path)
    with pytest.raises(RawDataError, match=r"clicks: .*declares .* no day of it at .*absent = tru"):
        find_raw_days(lake, CLICKS, [DAY])
    told = {source.name: source.problem for source in describe_sources(lake)}
    assert "no day of it at" in told["clicks"]
    assert told["add_to_carts"] == ""
    assert find_raw_days(lake, CLICKS, [DAY], allow_missing=True).tasks == ()


def test_a_declared_source_may_begin_after_the_day(tmp_path: Path) -> None:
    put(tmp_path, "sources.toml", '[clicks]\ntime_zone = "Europe/Berlin"\n')
    put(tmp_path, "raw/clicks/dt=2026-03-02/a.csv", "customer_id,item_id\n1,5\n")
    assert rows(tmp_path, CLICKS) == []
