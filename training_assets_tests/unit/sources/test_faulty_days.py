"""Every kind of faulty day is refused or set aside with its message, and spoils no other day."""

import ast
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import NamedTuple

import pytest

import training_assets.sources
from training_assets.errors import TrainingAssetsError
from training_assets.lake import Lake, LocalStore
from training_assets.schemas import ADD_TO_CARTS, CLICKS, IMPRESSIONS, PREVIOUS_ORDERS, Table
from training_assets.sources import find_raw_days
from training_assets_tests.support.faulty_days import (
    FAULTS,
    LOCAL_FAULTS,
    Fault,
    file_of,
    folder_of,
    good_rows,
)
from training_assets_tests.support.frames import DAY, before
from training_assets_tests.support.raw_input import parse_all
from training_assets_tests.support.s3 import S3Place

ALL = {**FAULTS, **LOCAL_FAULTS}
DAYS = (before(2), before(1), DAY)
# Of files that change between two looks, and of flat files: planted in tests of their own.
OF_OTHER_TESTS = {
    # test_odd_inputs.py
    "is missing; expected it, since where of sources.toml chooses rows by it",
    "YYYY/month=MM/day=DD. Move it away, or into one of these",
    "was there when the file was listed, and is",
    "run the day again without it",
    "expected YYYY-MM-DD",
    "to be allowed to read it",
    # unit/retention/test_archive.py
    "expected JSON with files",
    # test_table_formats.py
    "lies in a Delta table, which is not archived",
    " to be whole. Deliver the table again",
    "which is not read: its files hold rows of older versions too",
    "the file lies in a Delta table without being of it",
    "expected one whose current rows are all the rows of its current files",
    "expected all files of that version. Run again",
    # test_ids.py and unit/tables/test_shop.py
    "an id is beyond 64 bits (",
    "expected one customer for each id",
    "expected one kind for all. Deliver the ids as the other deliveries",
    # test_declared.py
    "declared in sources.toml. Move it away",
    "expected at least one file. Deliver a day, correct the path",
}


class Outcome(NamedTuple):
    seen: str
    text: str


def deliver(lake: Lake, table: Table) -> None:
    for day in DAYS:
        lake.raw.put(f"{folder_of(table, day)}/a.csv", file_of(table, day, "csv"))


def outcome(lake: Lake, table: Table, day: date) -> Outcome:
    try:
        found = find_raw_days(lake, table, [day])
    except TrainingAssetsError as error:
        return Outcome("listed", str(error))
    try:
        valid = parse_all(found, wants_rejects=False)
        rejects = parse_all(found, wants_rejects=True)
    except TrainingAssetsError as error:
        return Outcome("read", str(error))
    if valid:
        return Outcome("valid", f"{len(valid)} rows")
    return Outcome("judged", "; ".join(sorted({row["reason"] for row in rejects})))


def require_only_that_day(lake: Lake, table: Table, fault: Fault) -> None:
    deliver(lake, table)
    fault(lake.raw, table, before(1))
    found = outcome(lake, table, before(1))
    assert found.seen == fault.seen
    assert fault.says in found.text
    assert (
        str(before(1)) in found.text
        or before(1).strftime("%Y%m%d") in found.text
        or (found.seen == "judged")
    )
    assert "\n" not in found.text
    for day in (before(2), DAY):
        assert outcome(lake, table, day) == ("valid", f"{len(good_rows(table, day))} rows")


@pytest.mark.parametrize("fault", ALL.values(), ids=list(ALL))
@pytest.mark.parametrize("table", [CLICKS, ADD_TO_CARTS, PREVIOUS_ORDERS], ids=lambda t: t.name)
def test_faulty_day_is_seen_with_its_message_and_alone(
    tmp_path: Path, table: Table, fault: Fault
) -> None:
    require_only_that_day(Lake.at(tmp_path / "lake"), table, fault)


@pytest.mark.parametrize("fault", FAULTS.values(), ids=list(FAULTS))
def test_faulty_day_of_an_object_store_is_seen_with_its_message_and_alone(
    s3_server: S3Place, fault: Fault
) -> None:
    require_only_that_day(Lake.at(s3_server.new_url()), CLICKS, fault)


def test_there_are_at_least_twenty_kinds_and_impressions_have_them_too(tmp_path: Path) -> None:
    assert len(FAULTS) >= 20
    lake = Lake.at(tmp_path)
    deliver(lake, IMPRESSIONS)
    FAULTS["missing column in CSV"](lake.raw, IMPRESSIONS, DAY)
    assert outcome(lake, IMPRESSIONS, DAY).seen == "listed"


def phrases() -> Iterator[str]:
    """The longest constant part of each message that the room raises."""
    for path in Path(training_assets.sources.__file__).parent.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            name = getattr(node.func, "id", "") if isinstance(node, ast.Call) else ""
            if name in ("RawDataError", "SchemaError") and isinstance(node, ast.Call):
                parts = [
                    part.value
                    for part in ast.walk(node)
                    if isinstance(part, ast.Constant) and isinstance(part.value, str)
                ]
                # Some are put together by functions that several modules call.
                yield from [max(parts, key=len)] if parts else []


def test_every_message_of_raw_reading_is_planted(tmp_path: Path) -> None:
    texts = []
    for number, (name, fault) in enumerate(ALL.items()):
        lake = Lake.at(tmp_path / str(number))
        assert isinstance(lake.raw, LocalStore), name
        deliver(lake, CLICKS)
        fault(lake.raw, CLICKS, before(1))
        texts.append(outcome(lake, CLICKS, before(1)).text)
    found = set(phrases())
    unseen = {
        phrase
        for phrase in found
        if not any(phrase in text for text in texts)
        and not any(known in phrase for known in OF_OTHER_TESTS)
    }
    assert len(found) >= 12
    assert not unseen
