"""Events: under the names of the table, with ids of their own, judged many requests at a time."""

import asyncio
import io
import json
import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any
from unittest.mock import Mock

import numpy as np
import pyarrow as pa
import pytest

from training_assets.errors import SchemaError
from training_assets.service import event_rows, gathering, judging
from training_assets.service.bodies import Body
from training_assets.service.duplicates import SeenTogether
from training_assets.service.event_log import EventLog, Sending
from training_assets.service.event_rows import Events, events_of, new_ids
from training_assets.service.gathering import Gathering
from training_assets.service.judging import Documents, Verdict, judge_body, judge_together
from training_assets.service.problems import Problem
from training_assets.service.settings import ServiceSettings

ROW = {"user_id": "u1", "item_id": "i1", "interaction_type": "click"}
ROW["timestamp"] = "2026-11-20T10:00:00Z"
ALIASED = {"userId": "u2", "Item-ID": 7, "interaction_type": "click", "timestamp": "2026-11-20"}
FAR = (datetime.now(UTC) + timedelta(days=9)).isoformat()
BODIES: Sequence[Any] = (
    ROW,
    [{**ROW, "interaction_id": "same"}, {**ROW, "interaction_id": "same"}],
    {**ROW, "interaction_id": "same"},
    ALIASED,
    [{}, {**ROW, "color": "red"}, [1], "text", None, [[ROW]], 7],
    [[ROW]],
    {**ROW, "interaction_type": "stare", "timestamp": FAR},
    {**ROW, "quantity": "many", "user_id": " "},
    [{**ROW, "timestamp": n} for n in ("2026-11-20 10:00", "soon", 5, "2026-11-20T10:00:00+02:00")],
    b'{"user_id": "u1", "item_id": 1e300, "interaction_type": "click", "timestamp": "2026-11-20"}',
    json.dumps(ROW).encode() + b'\n{"a": \n\xff\xfe\n  \n{"user_id": NaN, "other": "\\ud800"}\n',
)


def events(body: Any, key: str | None = "k", data_type: str = "interactions") -> Events:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    given = Body(io.BytesIO(content), len(content), len(content), "")
    return events_of(given, data_type, key, SETTINGS)


SETTINGS = ServiceSettings(lake="unused")


def documents(body: Any) -> Documents:
    found = events(body)
    return Documents(found.rows, found.names)


def shown(found: tuple[Verdict, list[int]]) -> tuple[dict[str, Any], list[int]]:
    return found[0].report, found[1]


def test_each_request_is_judged_as_by_itself() -> None:
    requests = [documents(body) for body in BODIES]
    alone = [shown(judge_together([one], "interactions")[0]) for one in requests]
    together = [shown(one) for one in judge_together(requests, "interactions")]
    assert together == alone
    backwards = judge_together(requests[::-1], "interactions")
    assert [shown(one) for one in backwards] == alone[::-1]
    assert [numbers for _, numbers in alone][:6] == [[1], [1], [1], [1], [2], []]
    assert alone[1][0]["counts"] == [
        {"column": "interaction_id", "code": "duplicate_id", "count": 1}
    ]
    assert alone[4][0]["warnings"] == [{"column": "color", "code": "unknown_column", "count": 1}]
    assert {e["code"] for e in alone[5][0]["errors"]} == {"not_an_object"}
    assert {e["code"] for e in alone[-1][0]["errors"]} >= {"not_json", "not_utf8"}


def test_objects_are_judged_as_the_file_of_their_documents() -> None:
    """Many at once and one by one: few texts are read in another way than many."""
    random = np.random.default_rng(15)
    ids = [
        "u1",
        7,
        7.0,
        "07",
        0,
        2**31,
        2**63,
        "9" * 19,
        "a b",
        "\u00e9",
        "",
        None,
        True,
        "x" * 256,
    ]
    times = [*ROW.values(), FAR, "2026-11-20 10:00", "0000-01-01", "2026-02-30", "1999-12-31", 5]
    kinds = ["click", "CLICK ", "stare", "", None, 5]

    def row() -> dict[str, Any]:
        user, item, when, kind = random.integers(99, size=4).tolist()
        return {
            "user_id": ids[user % len(ids)] if user > 60 else f"u{user}",
            "item_id": ids[item % len(ids)] if item > 60 else item + 1,
            "interaction_type": kinds[kind % len(kinds)] if kind > 60 else "view",
            "timestamp": times[when % len(times)] if when > 60 else f"2026-11-20T10:00:{when:02}Z",
            "interaction_id": f"id-{random.integers(10**6)}" if user % 7 else "again",
        }

    # From 2**64 on JSON of events is a float from the start, so there is none here.
    for size in (1, 3, 40, 400):
        rows = [row() for _ in range(size)]
        lines = b"".join(json.dumps(one).encode() + b"\n" for one in rows)
        body = Body(io.BytesIO(lines), len(lines), len(lines), "")
        expected = judge_body(body, "interactions", SETTINGS).report
        ((of_objects, _),) = judge_together([documents(rows)], "interactions")
        texts = Documents(events(rows).documents, [*rows[0]])
        ((of_texts, _),) = judge_together([texts], "interactions")
        assert of_objects.report == of_texts.report == expected


