"""Kinds of faulty raw days, each planted on demand into a day of a raw table, on any store.

    FAULTS["column of another type"](lake.raw, CLICKS, day)

They are what deliveries go wrong by: at least one for each message that raw reading can raise
before or while a day is read, and days that are read and of which no row is valid.
"""

import gzip
import io
import json
import os
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date
from functools import partial
from typing import Any, Final, Literal

import pyarrow as pa
import pyarrow.parquet as pq

from training_assets.lake import LocalStore, Store
from training_assets.schemas import Table
from training_assets_tests.support.frames import at
from training_assets_tests.support.raw_input import WRITE, Row

_NOT_READ: Final = "the file cannot be read as"
Plant = Callable[[Store, Table, date], None]


@dataclass(frozen=True)
class Fault:
    """``says`` is part of the message, or of the reason of each row; ``seen`` is when:

    ``listed`` before a job starts, ``read`` on the workers, ``judged`` where every row is a reject.
    """

    plant: Plant
    says: str
    seen: Literal["listed", "read", "judged"]

    def __call__(self, raw: Store, table: Table, day: date) -> None:
        self.plant(raw, table, day)


def folder_of(table: Table, day: date) -> str:
    return f"{table.name}/dt={day}"


def remove_day(raw: Store, table: Table, day: date) -> None:
    """As if the day had never been delivered; flat files stay."""
    folder = folder_of(table, day)
    raw.delete([entry.path for entry in raw.list(folder)])
    if isinstance(raw, LocalStore):
        shutil.rmtree(raw.root / folder, ignore_errors=True)


def good_rows(table: Table, day: date, count: int = 40) -> list[Row]:
    """Valid rows without the day column, which the folder says."""
    values: dict[str, Callable[[int], Any]] = {
        "long": lambda n: n * 7919,
        "int": lambda n: n,
        "string": lambda n: f"r{n}",
        "timestamp": lambda n: at(day),
    }
    items = [{"item_id": 5, "is_order": True}, {"item_id": 6, "is_order": False}]
    return [
        {c.name: values.get(c.type, lambda n: items)(n) for c in table.stored_columns}
        for n in range(1, count + 1)
    ]


def parquet_bytes(table: pa.Table, **options: Any) -> bytes:
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, **options)
    found: bytes = sink.getvalue().to_pybytes()
    return found


def file_of(table: Table, day: date, ending: str, rows: Sequence[Row] | None = None) -> bytes:
    """Good rows, or those given, as a whole file."""
    content = WRITE[ending](good_rows(table, day) if rows is None else rows)
    return content.encode() if isinstance(content, str) else parquet_bytes(content)


# --- ways to plant --------------------------------------------------------------------------------


def _put(name: str, content_of: Callable[[Table, date], bytes]) -> Plant:
    """One more file in the day."""

    def plant(raw: Store, table: Table, day: date) -> None:
        raw.put(f"{folder_of(table, day)}/{name}", content_of(table, day))

    return plant


def _only(name: str, content_of: Callable[[Table, date], bytes]) -> Plant:
    """Nothing but that file in the day."""

    def plant(raw: Store, table: Table, day: date) -> None:
        remove_day(raw, table, day)
        raw.put(f"{folder_of(table, day)}/{name}", content_of(table, day))

    return plant


def _beside(name: str) -> Plant:
    """A good file that lies where no day is read from; ``name`` has a place for the day."""

    def plant(raw: Store, table: Table, day: date) -> None:
        path = f"{table.name}/{name.format(day=day, compact=day.strftime('%Y%m%d'))}"
        raw.put(path, file_of(table, day, "csv"))

    return plant


def _local(make: Callable[[str, str], None]) -> Plant:
    """``make(path, outside)`` in the day; ``outside`` is a file beside the lake's raw folder."""

    def plant(raw: Store, table: Table, day: date) -> None:
        assert isinstance(raw, LocalStore)
        outside = raw.root.parent / "outside" / "a.csv"
        outside.parent.mkdir(exist_ok=True)
        outside.write_bytes(file_of(table, day, "csv"))
        folder = raw.root / folder_of(table, day)
        folder.mkdir(parents=True, exist_ok=True)
        make(str(folder / "odd.csv"), str(outside))

    return plant


# --- contents -------------------------------------------------------------------------------------


