"""Lines of JSON and CSV that are broken are faults of their own and spoil no other."""

import io
import json
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from training_assets.errors import RawDataError, SchemaError
from training_assets.lake import Lake
from training_assets.schemas import (
    CLICKS,
)
from training_assets.sources import csv_cells, find_raw_days, json_rows
from training_assets.sources.blocks import blocks, count_rows
from training_assets.sources.csv_cells import parse_row, read_cells
from training_assets.sources.reading import Dialect
from training_assets.sources.text import read_head
from training_assets_tests.support.frames import DAY, click
from training_assets_tests.support.raw_input import (
    NOON,
    WRITE,
    clicks,
    each_text,
    parse_all,
    put,
    read,
)

BAD_JSON = [
    ("not json", "row is not JSON"),
    ('{"customer_id": 1, "item_id": 1', "row is not JSON"),
    ('{"customer_id": 1 "item_id": 1}', "row is not JSON"),
    ("{'customer_id': 1}", "row is not JSON"),
    ('{"customer_id": 1, "item_id": 1},', "row is not JSON"),
    ('{"customer_id": 1, "item_id": 1}{}', "row is not JSON"),
    ("\x00\x00\x00", "row is not JSON"),
    ("\x0b1", "row is not JSON"),
    ("[" * 100_000, "row is not JSON"),
    ("1" * 5_000, "row is not JSON"),
    ("[]", "row is not a JSON object"),
    ("null", "row is not a JSON object"),
    ('"text"', "row is not a JSON object"),
    ("17", "row is not a JSON object"),
    ("NaN", "row is not a JSON object"),
    ("{}", "customer_id is null"),
]


@pytest.mark.parametrize(("line", "reason"), BAD_JSON, ids=lambda v: v[:20])
def test_malformed_json_line_is_a_fault_of_its_own(tmp_path: Path, line: str, reason: str) -> None:
    good = '{"customer_id": 1, "item_id": 1}'
    contents = [f"{good}\n{line}\n{good}\n", f"{line}\n{good}\n{good}"]
    # Where the first line holds two objects, rows are objects and not lines.
    for content in contents[: 1 if line.endswith("{}") and len(line) > 2 else 2]:
        put(tmp_path, "a.jsonl", content)
        found = read(tmp_path)
        assert found.valid == [click(1, 1, DAY)] * 2
        assert found.faults == [(DAY, reason, f"raw/clicks/dt={DAY}/a.jsonl", line)]


def test_json_objects_may_stand_over_several_lines(tmp_path: Path) -> None:
    rows = [click(1, 1, None), click(1, 2, None)]
    content = "\n".join(json.dumps({k: v for k, v in r.items() if v}, indent=1) for r in rows)
    put(tmp_path, "a.json", content)
    assert read(tmp_path) == ([click(1, 1, DAY), click(1, 2, DAY)], [])


@pytest.mark.parametrize(
    ("text", "elements"),
    [
        ('[1, 2, "x"]', ["1", "2", '"x"']),
        ('[\n 1,\n {"customer_id": 1, "item_id": 1},\n null]\n', ["1", "null"]),
        (
            '[{"customer_id": 1, "item_id": 1}, [1, "]"], "a,\\"{[", [[2]]]',
            ['[1, "]"]', '"a,\\"{["', "[[2]]"],
        ),
        ("[[1, 2], [3]]", ["[1, 2]", "[3]"]),
        # What is more than one line may be one of lines.
        ("[1, 2]\n[3]", ["[1, 2]", "[3]"]),
        ("[1, 2", ["[1, 2"]),
    ],
)
def test_each_element_of_an_array_that_is_no_object_is_a_fault_of_its_own(
    tmp_path: Path, text: str, elements: list[str]
) -> None:
    put(tmp_path, "a.json", text)
    found = read(tmp_path)
    assert [fault.content for fault in found.faults] == elements
    assert len(found.valid) == text.count("customer_id")


json_element = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text('a{}[],"\\\n'),
    lambda inner: st.lists(inner, max_size=3),
)
json_array = st.lists(json_element | st.just({"customer_id": 1, "item_id": 1}), max_size=12)


