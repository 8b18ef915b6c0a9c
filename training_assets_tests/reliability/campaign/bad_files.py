"""Kinds of bad input: files, folders, lines of text."""

import gzip
import json
import os
import pickle
import shutil
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pyarrow as pa
import pyarrow.parquet as pq

from training_assets.lake import Lake
from training_assets.schemas import CLICKS, IMPRESSIONS, PREVIOUS_ORDERS, Table
from training_assets.sources import RawDays, find_raw_days
from training_assets_tests.reliability.campaign.planting import (
    ACTIONS,
    ALL,
    EVE,
    FORMATS,
    Kind,
    Plant,
    content_of,
    drop,
    everywhere,
    good,
    parquet,
    put,
    refused,
    remove_base,
    with_day,
)
from training_assets_tests.support.frames import DAY, order
from training_assets_tests.support.raw_input import TEXTS, WRITE, Row, json_lines

_FOLDER = f"dt={EVE}"
_NOT_READ = "the file cannot be read as"


def file_kinds() -> Iterator[Kind]:
    for cut, where in ((0.5, "in the middle"), (0.999, "in its footer")):
        acts = [(t, partial(_cut_parquet, table=t, share=cut)) for t in ALL]
        yield refused(f"Parquet cut {where}", ["cut.parquet", _NOT_READ], acts)
    for name, content in (
        ("Parquet of no bytes", b""),
        ("CSV named .parquet", b"customer_id,item_id\n1,2\n"),
        ("random bytes named .parquet", os.urandom(4_000)),
        ("marks of Parquet around nothing", b"PAR1\0\0\0\0PAR1"),
    ):
        acts = [(t, drop("odd.parquet", content, t)) for t in ALL]
        yield refused(name, ["odd.parquet", _NOT_READ], acts)
    acts = [(t, partial(_damage_page, table=t)) for t in ACTIONS]
    yield refused("Parquet with a damaged page", ["page.parquet", _NOT_READ], acts)
    acts = [(t, partial(_damage_page_header, table=t)) for t in ACTIONS]
    yield refused("Parquet with fewer rows than its footer says", ["page.parquet", _NOT_READ], acts)
    for name, damage in (
        ("gzip cut short", lambda whole: whole[: len(whole) // 2]),
        ("gzip with a damaged block", lambda whole: whole[:40] + b"\xff" * 40 + whole[80:]),
        ("text named .gz", lambda whole: b"{}\n"),
    ):
        acts = [
            (t, drop(f"odd.{e}.gz", damage(gzip.compress(_long_text(t, e))), t))
            for t in (CLICKS, IMPRESSIONS)
            for e in TEXTS
        ]
        yield refused(name, ["odd.", ".gz", _NOT_READ], acts)
    yield Kind(
        "text file of no bytes",
        tuple(Plant(t, drop(f"none.{e}", b"", t)) for t in ALL for e in (*TEXTS, "csv.gz")),
    )
    yield Kind("file with columns and no rows", tuple(_no_rows()))
    yield Kind(
        "day that is there and empty",
        tuple(Plant(t, partial(remove_base, table=t), replaces=True) for t in ALL),
    )
    yield Kind("text cut in the middle of its last row", tuple(_cut_text()))
    for name, ending, content in (
        ("unknown format: Excel", "xlsx", b"PK\3\4"),
        ("unknown format: no ending", "", b"1,2"),
        ("unknown format: Parquet in gzip", "parquet.gz", b"\x1f\x8b"),
        ("unknown format: pickle", "pkl", pickle.dumps({"customer_id": 1})),
    ):
        file = f"odd.{ending}".rstrip(".")
        acts = [(t, drop(file, content, t)) for t in ALL]
        yield refused(name, [f"{_FOLDER}/{file}", "not known by its ending", ".parquet"], acts)
    acts = [(t, drop(name, b"", t)) for t in ALL for name in ("a\x1b[2J.csv", "a\n.csv")]
    yield refused("file name with control characters", ["a\\", "Rename the file"], acts)
    yield Kind(
        "hidden and temporary files",
        tuple(
            Plant(t, drop(name, b"junk", t))
            for t in ALL
            for name in ("_SUCCESS", ".a.csv.crc", "_temporary/0/b.parquet")
        ),
    )
    yield Kind("file delivered twice (all rows count)", tuple(_twice()))
    yield Kind("files in folders within the day", tuple(_deeper()))


def place_kinds() -> Iterator[Kind]:
    acts = [(t, partial(_remove_day, table=t)) for t in ALL]
    yield refused("raw day is missing", [f"raw day {EVE} is missing", f"dt={EVE}"], acts)
    acts = [(t, partial(_file_for_folder, table=t)) for t in (CLICKS, IMPRESSIONS)]
    yield refused("a file where the day's folder should be", [f"dt={EVE}"], acts)
    for name, folder in (
        ("day folder dt=2024-5-9", f"dt={EVE.year}-{EVE.month}-{EVE.day}"),
        ("day folder dt=20240509", f"dt={EVE:%Y%m%d}"),
        ("day folder without dt=", str(EVE)),
        ("day folder of a time", f"dt={EVE} 00%3A00%3A00"),
    ):
        acts = [(t, partial(_put_good, table=t, folder=folder)) for t in ALL]
        yield refused(name, [f"/{folder}", "is read for no day"], acts)
    for folder in ("dt=__HIVE_DEFAULT_PARTITION__", "dt=2024-05", "year=2024/month=05/day=09"):
        acts = [(t, partial(_put_good, table=t, folder=folder)) for t in ALL]
        words = [f"/{folder.partition('/')[0]}: ", "is read for no day"]
        yield refused(f"folder {folder}", words, acts, stops_all_days=True)
    acts = [(t, partial(_put_good, table=t, folder=None, name=f"{EVE}.csv")) for t in (CLICKS,)]
    yield refused("data beside the day folders", [f"{EVE}.csv", "is read for no day"], acts)
    yield Kind("raw table that nobody knows", (Plant(CLICKS, _unknown_table),))
    yield refused("link to a file outside", ["leads out"], _links(_link_file))
    yield refused("link to a folder outside, as the day", ["leads out"], _links(_link_day))
    yield refused("link to nothing", ["gone.csv", "neither a file"], _links(_link_nothing))
    yield refused("named pipe", ["pipe.csv", "neither a file"], _links(_make_pipe))
    yield refused(
        "file vanishes after it was listed",
        ["vanished", "ghost.csv"],
        [(t, lambda root: None) for t in (CLICKS,)],
        meddle=partial(_ghost, table=CLICKS),
    )
    for ending in ("parquet", "csv"):
        yield refused(
            f"{ending} replaced by one without a column during the run",
            [f"swap.{ending}", "the column"],
            [(CLICKS, lambda root, e=ending: put(root, f"swap.{e}", _good(e), CLICKS, _FOLDER))],
            meddle=partial(_swap, ending=ending),
        )


def line_kinds() -> Iterator[Kind]:
    for name, line, reason in (
        ("JSON: line that is no JSON", "not json", "row is not JSON"),
        ("JSON: object that has no end", '{"customer_id": 1,', "row is not JSON"),
        ("JSON: two objects on a line", '{"a": 1}{"b": 2}', "row is not JSON"),
        ("JSON: single quotes", "{'customer_id': 1}", "row is not JSON"),
        ("JSON: an array", "[1, 2]", "row is not a JSON object"),
        ("JSON: a bare number", "17", "row is not a JSON object"),
        ("JSON: zero bytes", "\0\0\0", "row is not JSON"),
        ("JSON: nested 100,000 deep", "[" * 100_000, "row is not JSON"),
        ("JSON: object without columns", "{}", "customer_id is null"),
    ):
        yield Kind(name, tuple(_json_line(t, line, reason) for t in ALL))
    yield Kind("JSON: a document over several lines", tuple(_document()))
    yield Kind("JSON: a key twice (the last one counts)", tuple(_key_twice()))
    for name, line, reason in (
        ("CSV: row with too few cells", "1", "row has another number of cells than the header"),
        ("CSV: row with too many cells", "1,2,,,,", "row has another number of cells than the"),
        ("CSV: quote that has no end", '"1,2,', "row is not CSV"),
        ("CSV: text after a quote", '"1"x,2,', "row is not CSV"),
        ("CSV: row of empty cells", ",,", "customer_id is null"),
    ):
        yield Kind(name, tuple(_csv_line(t, [line], [reason]) for t in ALL))
    pieces = ['1,5,"first', "1,6,", 'last"']
    reasons = ["row has a line break within quotes"] * 3
    yield Kind("CSV: line breaks within quotes", tuple(_csv_line(t, pieces, reasons) for t in ALL))
    yield Kind("CSV: header again in the middle", tuple(_header_again()))
    acts = [(t, drop("odd.csv", b"1,2,3\n4,5,6\n", t)) for t in ALL]
    yield refused("CSV without a header", ["odd.csv", "the column is missing"], acts)
    acts = [(t, drop("odd.csv", WRITE["csv"]([good(t)]).replace(",", ";"), t)) for t in ALL]
    yield refused("CSV with semicolons", ["odd.csv", "the column is missing"], acts)
    for encoding in ("utf-16", "utf-32"):
        acts = [
            (t, drop(f"odd.{e}", WRITE[e]([good(t)]).encode(encoding), t))
            for t in ALL
            for e in TEXTS
        ]
        yield refused(f"text in {encoding.upper()}", ["odd.", "expected UTF-8"], acts)
    yield Kind("row that is not UTF-8", tuple(_latin()))
    yield Kind("byte order mark, \\r\\n and blank lines", tuple(_windows()))


# --- acts -----------------------------------------------------------------------------------------


def _good(ending: str, table: Table = CLICKS, count: int = 1) -> Any:
    return content_of(ending, [good(table) for _ in range(count)])


def _put_good(root: Path, table: Table, folder: str | None, name: str = "a.csv") -> None:
    put(root, name, _good("csv", table), table, folder)


def _cut_parquet(root: Path, table: Table, share: float) -> None:
    path = put(root, "cut.parquet", _good("parquet", table, 50), table, _FOLDER)
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])