def test_rows_alike_are_events_as_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each of the rows in another place, so that what is not alike comes late too."""
    random = np.random.default_rng(15)
    monkeypatch.setattr(event_rows, "new_ids", lambda count: [f"new-{n}" for n in range(count)])
    with_id, twice = {**ROW, "interaction_id": "a"}, {**ROW, "interaction_id": ""}
    turned = dict(reversed(ROW.items()))
    choice = (
        ROW,
        ROW,
        ROW,
        with_id,
        with_id,
        twice,
        turned,
        ALIASED,
        {},
        [1],
        None,
        {"user_id": 7},
    )
    alike = 0
    for _ in range(300):
        some = random.choice(len(choice), size=random.integers(1, 3))
        rows = [choice[n] for n in random.choice(some, size=random.integers(1, 5))]
        key, data_type = (
            random.choice(["k", ""]) or None,
            str(random.choice(["interactions", "items"])),
        )
        at_once = events(rows, key, data_type)
        with monkeypatch.context() as one_by_one:
            one_by_one.setattr(event_rows._Making, "add_alike", lambda making, rows: False)
            expected = events(rows, key, data_type)
        assert at_once == expected
        alike += rows in ([ROW] * len(rows), [with_id] * len(rows))
    assert alike > 50


def test_event_stands_under_the_names_of_the_table() -> None:
    found = events(ALIASED)
    assert json.loads(*found.documents) == {
        "user_id": "u2",
        "item_id": 7,
        "interaction_type": "click",
        "timestamp": "2026-11-20",
        "interaction_id": "k:1",
    }
    assert (found.entities, found.ids) == (["u2"], ["k:1"])
    with pytest.raises(SchemaError, match="several columns"):
        events({**ALIASED, "USER ID": "u3"})


def test_ids_are_given_made_of_the_key_or_new() -> None:
    assert events({**ROW, "interaction_id": 5}).ids[0] == "5"
    assert events({**ROW, "interaction_id": 1e3}).ids[0] == "1000"
    assert json.loads(events({**ROW, "interaction_id": ""}).documents[0])["interaction_id"] == "k:1"
    long = events([ROW, ROW], "x" * 255).ids
    assert max(map(len, long)) <= 255
    assert events([ROW, ROW], "x" * 255).ids == long
    new = events([ROW] * 50, None).ids
    assert len(set(new)) == 50
    assert new == sorted(new, key=lambda one: one[:13])


def test_what_json_has_no_word_for_is_not_taken_for_nothing() -> None:
    line = json.dumps({**ROW, "price": 1.0}).replace("1.0", "Infinity").encode() + b"\n"
    lines = json.dumps(ROW).encode() + b"\n" + line
    assert b"Infinity" in events(lines).documents[1]
    ((verdict, good),) = judge_together([documents(lines)], "interactions")
    assert good == [1]
    assert {(e["row"], e["code"]) for e in verdict.errors} <= {(2, "not_a_number"), (2, "not_json")}


def test_events_of_items_have_ids_of_ours_whatever_is_in_them() -> None:
    row = {"item_id": "i", "title": "t", "": "x" * 300}
    assert events(row, data_type="items").ids == ["k:1"]


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (b"", "unreadable"),
        (b"[]", "unreadable"),
        (b'{"a": ', "unreadable"),
        (b'[{"a": 1}', "unreadable"),
        (b"user_id,item_id\n1,2\n", "unsupported_format"),
        (b"\x1f\x8b\x08", "unsupported_format"),
        (b"[" * 10**5, "too_large"),
        (b'{"a":' * 10**5 + b"1" + b"}" * 10**5, "too_large"),
        (b'{"a": "' + b"x" * 2**16 + b'"}', "too_large"),
        (b'{"interaction_id": "' + b"x" * 2**16 + b'"}', "too_large"),
        (json.dumps(dict.fromkeys(map(str, range(101)))).encode(), "too_large"),
        (b"{}\n" * 10_001, "too_large"),
        (b"[{}, " + b'{"a":' * 25 + b"1" + b"}" * 25 + b"]", "too_large"),
    ],
)
def test_bodies_of_no_honest_client_are_refused(body: bytes, kind: str) -> None:
    with pytest.raises(Problem) as refused:
        events(body)
    assert refused.value.kind == kind


class Log:
    """A log that has room for no event of "full", and says at the second asking what it took."""

    def __init__(self) -> None:
        self.asked = 0
        self.waiting: list[tuple[Events, list[Any]]] = []

    def send(self, name: str, tenant: str, events: Events) -> Sending:
        if "full" in events.entities:
            raise Problem("unavailable", "It is full.")
        reports: list[Any] = []
        self.waiting.append((events, reports))
        seconds = 0.05 if "silent" in events.entities else 60
        return Sending(len(events), reports, time.monotonic() + seconds)

    def ask(self, seconds: float) -> None:
        self.asked += 1
        for events, reports in self.waiting if self.asked > 1 else ():
            known = [entity for entity in events.entities if entity != "silent"]
            if len(reports) < len(known):
                reports.append("lost" if known[len(reports)] == "lost" else None)


def taken(log: Any, *bodies: Any, **given: Any) -> list[Any]:
    """What is answered to requests that come at once: ids, or the kind of the problem."""

    async def run() -> list[Any]:
        made = Gathering(log)
        calls = [made.take(partial(events, body), "interactions", "t", **given) for body in bodies]
        try:
            return await asyncio.wait_for(asyncio.gather(*calls, return_exceptions=True), 30)
        finally:
            await asyncio.to_thread(made.close)

    found = asyncio.run(run())
    return [one.kind if isinstance(one, Problem) else [*one.ids] for one in found]


@pytest.mark.parametrize("others", [b"", b"1, " * 30, b"{}, " * 30, b"[], " * 30])
def test_events_are_nested_as_deep_as_is_allowed(others: bytes) -> None:
    def body(depth: int) -> bytes:
        inner = depth - 1
        return b"[" + others + b'{"a":' * inner + b"1" + b"}" * inner + b"]"

    assert len(events(body(SETTINGS.max_nesting))) == 1 + others.count(b",")
    with pytest.raises(Problem, match="nested deeper"):
        events(body(SETTINGS.max_nesting + 1))


@pytest.mark.parametrize("ending", [b"", b"\n"])
def test_events_that_may_be_nested_deeper_than_is_written_fast_are_taken(ending: bytes) -> None:
    nested = b"[" * 300 + b"]" * 300
    line = json.dumps({**ROW, "deep": 0}).encode().replace(b"0}", nested + b"}") + ending
    settings = ServiceSettings(lake="unused", max_nesting=400)
    content = line * (2 if ending else 1)
    given = Body(io.BytesIO(content), len(content), len(content), "")
    for document in events_of(given, "interactions", "k", settings).documents:
        assert nested in document.replace(b" ", b"")


def test_brackets_of_texts_nest_nothing() -> None:
    found = events([{**ROW, "title": "[{" * 30}])
    assert json.loads(*found.documents)["title"] == "[{" * 30


def test_requests_that_wait_are_judged_together_and_fail_alone(monkeypatch) -> None:
    sizes = []

    def judge(requests: Sequence[Documents], *given: Any) -> Any:
        sizes.append(len(requests))
        if any(one.rows[0].get("user_id") == "evil" for one in requests):
            raise Problem("unreadable", "It is evil.")
        return judge_together(requests, *given)

    monkeypatch.setattr(gathering, "judge_together", judge)
    bodies = [ROW, b"[", {**ROW, "user_id": "evil"}, [{**ROW, "item_id": None}, ROW], [{}]]
    found = taken(Log(), *bodies)
    assert found == [["k:1"], "unreadable", "unreadable", ["k:2"], "rejected_rows"]
    # The first may have come alone.
    assert sizes in ([4, 1, 1, 1, 1], [1, 3, 1, 1, 1])
    assert taken(Log(), bodies[3], is_strict=True) == ["rejected_rows"]


def test_events_are_taken_once_the_log_has_said_so_of_each() -> None:
    log = Log()
    lost, silent, full = ({**ROW, "user_id": user} for user in ("lost", "silent", "full"))
    found = taken(log, ROW, [ROW, lost], [ROW] * 9, [ROW, silent], full)
    assert found[::2] == [["k:1"], [f"k:{n}" for n in range(1, 10)], "unavailable"]
    assert found[1::2] == ["unavailable"] * 2
    assert log.asked >= 10
    assert {len(reports) for _, reports in log.waiting} == {1, 2, 9}


def test_after_the_end_no_events_are_taken() -> None:
    made = Gathering(Log())
    made.close()
    with pytest.raises(Problem) as refused:
        asyncio.run(made.take(lambda: events(ROW), "interactions", "t"))
    assert refused.value.kind == "unavailable"


class Deaf(Log):
    """A log that cannot be asked."""

    def ask(self, seconds: float) -> None:
        self.asked += 1
        raise OSError("Broken pipe")


def test_requests_are_answered_in_time_by_a_log_that_cannot_be_asked() -> None:
    log = Deaf()
    silent = {**ROW, "user_id": "silent"}
    assert taken(log, silent, b"[", [silent, ROW]) == ["unavailable", "unreadable", "unavailable"]
    # It pauses in between.
    assert 1 < log.asked < 500


def test_whatever_is_raised_is_the_answer() -> None:
    def read() -> Any:
        raise StopIteration("end")

    made = Gathering(Log())
    with pytest.raises(RuntimeError, match="StopIteration"):
        asyncio.run(asyncio.wait_for(made.take(read, "interactions", "t"), 5))
    made.require_running()
    made.close()


class Dying(Log):
    """A log that ends the thread by which it is asked, once it has the second request."""

    def send(self, name: str, tenant: str, events: Events) -> Sending:
        if events.entities[0] == "last":
            raise SystemExit
        return super().send(name, tenant, events)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_all_that_wait_are_answered_when_the_thread_ends() -> None:
    silent, last = ({**ROW, "user_id": user} for user in ("silent", "last"))

    async def run() -> list[Any]:
        made = Gathering(Dying())
        calls = [
            made.take(partial(events, body), "interactions", "t")
            for body in (ROW, silent, last, ROW)
        ]
        found = await asyncio.gather(*calls, return_exceptions=True)
        with pytest.raises(Problem, match="is stopping"):
            made.require_running()
        found += await asyncio.gather(
            made.take(lambda: events(ROW), "interactions", "t"), return_exceptions=True
        )
        return found

    found = asyncio.run(asyncio.wait_for(run(), 10))
    assert [one.kind for one in found] == ["unavailable"] * 5


def test_an_error_that_cannot_be_logged_stops_nobody_who_asks() -> None:
    log = Mock(warning=Mock(side_effect=OSError("Broken pipe")))
    settings = ServiceSettings(lake="unused", kafka="127.0.0.1:1")
    made = EventLog(settings, log)
    for _ in range(100):
        made.ask(0.05)
        if log.warning.called:
            break
    assert log.warning.called
    made.close()


def test_an_id_stands_once_in_each_of_the_requests_judged_together() -> None:
    ids = ["a", "b", "a", None, None, "a", "b", "c", "a", "c"]
    numbers = np.array([1, 2, 3, 4, 5, 6, 8, 9, 10, 11])
    starts = [1, 4, 8]
    known: set[tuple[int, str | None]] = set()
    expected = []
    for number, one in zip(numbers.tolist(), ids, strict=True):
        upload = sum(number >= start for start in starts)
        expected.append(one is not None and (upload, one) in known)
        known.add((upload, one))
    for size in (1, 3, 4, 10):
        seen = SeenTogether(starts)
        found = [
            seen.repeated(pa.chunked_array([ids[n : n + size]], pa.string()), numbers[n : n + size])
            for n in range(0, 10, size)
        ]
        assert np.concatenate(found).tolist() == expected


@pytest.mark.parametrize(("count", "times"), [(3, 1), (300, 3)])
def test_only_of_few_names_is_kept_what_they_mean(monkeypatch, count: int, times: int) -> None:
    """Clients choose the names, and could have much kept of many."""
    asked = Mock(wraps=judging.judge_of_objects)
    monkeypatch.setattr(judging, "judge_of_objects", asked)
    names = [*ROW, *(f"other {count} {number}" for number in range(count))]
    for _ in range(3):
        judge_together([Documents([ROW], names)], "interactions")
    assert asked.call_count == times


def test_new_ids_differ_however_many_are_asked_for() -> None:
    counts = [1, 7000, 1, 2, 9000, 5]
    assert len({one for count in counts for one in new_ids(count)}) == sum(counts)