@given(json_array, st.sampled_from([None, 0, 1]), st.integers(1, 40))
def test_rows_of_an_array_are_its_elements(
    elements: list[Any], indent: int | None, size: int
) -> None:
    data = json.dumps(elements, indent=indent).encode()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("training_assets.sources.blocks._BLOCK_BYTES", size)
        found = list(blocks(io.BytesIO(data), "document"))
    rows = [block.row(n) for block in found for n in range(len(block))]
    assert [json.loads(row) for row in rows] == elements
    assert [n for block in found for n in block.rows.tolist()] == [*range(1, len(rows) + 1)]
    lines = [n for block in found for n in block.lines.tolist()]
    assert lines == sorted(lines)
    if indent is not None and all(type(element) is not list for element in elements):
        objects = [type(element) is dict for element in elements]
        assert lines == [2 + n + 3 * sum(objects[:n]) for n in range(len(elements))]


@given(
    st.lists(st.sampled_from(["1", ",", '"', "\n", "\r\n", "\r", " ", "\t", "\x0b", "{}"])),
    st.sampled_from(["csv", "lines", "document"]),
    st.integers(1, 20),
    st.integers(-1, 30),
)
def test_rows_are_counted_as_they_are_read(
    pieces: list[str], form: str, block: int, size: int
) -> None:
    data = "".join(pieces).encode()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("training_assets.sources.blocks._BLOCK_BYTES", block)
        found = sum(map(len, blocks(io.BytesIO(data), form, size=size)))
        assert count_rows(io.BytesIO(data), form, size=size) == found


@pytest.mark.parametrize("separator", [",", ", ", ",\n", " ", ""])
def test_objects_of_an_array_are_read_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, separator: str
) -> None:
    monkeypatch.setattr(json_rows, "_one_by_one", None)
    rows = [json.dumps({"customer_id": n, "item_id": 1}) for n in range(1, 50)]
    text = separator.join(rows)
    put(tmp_path, "a.json", f"[{text}]" if "," in separator else text)
    found = read(tmp_path)
    assert [row["customer_id"] for row in found.valid] == [*range(1, 50)]


@pytest.mark.parametrize("indent", [None, 1])
def test_long_array_that_begins_with_no_object_is_an_array(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, indent: int | None
) -> None:
    monkeypatch.setattr("training_assets.sources.text.read_head", partial(read_head, size=20))
    monkeypatch.setattr("training_assets.sources.header.read_head", partial(read_head, size=20))
    content = [None, *[{"customer_id": 1, "item_id": 1}] * 9] * 20
    put(tmp_path, "a.json", json.dumps(content, indent=indent))
    found = read(tmp_path)
    assert len(found.valid) == 180
    assert found.reasons == ["row is not a JSON object"] * 20


BAD_CSV = [
    ("1", "row has another number of cells than the header"),
    ("1,2,3", "row has another number of cells than the header"),
    (",", "customer_id is null"),
    ('"1,2', "row is not CSV"),
    ('"1"x,2', "row is not CSV"),
    ("1\r2,3", "row is not CSV"),
    ('"1,2"', "row has another number of cells than the header"),
    ("\x00,1", "customer_id is not an integer"),
]


@pytest.mark.parametrize(("line", "reason"), BAD_CSV)
def test_ragged_csv_row_is_a_fault_of_its_own(tmp_path: Path, line: str, reason: str) -> None:
    put(tmp_path, "a.csv", f"customer_id,item_id\n1,1\n{line}\n1,1\n")
    found = read(tmp_path)
    assert found.valid == [click(1, 1, DAY)] * 2
    assert found.faults == [(DAY, reason, f"raw/clicks/dt={DAY}/a.csv", line)]


@pytest.mark.parametrize(
    ("pieces", "item"),
    [
        (['1,2,"hello', 'bye"'], 2),
        (['1,2,"hello', "5,6,x", 'bye"'], 2),
        (['1,2,"hello', '5,6,x"'], 2),
        (['1,2,"say ""a""', '5,6,""b""', 'c"'], 2),
        (['"7', '",2,"x', '5,6,y"'], 2),
        (['1,2,"x', *["5,6,y"] * 9_000, '"'], 2),
        (['1,"2', '",x'], 2),
    ],
    ids=range(7),
)
def test_csv_row_may_have_line_breaks_within_quotes(
    tmp_path: Path, pieces: list[str], item: int
) -> None:
    content = ["customer_id,item_id,note", "1,1,a", *pieces, '1,1,"b"', "1,1"]
    put(tmp_path, "a.csv", "\n".join(content))
    found = read(tmp_path)
    assert [row["item_id"] for row in found.valid] == [1, item, 1]
    assert found.reasons == ["row has another number of cells than the header"]


