"""Deliveries are judged by what their tenant's sources.toml says, on each way in; see terms.py."""

import asyncio
import io
import json
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pyarrow as pa
import pytest

from training_assets.errors import StoreError
from training_assets.lake import Lake, LocalStore
from training_assets.schemas import RAW_INTERACTIONS
from training_assets.service.bodies import unpack
from training_assets.service.claims import Range
from training_assets.service.core import Core
from training_assets.service.event_log import Sending
from training_assets.service.event_rows import Events
from training_assets.service.gathering import Gathering
from training_assets.service.judging import judge_body
from training_assets.service.problems import Problem
from training_assets.service.ranges import RangeWriter, Record
from training_assets.service.receipts import Asked
from training_assets.service.replaying import replay
from training_assets.service.settings import ServiceSettings
from training_assets.service.terms import PLAIN, deliveries_of
from training_assets.sources import find_raw_days
from training_assets.sources.rows import parse
from training_assets_tests.support.raw_input import parse_all
from training_assets_tests.support.service import Served, raw_rows, serving

DAY = date(2026, 11, 18)
# What else is declared is of the shop's own files: neither names nor words of it count here.
OTHERS = """
columns = { user_id = "uid", interaction_type = { from = "t", values = { view = "click" } } }
where = { t = "view" }
csv = { delimiter = ";" }
rows = "events"
format = "jsonl"
"""
TAKES = f"[interactions]\nreturns = 'subtract'\ntime_zone = 'Europe/Berlin'\n{OTHERS}"
SHOP = """
[interactions]
returns = "subtract"
time_zone = "Europe/Berlin"
rows = "events"
where = { "events.t" = "view" }
[interactions.columns]
user_id = "events.uid"
item_id = "events.i"
timestamp = "events.at"
interaction_type = { from = "events.t", values = { view = "click" } }
"""
ROW: dict[str, Any] = {"user_id": "u1", "item_id": "i1", "interaction_type": "Purchase"}
ROW |= {"timestamp": "2026-11-18 10:00:00", "quantity": -2}
KEPT = {**ROW, "interaction_type": " view ", "quantity": 1}
WRONG = {**KEPT, "quantity": -1}
ROWS = (ROW, {**KEPT, "interaction_type": "RETURN"}, KEPT)
EANS = ("4006381333931", 4006381333931, 7, "sku")
AT_MS = 1_794_999_600_000


def declare(lake: Path, text: str) -> Path:
    lake.mkdir(parents=True, exist_ok=True)
    (lake / "sources.toml").write_text(text)
    return lake


def lines(*rows: dict[str, Any]) -> bytes:
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


def as_csv(*rows: dict[str, Any]) -> bytes:
    texts = [",".join(ROW), *(",".join(map(str, row.values())) for row in rows)]
    return ("\n".join(texts) + "\n").encode()


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("tenants")
    declare(place / "takes", TAKES)
    declare(place / "elsewhere", "[interactions]\npath = 'exports/{dt}'\n[items]\nabsent = true\n")
    declare(place / "broken", "[interactions]\nreturns = 'perhaps'\n")
    return place


@pytest.fixture(scope="module")
def served(place: Path) -> Iterator[Served]:
    with serving(lake="unused", tenants=str(place)) as found:
        yield found


@pytest.mark.parametrize("path", ["upload-csv?data_type=interactions&", "interactions?"])
def test_uploads_take_the_returns_of_a_tenant_that_has_them(
    served: Served, place: Path, path: str
) -> None:
    is_csv = path.startswith("upload")
    content = as_csv(*ROWS) if is_csv else lines(*ROWS)
    url = f"/internal/data/{path}backfill=true"
    sent = served.client("takes").post(url, data=content)
    assert (sent.status_code, sent.json().get("accepted")) == (201, 3), sent.text
    found = raw_rows(place / "takes")
    assert {row["interaction_type"] for row in found} == {"Purchase", "RETURN", " view "}
    # Of the zone that is declared.
    assert {row["timestamp"].hour for row in found} == {9}
    refused = served.client("plain").post(url, data=content)
    assert refused.status_code == 422
    counts = {(one["column"], one["code"]): one["count"] for one in refused.json()["counts"]}
    assert counts == {("quantity", "out_of_range"): 1, ("interaction_type", "not_allowed"): 1}
    # Of a return only: what else is below zero is refused here too.
    wrong = as_csv(WRONG) if is_csv else lines(WRONG)
    assert served.client("takes").post(url, data=wrong).status_code == 422