def _changed(ending: str, change: Callable[[bytes], bytes]) -> Callable[[Table, date], bytes]:
    return lambda table, day: change(file_of(table, day, ending))


def _text(content: bytes) -> Callable[[Table, date], bytes]:
    return lambda table, day: content


def _with(ending: str, change: Callable[[Row], Row]) -> Callable[[Table, date], bytes]:
    """Good rows, each changed."""
    return lambda table, day: file_of(table, day, ending, [*map(change, good_rows(table, day))])


def _without(column: str, row: Row) -> Row:
    return {name: value for name, value in row.items() if name != column}


def _renamed(row: Row) -> Row:
    return {f"the {name}": value for name, value in row.items()}


def _customer_twice(table: Table, day: date) -> bytes:
    found = pa.Table.from_pylist(good_rows(table, day))
    return parquet_bytes(found.append_column("customer_id", found["customer_id"]))


def _damaged_page(table: Table, day: date) -> bytes:
    found = pa.Table.from_pylist(good_rows(table, day, 4_000))
    options = {"compression": "none", "write_page_checksum": True, "use_dictionary": False}
    whole = bytearray(parquet_bytes(found, **options))
    chunk = pq.read_metadata(io.BytesIO(bytes(whole))).row_group(0).column(0)
    whole[chunk.data_page_offset + chunk.total_compressed_size // 2] ^= 0xFF
    return bytes(whole)


def _long_gzip(table: Table, day: date) -> bytes:
    """So long that its first line can be read although its end is damaged."""
    noise = [{**row, "note": os.urandom(40).hex()} for row in good_rows(table, day, 9_000)]
    return gzip.compress(file_of(table, day, "jsonl", noise))


def _cut_gzip(table: Table, day: date) -> bytes:
    return _long_gzip(table, day)[:-5_000]


def _damaged_gzip(table: Table, day: date) -> bytes:
    whole = bytearray(_long_gzip(table, day))
    middle = len(whole) * 3 // 4
    whole[middle : middle + 40] = b"\xff" * 40
    return bytes(whole)


def _as_array(table: Table, day: date) -> bytes:
    rows = file_of(table, day, "jsonl").decode().splitlines()
    return "\n".join(json.dumps(list(json.loads(row).values())) for row in rows).encode()


def _set(column: str, value: Any) -> Callable[[Row], Row]:
    return lambda row: {**row, column: value}


def _text_id(row: Row) -> Row:
    return {**row, "customer_id": f"user-{row['customer_id']}"}


def _two_customers(row: Row) -> Row:
    both = {"Customer Id": row["customer_id"], "CUSTOMER_ID": row["customer_id"]}
    return both | _without("customer_id", row)


def _decimal_id(row: Row) -> Row:
    return {**row, "customer_id": f"{row['customer_id']}.5"}


def _other_day(row: Row) -> Row:
    return {**row, "dt": "2001-01-01", "order_date": "2001-01-01"}


_MISSING: Final = ".customer_id: the column is missing in raw/"
_no_customer: Final = partial(_without, "customer_id")

FAULTS: Final[dict[str, Fault]] = {
    "missing folder": Fault(remove_day, "is missing; expected the folder", "listed"),
    "only _temporary": Fault(
        _only("_temporary/0/part-0.csv", _changed("csv", bytes)), "an unfinished writer", "listed"
    ),
    "only a file that is being written": Fault(
        _only(".a.csv.x7Yq", _changed("csv", bytes)), "an unfinished writer", "listed"
    ),
    "day under another name": Fault(
        _beside("dt={compact}/a.csv"), "the folder is read for no day", "listed"
    ),
    "day in upper case": Fault(
        _beside("DT={day}/a.csv"), "the folder is read for no day", "listed"
    ),
    "unknown ending": Fault(
        _put("a.xlsx", _text(b"PK")), "the format is not known by its ending", "listed"
    ),
    "file name that controls a terminal": Fault(
        _put("\u202evsc.csv", _changed("csv", bytes)), "has control characters", "listed"
    ),
    "column of another type": Fault(
        _put("odd.parquet", _with("parquet", _set("customer_id", True))),
        ".customer_id: found bool in",
        "listed",
    ),
    "missing column in Parquet": Fault(
        _put("odd.parquet", _with("parquet", _no_customer)), _MISSING, "listed"
    ),
    "missing column in CSV": Fault(_put("odd.csv", _with("csv", _no_customer)), _MISSING, "listed"),
    "missing column in JSON": Fault(
        _put("odd.jsonl", _with("jsonl", _no_customer)), _MISSING, "listed"
    ),
    "columns under other names": Fault(_put("odd.csv", _with("csv", _renamed)), _MISSING, "listed"),
    "two columns that may be meant": Fault(
        _put("odd.csv", _with("csv", _two_customers)), "may be meant: Customer Id", "listed"
    ),
    "CSV without a header": Fault(
        _put("odd.csv", _changed("csv", lambda text: text.split(b"\n", 1)[1])), _MISSING, "listed"
    ),
    "CSV with semicolons": Fault(
        _put("odd.csv", _changed("csv", lambda text: text.replace(b",", b";"))), _MISSING, "listed"
    ),
    "CSV header that is not UTF-8": Fault(
        _put("odd.csv", _changed("csv", lambda text: text.replace(b"customer", b"c\xfcstomer"))),
        _MISSING,
        "listed",
    ),
    "column twice in CSV": Fault(
        _put("odd.csv", _text(b"customer_id,item_id,config_id,customer_id\n1,2,2,1\n")),
        ".customer_id: the column stands 2 times",
        "listed",
    ),
    "column twice in Parquet": Fault(
        _put("odd.parquet", _customer_twice), ".customer_id: the column stands 2 times", "listed"
    ),
    "Parquet of random bytes": Fault(
        _put("odd.parquet", _text(bytes(range(256)) * 9)), _NOT_READ, "listed"
    ),
    "Parquet of no bytes": Fault(_put("odd.parquet", _text(b"")), _NOT_READ, "listed"),
    "Parquet cut short": Fault(
        _put("odd.parquet", _changed("parquet", lambda whole: whole[: len(whole) // 2])),
        _NOT_READ,
        "listed",
    ),
    "Parquet with a damaged page": Fault(_put("odd.parquet", _damaged_page), _NOT_READ, "read"),
    "gzip cut short": Fault(_put("odd.jsonl.gz", _cut_gzip), _NOT_READ, "read"),
    "gzip with a damaged block": Fault(_put("odd.jsonl.gz", _damaged_gzip), _NOT_READ, "read"),
    "text named .gz": Fault(_put("odd.csv.gz", _changed("csv", bytes)), _NOT_READ, "listed"),
    "CSV in UTF-16": Fault(
        _put("odd.csv", _changed("csv", lambda text: text.decode().encode("utf-16"))),
        "begins like UTF-16",
        "listed",
    ),
    "JSON lines that are arrays": Fault(
        _only("odd.json", _as_array), "row is not a JSON object", "judged"
    ),
    "ids as text in JSON": Fault(
        _only("odd.jsonl", _with("jsonl", _text_id)), "customer_id is not an integer", "judged"
    ),
    "ids with a fraction in CSV": Fault(
        _only("odd.csv", _with("csv", _decimal_id)), "customer_id is not an integer", "judged"
    ),
    "no customer in any row": Fault(
        _only("odd.csv", _with("csv", _set("customer_id", None))), "customer_id is null", "judged"
    ),
    "rows of another day": Fault(
        _only("odd.csv", _with("csv", _other_day)), "contradicts the folder", "judged"
    ),
}

# What an object store cannot have.
LOCAL_FAULTS: Final[dict[str, Fault]] = {
    "link out of the lake": Fault(
        _local(lambda path, outside: os.symlink(outside, path)), "the link leads out of", "listed"
    ),
    "link to nothing": Fault(
        _local(lambda path, _: os.symlink("gone.csv", path)),
        "neither a file nor a folder",
        "listed",
    ),
    "link to itself": Fault(
        _local(lambda path, _: os.symlink(os.path.basename(path), path)),
        "neither a file nor a folder",
        "listed",
    ),
    "named pipe": Fault(
        _local(lambda path, _: os.mkfifo(path)), "neither a file nor a folder", "listed"
    ),
    "file name that is not UTF-8": Fault(
        _local(lambda path, outside: shutil.copy(outside, f"{path[:-4]}\udcff.csv")),
        "the file name is not UTF-8",
        "listed",
    ),
}