def test_csv_row_with_line_breaks_that_is_wrong_is_one_fault(tmp_path: Path) -> None:
    put(tmp_path, "a.csv", 'customer_id,item_id,note\n1,0,"x\n5,6,y\nz"\n1,2,"x\ny",\n1,1,b\n')
    found = read(tmp_path)
    assert [f.content for f in found.faults] == ['1,0,"x\n5,6,y\nz"', '1,2,"x\ny",']
    assert found.valid == [click(1, 1, DAY)]


def test_line_breaks_within_quotes_are_found_across_blocks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("training_assets.sources.blocks._BLOCK_BYTES", 64)
    rows = [*["1,1,a"] * 40, '1,2,"x', "5,6,y", 'z"', "1,1,b", '1,3,"x', "5,6,y", "1,1,c"]
    put(tmp_path, "a.csv", "\n".join(["customer_id,item_id,note", *rows]))
    found = read(tmp_path)
    assert [row["item_id"] for row in found.valid] == [1] * 40 + [2, 1, 6, 1]
    assert found.faults == [
        (DAY, "row is not CSV", f"raw/clicks/dt={DAY}/a.csv", '1,3,"x'),
    ]


@pytest.mark.parametrize("line", ['1,2,"x', '1,"2', '"'])
@pytest.mark.parametrize("later", ["5,6,y", '5,6,"y"', '"5",6,y', '5,6,"y'])
def test_quote_that_no_line_ends_is_a_fault_of_its_own_line(
    tmp_path: Path, line: str, later: str
) -> None:
    put(tmp_path, "a.csv", f"customer_id,item_id,note\n{line}\n5,6,a\n{later}\n5,6,b")
    found = read(tmp_path)
    is_broken = later == '5,6,"y'
    assert found.reasons == ["row is not CSV"] * (1 + is_broken)
    assert found.valid == [click(5, 6, DAY)] * (3 - is_broken)


def test_csv_cells_may_be_quoted_and_the_header_have_blanks(tmp_path: Path) -> None:
    put(tmp_path, "a.csv", '\n"customer_id", item_id\r\n"1","2"\r\n\r\n3,4')
    assert read(tmp_path) == ([click(1, 2, DAY), click(3, 4, DAY)], [])


@pytest.mark.parametrize(
    "header", ["customer_id;item_id", "1,2", "customer\rid,x", '"customer_id,item_id']
)
def test_csv_without_its_header_is_an_error(tmp_path: Path, header: str) -> None:
    put(tmp_path, "a.csv", f"{header}\n1,2\n")
    with pytest.raises(
        SchemaError, match=r"clicks\.customer_id: the column is missing in .*a\.csv"
    ):
        read(tmp_path)


@each_text
def test_line_that_is_not_utf8_is_a_fault(tmp_path: Path, ending: str) -> None:
    rows = [{**row, "note": "Käse"} for row in clicks((1, 1))]
    good, latin = WRITE[ending](rows).encode(), WRITE[ending](rows).splitlines()[-1]
    wrong = latin.replace("\\u00e4", "ä").encode("latin-1")
    put(tmp_path, f"a.{ending}", good + wrong + b"\n" + good.splitlines()[-1])
    found = read(tmp_path)
    assert found.valid == [click(1, 1, DAY, NOON)] * 2
    assert [f[1:] for f in found.faults] == [
        (
            "row is not UTF-8",
            f"raw/clicks/dt={DAY}/a.{ending}",
            wrong.decode(errors="backslashreplace"),
        )
    ]


@each_text
@pytest.mark.parametrize("encoding", ["utf-16", "utf-32"])
def test_text_in_another_unicode_encoding_is_an_error(
    tmp_path: Path, ending: str, encoding: str
) -> None:
    put(tmp_path, f"a.{ending}", WRITE[ending](clicks((1, 1))).encode(encoding))
    with pytest.raises(RawDataError, match=r"begins like UTF-16 or UTF-32; expected UTF-8"):
        read(tmp_path)


@each_text
@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\n\n \n"])
def test_byte_order_mark_line_ends_and_blank_lines_are_of_no_account(
    tmp_path: Path, ending: str, mark: bytes, end: bytes
) -> None:
    content = mark + WRITE[ending](clicks((1, 2), (None, 3))).encode().replace(b"\n", end)
    put(tmp_path, f"a.{ending}", content)
    found = read(tmp_path)
    assert found.valid == [click(1, 2, DAY, NOON)]
    assert found.faults[0].content == content.split(end)[-2].decode("utf-8-sig")