def test_validate_and_schema_say_what_an_upload_would(served: Served) -> None:
    def judged(tenant: str) -> Any:
        path = "/api/validation/validate?data_type=interactions"
        return served.client(tenant).post(path, data=lines(*ROWS, WRONG)).json()

    assert (judged("takes")["accepted"], judged("plain")["accepted"]) == (3, 1)
    of = "/api/validation/schema/interactions"
    takes, plain = (served.client(t).get(of).json()["properties"] for t in ("takes", "plain"))
    assert "return" in takes["interaction_type"]["enum"]
    assert "return" not in plain["interaction_type"]["enum"]
    assert "exclusiveMinimum" not in takes["quantity"]
    assert "exclusiveMinimum" in plain["quantity"]


def test_what_the_platform_would_not_read_is_not_taken(served: Served, place: Path) -> None:
    one = served.client("elsewhere")
    for data_type, why in (("interactions", "read from elsewhere"), ("items", "absent")):
        for path in ("internal/data/", "api/validation/validate?data_type="):
            sent = one.post(f"/{path}{data_type}", data=lines(KEPT))
            assert sent.status_code == 501
            assert why in sent.json()["detail"]
    sent = served.client("broken").post("/internal/data/interactions", data=lines(KEPT))
    assert (sent.status_code, "Retry-After" in sent.headers) == (503, True)
    assert str(place) not in sent.text
    assert "expected one of subtract" in served.log.getvalue()
    assert not list((place / "elsewhere").rglob("*.parquet"))


def test_a_path_that_is_where_the_service_files_is_taken(tmp_path: Path) -> None:
    for path in ("raw/interactions/dt={dt}", f"{tmp_path}/raw/interactions/dt={{dt}}"):
        lake = Lake.at(declare(tmp_path, f"[interactions]\npath = '{path}'\n"))
        assert deliveries_of(lake, "interactions") == PLAIN
    lake = Lake.at(declare(tmp_path, "[interactions]\npath = 'raw/interactions/year={dt}'\n"))
    with pytest.raises(Problem, match="read from elsewhere"):
        deliveries_of(lake, "interactions")


class Log:
    """Takes all events at once."""

    def send(self, name: str, tenant: str, events: Events) -> Sending:
        return Sending(len(events), [None] * len(events), 0)

    def ask(self, seconds: float) -> None:
        pass


def test_events_are_judged_by_their_own_tenant(place: Path) -> None:
    core = Core(ServiceSettings(lake="unused", tenants=str(place)))
    gathering = Gathering(Log())  # type: ignore[arg-type]
    rows = lines(*ROWS).splitlines()
    empty = [""] * len(rows)
    events = Events(rows, rows, empty, empty, tuple(ROW))

    async def judge() -> list[int]:
        tenants = ("takes", "plain", "takes")
        by = {tenant: core.deliveries(tenant, "interactions") for tenant in tenants}
        found = await asyncio.gather(
            *(gathering.take(lambda: events, "interactions", t, by[t]) for t in tenants)
        )
        return [verdict.accepted for verdict, _ in found]

    assert asyncio.run(judge()) == [3, 1, 3]
    gathering.close()
    core.close()


def record(offset: int, row: dict[str, Any], tenant: str) -> Record:
    return Record(offset, json.dumps(row).encode(), AT_MS, {"tenant": tenant})