def _damage_page(root: Path, table: Table) -> None:
    path = root / "raw" / table.name / _FOLDER / "page.parquet"
    rows = parquet([good(table, item=n, customer_id=n * 7919) for n in range(1, 500)])
    pq.write_table(rows, path, write_page_checksum=True, compression="none", use_dictionary=False)
    damaged = bytearray(path.read_bytes())
    damaged[len(damaged) // 4] ^= 0xFF
    path.write_bytes(damaged)


def _damage_page_header(root: Path, table: Table) -> None:
    path = root / "raw" / table.name / _FOLDER / "page.parquet"
    pq.write_table(_good("parquet", table, 40), path, compression="none", use_dictionary=False)
    damaged = bytearray(path.read_bytes())
    # The kind of the first page: Arrow ends at one that it does not know, without a word.
    damaged[5] ^= 1
    path.write_bytes(damaged)


def _long_text(table: Table, ending: str) -> bytes:
    return bytes(WRITE[ending]([good(table) for _ in range(500)]).encode())


def _no_rows() -> Iterator[Plant]:
    for table in ALL:
        schema = parquet([good(table)]).schema
        yield Plant(table, drop("none.parquet", schema.empty_table(), table))
        yield Plant(table, partial(_no_row_groups, table=table, schema=schema))
        yield Plant(table, drop("none.csv", ",".join(schema.names), table))


def _no_row_groups(root: Path, table: Table, schema: Any) -> None:
    with pq.ParquetWriter(root / "raw" / table.name / _FOLDER / "groups.parquet", schema):
        pass


def _cut_text() -> Iterator[Plant]:
    for table in ALL:
        for ending in TEXTS:
            rows = [good(table), good(table)]
            text = WRITE[ending](rows).rstrip("\n")
            cut = text[:-12] if ending == "jsonl" else text[: text.rindex("\n") + 3]
            reason = (
                "row is not JSON"
                if ending == "jsonl"
                else "row has another number of cells than the header"
            )
            act = drop(f"cut.{ending}", cut, table)
            yield Plant(table, act, [with_day(table, rows[0])], [reason])


def _twice() -> Iterator[Plant]:
    for table in ALL:
        for ending in FORMATS:
            rows = [good(table)]
            content = content_of(ending, rows)

            def both(root: Path, t: Table = table, e: str = ending, c: Any = content) -> None:
                put(root, f"one.{e}", c, t, _FOLDER)
                put(root, f"two.{e}", c, t, _FOLDER)

            yield Plant(table, both, [with_day(table, row) for row in rows * 2])


def _deeper() -> Iterator[Plant]:
    for table in ALL:
        for ending in FORMATS:
            row = good(table)
            act = drop(f"hour=03/a.{ending}", content_of(ending, [row]), table)
            yield Plant(table, act, [with_day(table, row)])


def _remove_day(root: Path, table: Table) -> None:
    shutil.rmtree(root / "raw" / table.name / _FOLDER)


def _file_for_folder(root: Path, table: Table) -> None:
    _remove_day(root, table)
    (root / "raw" / table.name / _FOLDER).write_bytes(b"")


def _unknown_table(root: Path) -> None:
    folder = root / "raw" / "views" / _FOLDER
    folder.mkdir(parents=True)
    (folder / "a.xlsx").write_bytes(b"junk")


def _links(make: Callable[..., None]) -> list[tuple[Table, Callable[[Path], object]]]:
    return [(t, partial(make, table=t)) for t in (CLICKS, PREVIOUS_ORDERS, IMPRESSIONS)]


def _outside(root: Path) -> Path:
    path = root.with_name("outside")
    path.mkdir(exist_ok=True)
    return path


def _link_file(root: Path, table: Table) -> None:
    target = _outside(root) / "a.csv"
    target.write_text(_good("csv", table))
    (root / "raw" / table.name / _FOLDER / "link.csv").symlink_to(target)


def _link_day(root: Path, table: Table) -> None:
    _remove_day(root, table)
    (_outside(root) / "a.csv").write_text(_good("csv", table))
    (root / "raw" / table.name / _FOLDER).symlink_to(_outside(root))


def _link_nothing(root: Path, table: Table) -> None:
    (root / "raw" / table.name / _FOLDER / "gone.csv").symlink_to("nothing.csv")


def _make_pipe(root: Path, table: Table) -> None:
    os.mkfifo(root / "raw" / table.name / _FOLDER / "pipe.csv")


@contextmanager
def _after_listing(act: Callable[[], None]) -> Iterator[None]:
    """Let ``act`` happen right after the first listing of a day, and never again."""
    left = [act]

    def find(lake: Lake, table: Table, days: Any, *known: Any, **knobs: Any) -> RawDays:
        found = find_raw_days(lake, table, days, *known, **knobs)
        if EVE in days and table is CLICKS and left:
            left.pop()()
        return found

    with patch("training_assets.provenance.provenance.find_raw_days", find):
        yield


def _ghost(root: Path, table: Table) -> AbstractContextManager[None]:
    path = put(root, "ghost.csv", _good("csv", table), table, _FOLDER)
    return _after_listing(path.unlink)


def _swap(root: Path, ending: str) -> AbstractContextManager[None]:
    row = {name: value for name, value in good(CLICKS).items() if name != "customer_id"}
    content = content_of(ending, [row])
    return _after_listing(lambda: put(root, f"swap.{ending}", content, CLICKS, _FOLDER) and None)


def _json_line(table: Table, line: str, reason: str) -> Plant:
    rows = [good(table), good(table)]
    first, last = json_lines(rows).splitlines()
    act = drop("odd.jsonl", f"{first}\n{line}\n{last}\n", table)
    return Plant(table, act, [with_day(table, row) for row in rows], [reason])


def _document() -> Iterator[Plant]:
    for table in ALL:
        lines = ["[", ' {"customer_id": 1', "]"]
        reasons = ["row is not JSON"] * 3
        yield Plant(table, drop("odd.json", "\n".join(lines), table), [], reasons)


def _key_twice() -> Iterator[Plant]:
    for table in ACTIONS:
        row = good(table)
        line = json_lines([row]).replace("{", '{"customer_id": 77, ', 1)
        yield Plant(table, drop("odd.json", line, table), [with_day(table, row)])


def _csv_line(table: Table, lines: list[str], reasons: list[str]) -> Plant:
    # Only actions have three cells; a ranking's cells are more, so its rows are as ragged.
    rows = [good(table), good(table)]
    header, first, last = WRITE["csv"](rows).splitlines()
    if table is IMPRESSIONS:
        header = "customer_id,ranking_id,impressions"
        first, last = (f'1,{row["ranking_id"]},"{_cell(row["impressions"])}"' for row in rows)
    act = drop("odd.csv", "\n".join([header, first, *lines, last]), table)
    whole = [_whole_reason(reason) for reason in reasons]
    return Plant(table, act, [with_day(table, row) for row in rows], whole)


def _whole_reason(reason: str) -> str:
    return f"{reason} header" if reason.endswith("than the") else reason


def _cell(items: list[Row]) -> str:
    return json.dumps(items).replace('"', '""')


def _header_again() -> Iterator[Plant]:
    for table in ALL:
        rows = [good(table), good(table)]
        header, first, last = WRITE["csv"](rows).splitlines()
        text = "\n".join([header, first, header, last])
        yield Plant(
            table,
            drop("odd.csv", text, table),
            [with_day(table, row) for row in rows],
            ["customer_id is not an integer"],
        )


def _latin() -> Iterator[Plant]:
    for table in ALL:
        for ending in TEXTS:
            rows = [good(table, note="Kase"), good(table, note="Käse")]
            text = WRITE[ending](rows).replace("\\u00e4", "ä").encode("latin-1")
            valid = [{k: v for k, v in rows[0].items() if k != "note"}]
            act = drop(f"latin.{ending}", text, table)
            yield Plant(table, act, [with_day(table, r) for r in valid], ["row is not UTF-8"])


def _windows() -> Iterator[Plant]:
    for table in ALL:
        for ending in TEXTS:
            rows = [good(table), good(table)]
            text = b"\xef\xbb\xbf" + WRITE[ending](rows).replace("\n", "\r\n\r\n").encode()
            yield Plant(
                table, drop(f"w.{ending}", text, table), [with_day(table, row) for row in rows]
            )


def flat_kinds() -> Iterator[Kind]:
    """Files of orders that lie outside of any day folder."""
    flat = partial(drop, table=PREVIOUS_ORDERS, folder=None)
    row, other = order(1, 801, EVE), order(1, 802, EVE)
    content = [content_of(e, [row, {**other, "order_date": None}]) for e in FORMATS]
    yield Kind(
        "flat orders without a day (set aside with the file's first day)",
        tuple(
            Plant(PREVIOUS_ORDERS, flat(f"flat.{e}", c), [row], ["order_date is null"])
            for e, c in zip(FORMATS, content, strict=True)
        ),
    )
    nothing = content_of("parquet", [{**row, "order_date": None}])
    yield refused(
        "flat orders of which none has a day",
        ["none.parquet", "no row has a day in order_date"],
        [(PREVIOUS_ORDERS, flat("none.parquet", nothing))],
        stops_all_days=True,
    )


def day_kinds() -> Iterator[Kind]:
    """The day in the rows against that of the folder."""
    for name, value, reason in (
        ("day in the row contradicts the folder", DAY, "{} contradicts the folder"),
        ("day in the row is null", None, "{} is null"),
    ):

        def rows_of(table: Table, v: Any = value, r: str = reason) -> Any:
            ok = good(table, **{table.day_column: EVE})
            bad = good(table, **{table.day_column: v})
            return [ok, bad], [ok], [r.format(table.day_column)]

        yield Kind(name, tuple(everywhere(rows_of)))

    for text in ("nope", "20240509", "2024-02-30", "2024-05-09T00:00:00", "1715212800"):

        def texts_of(table: Table, v: str = text) -> Any:
            ok = good(table, **{table.day_column: str(EVE)})
            bad = good(table, **{table.day_column: v})
            return [ok, bad], [ok], [f"{table.day_column} is not a date"]

        types = {"dt": pa.string(), "order_date": pa.string()}
        yield Kind(f"day in the row is {text!r}", tuple(everywhere(texts_of, **types)))