def test_chunks_of_a_long_file_are_all_read(tmp_path: Path) -> None:
    rows = 65_536 * 2 + 3
    lines = "".join(f"{n},{n % 9}\n" for n in range(rows))
    put(tmp_path, "a.csv", "customer_id,item_id\n" + lines)
    found = find_raw_days(Lake.at(tmp_path), CLICKS, [DAY])
    assert len(parse_all(found, wants_rejects=False)) == rows - len(range(0, rows, 9))
    faults = parse_all(found, wants_rejects=True)
    assert [row["content"] for row in faults] == [f"{n},0" for n in range(0, rows, 9)]


csv_row = st.sampled_from(
    ["1,1,a", "2,2,", "", " ", "3,0,b", '4,4,"x\ny"', '5,5,"a""\n,b"', '6,6,"c', "7"]
)


@given(st.lists(csv_row, max_size=40), st.lists(csv_row.filter(lambda row: '"' not in row)))
def test_parts_of_a_file_have_its_rows(
    tmp_path_factory: pytest.TempPathFactory, rows: list[str], plain: list[str]
) -> None:
    """Parts begin at rows, wherever the first quote stands; so do those of a file without one."""
    text = "\n".join(["customer_id,item_id,note", *plain, *rows])
    root = tmp_path_factory.mktemp("raw")
    put(root, "a.csv", text)
    whole = read(root)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("training_assets.sources.header._BYTES_PER_TASK", 16)
        patch.setattr("training_assets.sources.header._BYTES_PER_READ", 5)
        tasks = find_raw_days(Lake.at(root), CLICKS, [DAY]).tasks
        assert read(root) == whole
    body = [task.start for task in tasks]
    assert [task.stop for task in tasks] == [*body[1:], -1]
    if '"' not in text and len(text) > 64:
        assert len(tasks) > len(text) // 64


class Counted(io.BytesIO):
    """A file of which it is counted how much is read."""

    total = 0

    def read(self, size: int | None = -1) -> bytes:
        data = super().read(size)
        Counted.total += len(data)
        return data

    def readline(self, size: int | None = -1) -> bytes:
        data = super().readline(size)
        Counted.total += len(data)
        return data


def test_a_line_longer_than_any_row_is_not_read_for_each_part(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = b"customer_id,item_id\n" + b"1,1\r" * 5_000
    put(tmp_path, "a.csv", text)
    for name, size in {"TASK": 64, "READ": 64, "LINE": 16}.items():
        monkeypatch.setattr(f"training_assets.sources.header._BYTES_PER_{name}", size)
    monkeypatch.setattr("training_assets.sources.header.MAX_ROW_BYTES", 256)
    monkeypatch.setattr(
        "training_assets.sources.header.open_bytes", lambda uri: Counted(Path(uri).read_bytes())
    )
    assert len(find_raw_days(Lake.at(tmp_path), CLICKS, [DAY]).tasks) == 1
    assert Counted.total < 2 * len(text)


csv_cell = st.sampled_from(
    ["", " ", "a", " a", "NULL", '""', '"b,c"', '5" d', '"e""f"', '"two\nlines"', "g\rh", '"i']
)
csv_texts = st.lists(st.lists(csv_cell, min_size=2, max_size=4).map(",".join), max_size=12)


@given(csv_texts, st.sampled_from([(), ("NULL",), ("", "NULL")]), st.booleans())
def test_cells_of_blocks_are_those_of_single_rows(
    texts: list[str], null: tuple[str, ...], is_odd: bool
) -> None:
    """Empty ones are none, also in rows that are read by themselves; by default only these are."""
    dialect, data = Dialect(null=null), "\n".join(texts).encode()
    with pytest.MonkeyPatch.context() as patch:
        if is_odd:
            patch.setattr(csv_cells, "_at_once", lambda *given: None)
        for block in blocks(io.BytesIO(data), "csv"):
            cells = read_cells(block, dialect, 3, range(3))
            found = list(zip(*(cells.texts[n].to_pylist() for n in range(3)), strict=True))
            for n, fault in enumerate(cells.faults.to_pylist()):
                try:
                    row = parse_row(block.row(n), dialect)
                except ValueError:
                    row = []
                assert (fault is None) is (len(row) == 3)
                if fault is None:
                    is_none = {"", " ", *null}
                    assert list(found[n]) == [None if t in is_none else t for t in row]