def offsets(lake: Path) -> list[int]:
    """Of all rows and of all records in quarantine, each as often as it is there."""
    files = lake.glob("service/quarantine/*/*.jsonl")
    kept = [json.loads(line)["offset"] for file in files for line in file.read_text().splitlines()]
    return sorted([row["_offset"] for row in raw_rows(lake)] + kept)


OWN = Range("t", "id", 0, 0, 3)
ABSENT = "[interactions]\nabsent = true\n"
EAST = "[interactions]\ntime_zone = 'Pacific/Kiritimati'\n"


def test_the_consumer_lands_what_its_tenant_takes(tmp_path: Path) -> None:
    declare(tmp_path / "takes", TAKES)
    declare(tmp_path / "absent", ABSENT)
    core = Core(ServiceSettings(lake="unused", tenants=str(tmp_path)))
    tenants = ("takes", "plain", "absent")
    records = [record(n, ROWS[n // 3], tenants[n % 3]) for n in range(9)]
    writer = RangeWriter(core.tenants, core.settings, "interactions")
    landed = writer.write(Range("t", "id", 0, 0, 9), records)
    assert (landed.rows, len(landed.poison)) == (4, 5)
    assert len(raw_rows(tmp_path / "takes")) == 3
    for n, tenant in enumerate(tenants):
        assert offsets(tmp_path / tenant) == [n, n + 3, n + 6]
    core.close()


@pytest.mark.parametrize("is_kept", [True, False])
@pytest.mark.parametrize(
    ("before", "after"), [("", EAST), (TAKES, ""), ("", TAKES), (ABSENT, ""), ("", ABSENT)]
)
def test_a_range_that_is_done_again_has_the_terms_of_the_first_time(
    tmp_path: Path, before: str, after: str, is_kept: bool
) -> None:
    """By another consumer, whatever was declared since: each record is somewhere, and once."""
    core = Core(ServiceSettings(lake=str(tmp_path)))
    declare(tmp_path, before)
    records = [record(n, row, "default") for n, row in enumerate(ROWS)]
    first = RangeWriter(core.tenants, core.settings, "interactions").write(OWN, records)
    landed = (path for path in tmp_path.rglob("*.[pj]*") if path.parent.name != "terms")
    files = {path: path.read_bytes() for path in landed if path.is_file()}
    declare(tmp_path, after)
    if not is_kept:
        # As a version of before left it: a record may be there twice, but none is lost.
        next(tmp_path.rglob("claims/*/*/*.terms")).unlink()
    again = RangeWriter(core.tenants, core.settings, "interactions").write(OWN, records)
    if is_kept:
        assert again == first
        assert offsets(tmp_path) == [0, 1, 2]
        assert all(path.read_bytes() == content for path, content in files.items())
    assert set(offsets(tmp_path)) == {0, 1, 2}
    core.close()


def test_records_wait_while_it_is_not_known_how_they_are_judged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They were taken: none is refused for what passes, or is mended."""
    core = Core(ServiceSettings(lake=str(tmp_path)))
    records = [record(n, row, "default") for n, row in enumerate(ROWS)]
    writer = RangeWriter(core.tenants, core.settings, "interactions")
    declare(tmp_path, "[interactions]\npaht = 'x'\n")
    with pytest.raises(StoreError, match=r"default: .*paht"):
        writer.write(OWN, records)
    named = declare(tmp_path / "elsewhere", TAKES) / "sources.toml"
    with monkeypatch.context() as patch:
        patch.setenv("TRAINING_ASSETS_SOURCES", str(named))
        with patch.context() as slow:
            slow.setattr(LocalStore, "read", Mock(side_effect=StoreError("timed out")))
            with pytest.raises(StoreError, match="timed out"):
                deliveries_of(Lake.at(tmp_path), "interactions")
            with pytest.raises(StoreError, match="timed out"):
                writer.write(OWN, records)
        assert offsets(tmp_path) == []
        assert writer.write(OWN, records).rows == 3
    # What was valid holds until what is declared is mended, for consumers that begin later too.
    assert writer.write(Range("t", "id", 0, 3, 6), records).rows == 3
    later = RangeWriter(core.tenants, core.settings, "interactions")
    assert later.write(Range("t", "id", 0, 6, 9), records).rows == 3
    core.close()


def test_refused_returns_are_taken_by_a_replay_once_they_are_declared(tmp_path: Path) -> None:
    core = Core(ServiceSettings(lake=str(tmp_path)))
    asked = Asked("default", "interactions", mode="partial", backfill=True)
    body = unpack(io.BytesIO(lines(*ROWS)), {}, core.settings)
    receipt = core.uploads("default").accept(asked, body).receipt
    assert (receipt.accepted, receipt.rejected) == (1, 2)
    declare(tmp_path, TAKES)
    found = replay(core, "default", receipt)
    assert found is not None
    assert (found.accepted, found.is_new) == (2, True)
    core.close()


def test_the_platform_reads_all_that_was_taken_and_the_shops_own_files(tmp_path: Path) -> None:
    """Its own have other names, words, and several rows in one; those of the service have not."""
    declare(tmp_path, SHOP)
    core = Core(ServiceSettings(lake=str(tmp_path)))
    body = unpack(io.BytesIO(as_csv(*ROWS)), {}, core.settings)
    asked = Asked("default", "interactions", backfill=True)
    assert core.uploads("default").accept(asked, body).receipt.accepted == 3
    writer = RangeWriter(core.tenants, core.settings, "interactions")
    event = {**ROW, "user_id": "u2"}
    assert writer.write(Range("t", "id", 0, 0, 1), [record(0, event, "default")]).rows == 1
    core.close()
    own = [{"uid": "u9", "t": "view", "i": "i9", "at": "2026-11-18 10:00"}, {"uid": "u8", "t": "x"}]
    folder = tmp_path / f"raw/interactions/dt={DAY}"
    (folder / "own.jsonl").write_text(json.dumps({"events": own}) + "\n")
    days = find_raw_days(Lake.at(tmp_path), RAW_INTERACTIONS, [DAY])
    valid = parse_all(days, wants_rejects=False)
    shown = sorted((row["user_id"], row["interaction_type"]) for row in valid)
    assert shown == [
        ("u1", "return"),
        ("u1", "return"),
        ("u1", "view"),
        ("u2", "return"),
        ("u9", "click"),
    ]
    assert {row["timestamp"].hour for row in valid} == {9}


def test_integer_ids_that_are_too_large_are_refused_unless_they_are_texts(
    tmp_path: Path,
) -> None:
    body = unpack(io.BytesIO(lines(*({**KEPT, "item_id": n} for n in EANS))), {}, ServiceSettings())
    plain = judge_body(body, "interactions", ServiceSettings())
    assert (plain.accepted, plain.counts) == (2, {("item_id", "out_of_range"): 2})
    texts = declare(tmp_path, "[clicks]\ncolumns = { item_id = { id = 'text' } }\n")
    by = deliveries_of(Lake.at(texts), "interactions")
    assert judge_body(body, "interactions", ServiceSettings(), by).accepted == 4
    folder = tmp_path / f"raw/interactions/dt={DAY}"
    folder.mkdir(parents=True)
    (folder / "a.jsonl").write_bytes(lines(*({**KEPT, "item_id": n} for n in EANS)))
    for is_said in (True, False):
        days = find_raw_days(Lake.at(tmp_path), RAW_INTERACTIONS, [DAY])
        tasks = pa.RecordBatch.from_pylist([task._asdict() for task in days.tasks])
        found = parse(
            iter([tasks]), days.table, days.days, wants_rejects=False, texts=days.text_ids()
        )
        assert sum(len(rows) for rows in found) == (4 if is_said else 2)
        (tmp_path / "sources.toml").unlink(missing_ok=True)
