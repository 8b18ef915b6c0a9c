"""The service over HTTP, with its own server: what is taken, told, kept apart and refused."""

import asyncio
import concurrent.futures
import gzip
import io
import json
import re
import socket
from collections.abc import Iterator
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import requests

from training_assets.errors import SettingsError, StoreError
from training_assets.lake import LocalStore
from training_assets.online import open_store
from training_assets.service.schemas import CODES
from training_assets_tests.support.faulty_wire import faulty_wire
from training_assets_tests.support.service import HEADER, Client, Served, raw_rows, serving

ROW = "{user},i1,click,2026-11-20T10:00:00Z\n"
SECRET_USER = "user-of-acme-alone"


def csv(*users: str) -> bytes:
    return (HEADER + "".join(ROW.format(user=user) for user in users)).encode()


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("service")


@pytest.fixture(scope="module")
def served(place: Path) -> Iterator[Served]:
    with serving(lake=str(place / "lake"), tenants=str(place / "tenants")) as found:
        yield found


@pytest.fixture(scope="module")
def acme(served: Served) -> Client:
    return served.client("acme")


@pytest.fixture(scope="module")
def other(served: Served) -> Client:
    return served.client("other")


# What is taken.


@pytest.mark.parametrize("how", ["body", "form", "gzip", "zstd", "chunked", "parquet"])
def test_a_file_is_taken_however_it_is_sent(
    served: Served, acme: Client, place: Path, how: str
) -> None:
    user = f"by-{how}"
    content = csv(user)
    given: dict[str, Any] = {"data": content}
    if how == "form":
        given = {"files": {"file": ("../../evil.sh", content)}}
    elif how == "gzip":
        given = {"data": gzip.compress(content), "headers": {"Content-Encoding": "gzip"}}
    elif how == "zstd":
        given = {"data": pa.compress(content, "zstd", asbytes=True)}
    elif how == "chunked":
        given = {"data": iter([content[:7], content[7:]])}
    elif how == "parquet":
        row = dict(
            zip(HEADER.strip().split(","), ROW.format(user=user).strip().split(","), strict=True)
        )
        sink = io.BytesIO()
        pq.write_table(pa.Table.from_pylist([row]), sink)
        given = {"data": sink.getvalue()}
    sent = acme.post("/internal/data/upload-csv?data_type=interactions&backfill=true", **given)
    assert sent.status_code == 201, sent.text
    body = sent.json()
    assert (body["rows"], body["accepted"], body["replayed"], body["delivered"]) == (
        1,
        1,
        False,
        True,
    )
    assert acme.get(sent.headers["Location"]).json()["id"] == body["id"]
    rows = [row for row in raw_rows(place / "tenants/acme") if row["user_id"] == user]
    assert [(row["dt"], row["_row"]) for row in rows] == [("2026-11-20", 1)]
    again = acme.post(
        "/internal/data/upload-csv?data_type=interactions&backfill=true",
        **(given if how != "chunked" else {"data": iter([content])}),
    )
    assert (again.status_code, again.json()["replayed"]) == (200, True)
    assert not list(place.rglob("evil*"))


@pytest.mark.parametrize("how", ["object", "array", "lines"])
def test_rows_are_taken_as_json(acme: Client, place: Path, how: str) -> None:
    item = {"item_id": f"item-{how}", "title": 'A, "b"\nc', "price": 1.5}
    content = {
        "object": json.dumps(item),
        "array": json.dumps([item]),
        "lines": json.dumps(item) + "\n",
    }[how]
    sent = acme.post("/internal/data/items", data=content.encode())
    assert sent.status_code == 201, sent.text
    rows = [
        row for row in raw_rows(place / "tenants/acme", "items") if row["item_id"] == f"item-{how}"
    ]
    assert [row["title"] for row in rows] == [item["title"]]
    assert rows[0]["dt"] == str(datetime.now(UTC).date())


def test_closed_day_is_filed_under_arrival_unless_asked(acme: Client, place: Path) -> None:
    assert acme.upload(csv("late")).status_code == 201
    days = {r["dt"] for r in raw_rows(place / "tenants/acme") if r["user_id"] == "late"}
    assert days == {str(datetime.now(UTC).date())}


def test_bad_rows_are_told_one_by_one(acme: Client, place: Path) -> None:
    bad = (
        b",i1,click,2026-11-20T10:00:00Z\n"
        b"u,i1,stare,2026-11-20T10:00:00Z\n"
        b"u,i1,click,2026-02-30T10:00:00Z\n"
        b"u,i1\n"
        b"u,i1,stare,soon\n"
    )
    strict = acme.upload(csv("good") + bad)
    assert strict.status_code == 422
    assert strict.headers["Content-Type"] == "application/problem+json"
    body = strict.json()
    assert (body["rows"], body["accepted"], body["rejected"]) == (6, 1, 5)
    told = {(e["row"], e["line"], e["column"], e["code"]) for e in body["errors"]}
    assert {
        (2, 3, "user_id", "required"),
        (3, 4, "interaction_type", "not_allowed"),
        (4, 5, "timestamp", "not_a_timestamp"),
        (5, 6, "", "wrong_number_of_cells"),
        (6, 7, "interaction_type", "not_allowed"),
        (6, 7, "timestamp", "not_a_timestamp"),
    } <= told
    assert {one["code"] for one in body["counts"]} <= set(CODES)
    partial = acme.upload(csv("good") + bad, query="mode=partial")
    assert partial.status_code == 201
    kept = acme.get(f"/internal/data/uploads/{partial.json()['id']}/errors").json()
    assert [e["row"] for e in kept["errors"]] == [e["row"] for e in body["errors"]]
    one = acme.get(f"/internal/data/uploads/{partial.json()['id']}/errors?offset=1&limit=1").json()
    assert one["errors"] == kept["errors"][1:2]
    judged = acme.post("/api/validation/validate?data_type=interactions", data=csv("good") + bad)
    assert judged.status_code == 200
    assert judged.json()["valid"] is False
    for name in ("rows", "accepted", "rejected", "counts", "errors"):
        assert judged.json()[name] == body[name]


def test_validation_stores_nothing(served: Served, tmp_path: Path) -> None:
    with serving(lake=str(tmp_path / "lake")) as alone:
        client = alone.client()
        before = sorted(path for path in tmp_path.rglob("*") if "audit" not in str(path))
        sent = client.post("/api/validation/validate?data_type=interactions", data=csv("u"))
        assert sent.json()["valid"] is True
        assert sorted(p for p in tmp_path.rglob("*") if "audit" not in str(p)) == before


def test_id_in_two_rows_is_a_fault_of_the_second(acme: Client) -> None:
    rows = [{"item_id": "twice", "title": "a"}, {"item_id": "twice", "title": "b"}]
    body = acme.post("/internal/data/items", json=rows).json()
    assert [(e["row"], e["code"]) for e in body["errors"]] == [(2, "duplicate_id")]


def test_key_counts_once_and_for_one_content(acme: Client) -> None:
    key = {"Idempotency-Key": "order 7"}
    assert acme.upload(csv("keyed"), headers=key).status_code == 201
    assert acme.upload(csv("keyed"), headers=key).status_code == 200
    reused = acme.upload(csv("keyed", "more"), headers=key)
    assert reused.status_code == 422
    assert reused.json()["type"].endswith("key_reused")
    assert acme.upload(csv("keyed"), headers={"Idempotency-Key": "a\tb"}).status_code == 400
    assert acme.upload(csv("keyed"), headers={"Idempotency-Key": "x" * 256}).status_code == 400


def test_usage_and_uploads_of_the_day(tmp_path: Path) -> None:
    with serving(lake=str(tmp_path)) as alone:
        client = alone.client()
        ids = [client.upload(csv(*users)).json()["id"] for users in (["a"], ["b", "c"])]
        listed = client.get("/internal/data/uploads").json()["uploads"]
        assert sorted(one["id"] for one in listed) == sorted(ids)
        totals = client.get("/internal/usage?days=2").json()["totals"]
        assert (totals["uploads"], totals["accepted"]) == (2, 3)
        assert client.get("/internal/data/uploads?day=2020-01-01").json()["uploads"] == []


def test_schema_is_that_of_the_platform(acme: Client) -> None:
    found = acme.get("/api/validation/schema/interactions").json()
    assert {"user_id", "item_id", "interaction_type", "timestamp"} <= set(found["properties"])
    unknown = acme.get("/api/validation/schema/orders")
    assert unknown.status_code == 404
    assert unknown.json()["known"] == ["interactions", "items", "users"]


# Features.


def test_features_are_served_with_day_and_age(
    served: Served, acme: Client, other: Client, place: Path
) -> None:
    with open_store(f"sqlite:{place}/tenants/acme/online") as store:
        day = datetime.now(UTC).date()
        columns = [("total_purchases", "int64")]
        store.load("users", day, [([17], [b"[3]"])], content="c" * 16, columns=columns, num_rows=1)
    found = acme.get("/api/features/users/17")
    assert found.status_code == 200, found.text
    body = found.json()
    assert (body["values"], body["dt"], body["state"]) == (
        {"total_purchases": 3},
        str(day),
        "found",
    )
    assert body["age_seconds"] == 0
    many = acme.post("/api/features/users:batchGet", json={"ids": [17, "18"]}).json()["results"]
    assert [one["state"] for one in many] == ["found", "not_found"]
    assert acme.get("/api/features/users/18").status_code == 404
    assert acme.get("/api/features/users/17?features=nope").status_code == 400
    assert other.get("/api/features/users/17").status_code == 404


# Who may.


ENDPOINTS = [
    ("POST", "/internal/data/upload-csv?data_type=interactions", "upload"),
    ("POST", "/internal/data/interactions", "upload"),
    ("POST", "/internal/data/items", "upload"),
    ("POST", "/internal/data/users", "upload"),
    ("POST", "/internal/data/events", "upload"),
    ("GET", "/internal/data/uploads", "read"),
    ("GET", "/internal/data/uploads/{id}", "read"),
    ("GET", "/internal/data/uploads/{id}/errors", "read"),
    ("GET", "/internal/usage", "read"),
    ("GET", "/internal/limits", "read"),
    ("POST", "/api/validation/validate?data_type=interactions", "validate"),
    ("GET", "/api/validation/schema/items", "validate"),
    ("GET", "/api/features/users/17", "read"),
    ("GET", "/api/features/items/17", "read"),
    ("POST", "/api/features/users:batchGet", "read"),
    ("POST", "/api/features/items:batchGet", "read"),
    ("POST", "/api/runs", "run"),
    ("GET", "/api/runs/{run}", "run"),
]
OPEN = {"/", "/health", "/health/live", "/health/ready", "/metrics"}
RUN = "0f0e0d0c-0000-4000-8000-000000000000"


@pytest.fixture(scope="module")
def upload_of_acme(acme: Client) -> str:
    sent = acme.upload(
        csv(SECRET_USER) + b",i,click,2026-11-20\n", query="mode=partial&backfill=true"
    )
    found: str = sent.json()["id"]
    return found


def test_every_endpoint_is_in_the_tables_above(served: Served) -> None:
    paths = served.nobody.get("/openapi.json").json()["paths"]
    found = {(method.upper(), path) for path, ops in paths.items() for method in ops}
    tested = {(m, re.sub(r"\?.*", "", p)) for m, p, _ in ENDPOINTS}
    known = {
        (m, re.sub(r"\{\w+\}", "*", p.replace("/17", "/*").replace("schema/items", "schema/*")))
        for m, p in tested
    }
    assert {(m, re.sub(r"\{\w+\}", "*", p)) for m, p in found if p not in OPEN} == known


@pytest.mark.parametrize(("method", "path", "scope"), ENDPOINTS)
def test_nobody_and_wrong_scopes_get_nothing(
    served: Served, upload_of_acme: str, method: str, path: str, scope: str
) -> None:
    path = path.format(id=upload_of_acme, run=RUN)
    for text in ("", "ta_00000000_" + "A" * 43, "a.b.c"):
        refused = Client(served.url, text).call(method, path)
        assert refused.status_code == 401
        assert refused.headers["WWW-Authenticate"].startswith("Bearer")
        assert SECRET_USER not in refused.text
    scopes = [one for one in ("upload", "validate", "read", "run") if one != scope]
    assert served.client("acme", scopes).call(method, path).status_code == 403


@pytest.mark.parametrize(("method", "path", "scope"), ENDPOINTS)
def test_no_endpoint_tells_one_tenant_of_another(
    served: Served, other: Client, upload_of_acme: str, method: str, path: str, scope: str
) -> None:
    path = path.format(id=upload_of_acme, run=RUN)
    body = csv("u") if method == "POST" and "csv" in path else None
    plain = other.call(method, path, data=body)
    assert "acme" not in plain.text.lower()
    assert SECRET_USER not in plain.text
    if upload_of_acme in path:
        assert plain.status_code == 404
    forged = other.call(method, path, data=body, headers={"X-Tenant-ID": "acme"})
    unknown = other.call(method, path, data=body, headers={"X-Tenant-ID": "nobody-knows"})
    assert forged.status_code == unknown.status_code == 403
    without_id = [{**one.json(), "request_id": ""} for one in (forged, unknown)]
    assert without_id[0] == without_id[1]


def test_same_upload_of_two_tenants_is_two(acme: Client, other: Client, place: Path) -> None:
    key = {"Idempotency-Key": "both"}
    sent = [client.upload(csv("both"), headers=key) for client in (acme, other)]
    assert [one.status_code for one in sent] == [201, 201]
    assert sent[0].json()["id"] != sent[1].json()["id"]
    users = {row["user_id"] for row in raw_rows(place / "tenants/other")}
    assert SECRET_USER not in users


def test_metrics_are_for_this_machine_or_their_token(served: Served, tmp_path: Path) -> None:
    assert served.nobody.get("/metrics").status_code == 200
    relayed = served.nobody.get("/metrics", headers={"X-Forwarded-For": "10.0.0.1"})
    assert relayed.status_code == 401
    with serving(lake=str(tmp_path), metrics_token="m" * 20) as alone:
        assert alone.client().get("/metrics").status_code == 401
        assert Client(alone.url, "m" * 20).get("/metrics").status_code == 200


def test_metrics_hold_no_ids_and_a_bounded_number_of_tenants(tmp_path: Path) -> None:
    given = {"lake": str(tmp_path / "l"), "tenants": str(tmp_path / "t"), "metrics_tenants": 1}
    with serving(**given) as alone:
        for tenant in ("one", "two", "three"):
            assert alone.client(tenant).upload(csv("someone-secret")).status_code == 201
        page = alone.nobody.get("/metrics").text
        assert 'tenant="one"' in page
        assert 'tenant="other"' in page
        assert "two" not in page
        assert "someone-secret" not in page
        assert (
            'ingest_rows_total{data_type="interactions",outcome="accepted",tenant="other"} 2.0'
            in page
        )


def test_audit_tells_who_did_what_and_never_content(
    served: Served, acme: Client, place: Path
) -> None:
    acme.upload(csv("audited-user"), headers={"X-Request-ID": "audit-1"})
    served.nobody.get("/internal/usage", headers={"X-Request-ID": "audit-2"})
    served.core.audit.flush()
    own = "".join(p.read_text() for p in (place / "tenants/acme/service/audit").rglob("*.jsonl"))
    calls = {one["request_id"]: one for one in map(json.loads, own.splitlines())}
    call = calls["audit-1"]
    assert (call["action"], call["outcome"], call["rows"]) == (
        "POST /internal/data/upload-csv",
        "accepted",
        1,
    )
    assert call["principal"].startswith("key:")
    nobody = "".join(p.read_text() for p in (place / "tenants/_control/audit").rglob("*.jsonl"))
    assert '"request_id":"audit-2"' in nobody
    everything = own + nobody + served.log.getvalue()
    assert "audited-user" not in everything
    assert acme.text.split("_", 2)[2] not in everything


def test_request_id_is_echoed_unless_it_is_none(acme: Client) -> None:
    assert acme.get("/", headers={"X-Request-ID": "mine-1"}).headers["X-Request-ID"] == "mine-1"
    given = acme.get("/", headers={"X-Request-ID": "a b\tc"}).headers["X-Request-ID"]
    assert re.fullmatch("[0-9a-f]{16}", given)


# Limits.


def test_limits_hold_under_many_clients(tmp_path: Path) -> None:
    given = {"lake": str(tmp_path / "l"), "tenants": str(tmp_path / "t"), "requests_per_minute": 50}
    with serving(**given) as alone:
        client, calm = alone.client("loud"), alone.client("calm")
        with concurrent.futures.ThreadPoolExecutor(200) as pool:
            found = list(pool.map(lambda _: client.get("/internal/limits"), range(200)))
        statuses = [one.status_code for one in found]
        # Counted by the minute, which may end meanwhile.
        assert statuses.count(200) in (50, 100)
        assert statuses.count(200) + statuses.count(429) == 200
        refused = next(one for one in found if one.status_code == 429)
        assert 1 <= int(refused.headers["Retry-After"]) <= 61
        assert calm.get("/internal/limits").status_code == 200


def test_rows_beyond_the_minute_are_refused_and_leave_nothing(tmp_path: Path) -> None:
    with serving(lake=str(tmp_path), rows_per_minute=3) as alone:
        client = alone.client()
        assert client.upload(csv("a", "b")).status_code == 201
        assert client.upload(csv("c", "d")).status_code == 429
        assert client.upload(csv("c", "d", "e", "f")).status_code == 413
        assert {row["user_id"] for row in raw_rows(tmp_path)} == {"a", "b"}
        assert not list((tmp_path / "service").glob("outbox/*"))


# Hostile uploads.


def bombs() -> Iterator[Any]:
    zeros = b"\0" * 2**26
    yield "gzip bomb", gzip.compress(HEADER.encode() + b"x" * 2**26), 413
    yield "gzip of gzip", gzip.compress(gzip.compress(zeros)), 415
    yield "zip", b"PK\x03\x04" + b"\0" * 100, 415
    yield "long line", HEADER.encode() + b"x" * 2**21, 413
    yield "many columns", b",".join([b"c"] * 10**6), 413
    yield "deep json", b'{"a":' * 10**5 + b"1" + b"}" * 10**5, 413
    yield "deep array", b"[" * 10**5, 413
    yield "pickle", b"\x80\x04\x95\x1f\x00.", 415
    yield "nothing", b"", 400
    yield "header only", HEADER.encode(), 400
    yield "no such columns", b"a,b\n1,2\n", 400
    yield "semicolons", csv("u").replace(b",", b";"), 400
    yield "truncated gzip", gzip.compress(csv("u"))[:-5], 400
    yield "null", b"null", 400
    yield "array of numbers", b"[1, 2]", 422
    yield "array of nothing", b"[]", 400


@pytest.mark.parametrize(("content", "status"), [pytest.param(c, s, id=n) for n, c, s in bombs()])
def test_hostile_bodies_get_a_clear_answer_and_the_next_is_served(
    acme: Client, content: bytes, status: int
) -> None:
    for path in ("/internal/data/upload-csv", "/api/validation/validate"):
        sent = acme.post(f"{path}?data_type=interactions", data=content)
        expected = {status} | ({200} if status == 422 else set())
        assert sent.status_code in expected, sent.text[:300]
        # A client has no part in the files of who runs the service.
        assert "sources.toml" not in sent.text
        assert len(sent.content) < 2**20
    assert acme.get("/internal/limits").status_code == 200


def test_parquet_bomb_is_refused(acme: Client) -> None:
    sink = io.BytesIO()
    rows = 2_000_000
    column = pa.DictionaryArray.from_arrays(pa.repeat(pa.scalar(0, pa.int32()), rows), ["u" * 1000])
    pq.write_table(pa.table({"user_id": column}), sink)
    assert len(sink.getvalue()) < 2**20
    sent = acme.upload(sink.getvalue())
    assert sent.status_code == 413


def test_formulas_are_data(acme: Client, place: Path) -> None:
    row = {"item_id": "formula", "title": "=cmd|' /C calc'!A0"}
    assert acme.post("/internal/data/items", json=row).status_code == 201
    rows = raw_rows(place / "tenants/acme", "items")
    assert row["title"] in {one["title"] for one in rows}


@pytest.mark.parametrize(
    "path",
    [
        "/internal/data/uploads/..%2f..%2fkeys",
        "/api/features/users/..%2f..%2fx",
        "/%2e%2e/etc/passwd",
        "/internal/data/uploads/" + "a" * 5000,
    ],
)
def test_paths_lead_nowhere(acme: Client, path: str) -> None:
    assert acme.get(path).status_code in (400, 404)


def exchange(served: Served, sent: bytes) -> bytes:
    """What a client of sockets gets until the server hangs up, or a moment passes."""
    host, _, port = served.url.removeprefix("http://").partition(":")
    with socket.create_connection((host, int(port)), timeout=10) as connection:
        connection.sendall(sent)
        connection.shutdown(socket.SHUT_WR)
        found = b""
        while step := connection.recv(65536):
            found += step
        return found


def test_body_that_breaks_off_leaves_nothing(served: Served, acme: Client, place: Path) -> None:
    content = csv("broken-off")
    head = (
        "POST /internal/data/upload-csv?data_type=interactions HTTP/1.1\r\nHost: x\r\n"
        f"Authorization: Bearer {acme.text}\r\nContent-Length: {len(content) + 9}\r\n\r\n"
    )
    exchange(served, head.encode() + content)
    assert acme.get("/internal/limits").status_code == 200
    users = {row["user_id"] for row in raw_rows(place / "tenants/acme")}
    assert "broken-off" not in users


def test_client_whose_answer_is_lost_asks_again_and_counts_once(
    served: Served, acme: Client, place: Path
) -> None:
    with faulty_wire(int(served.url.rpartition(":")[2])) as wire:
        wire.loses = lambda request: b"POST /internal/data/upload-csv" in request
        behind = Client(f"http://127.0.0.1:{wire.port}", acme.text)
        with pytest.raises(requests.ConnectionError):
            behind.upload(csv("unheard"))
        assert wire.lost == 1
        wire.loses = lambda request: False
        again = behind.upload(csv("unheard"))
    assert (again.status_code, again.json()["replayed"]) == (200, True)
    users = [row["user_id"] for row in raw_rows(place / "tenants/acme")]
    assert users.count("unheard") == 1


def test_garbage_on_the_wire_is_refused(served: Served, acme: Client) -> None:
    head, _, body = exchange(served, b"\x16\x03\x01\x02\x00\x01\r\n\r\n").partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 400 ")
    assert b"Content-Type: application/problem+json" in head
    assert json.loads(body)["status"] == 400
    assert acme.get("/health/live").status_code == 200


@pytest.mark.parametrize(
    "path",
    [
        "/internal/data/upload-csv?data_type=interactions",
        "/api/features/users:batchGet",
        "/api/runs",
    ],
)
def test_slow_client_is_sent_away_and_holds_up_nobody(tmp_path: Path, path: str) -> None:
    with serving(lake=str(tmp_path), body_seconds=0.2, dagster="http://127.0.0.1:9") as alone:
        client = alone.client()
        host, _, port = alone.url.removeprefix("http://").partition(":")
        head = (
            f"POST {path} HTTP/1.1\r\nHost: x\r\n"
            f"Authorization: Bearer {client.text}\r\nContent-Length: 99\r\n\r\n{HEADER}"
        )
        with socket.create_connection((host, int(port)), timeout=30) as slow:
            slow.sendall(head.encode())
            assert client.upload(csv("quick")).status_code == 201
            assert slow.recv(65536).startswith(b"HTTP/1.1 408")
        assert {row["user_id"] for row in raw_rows(tmp_path)} == {"quick"}


# Health, start and stop.


def test_health_follows_the_store(tmp_path: Path, monkeypatch) -> None:
    with serving(lake=str(tmp_path)) as alone:
        assert alone.nobody.get("/health/ready").status_code == 200
        checks = alone.nobody.get("/health").json()["checks"]
        assert checks.keys() == {"store", "outbox", "online"}
        assert {one["state"] for one in checks.values()} == {"ok"}
        alone.core.oldest_seconds = 61
        asyncio.run(alone.health.probe())
        assert alone.nobody.get("/health").json()["checks"]["outbox"]["state"] == "degraded"
        assert alone.nobody.get("/health/ready").json()["status"] == "degraded"

        def broken(*args: object) -> None:
            raise StoreError("the disk is gone")

        monkeypatch.setattr(LocalStore, "put", broken)
        client = alone.nobody
        asyncio.run(alone.health.probe())
        assert client.get("/health/ready").status_code == 503
        assert client.get("/health").json()["status"] == "down"
        assert client.get("/health/live").status_code == 200


def test_failing_store_is_told_without_its_place(tmp_path: Path, monkeypatch) -> None:
    with serving(lake=str(tmp_path)) as alone:
        client = alone.client()

        def broken(*args: object) -> None:
            raise StoreError(f"{tmp_path}: the disk is gone")

        monkeypatch.setattr(LocalStore, "put", broken)
        sent = client.upload(csv("u"))
        assert sent.status_code == 503
        assert int(sent.headers["Retry-After"]) >= 1
        assert str(tmp_path) not in sent.text


def test_dagster_that_does_not_answer_is_to_be_asked_again(tmp_path: Path) -> None:
    with serving(lake=str(tmp_path), dagster="http://127.0.0.1:9") as alone:
        asked = {"assets": ["items"], "start_date": "2026-11-20", "end_date": "2026-11-20"}
        sent = alone.client(scopes=["run"]).post("/api/runs", json=asked)
        assert sent.status_code == 503, sent.text
        assert int(sent.headers["Retry-After"]) >= 1


def test_stopping_service_takes_nothing_new(tmp_path: Path) -> None:
    with serving(lake=str(tmp_path)) as alone:
        client = alone.client()
        alone.core.is_stopping = True
        assert client.upload(csv("u")).status_code == 503
        assert client.get("/health/ready").status_code == 503
        assert client.get("/internal/limits").status_code == 200


def test_store_that_ignores_conditions_is_refused_at_start(tmp_path: Path, monkeypatch) -> None:
    def ignores(self: Any) -> None:
        raise StoreError("the store overwrites an object")

    monkeypatch.setattr(LocalStore, "require_conditions", ignores)
    with (
        pytest.raises((SystemExit, StoreError, RuntimeError, SettingsError)),
        serving(lake=str(tmp_path)),
    ):
        pass


def test_documents_are_whole(served: Served) -> None:
    found = served.nobody.get("/openapi.json").json()
    for path, operations in found["paths"].items():
        for operation in operations.values():
            assert operation["summary"], path
            for answer in operation["responses"].values():
                assert answer["description"]
            if path not in OPEN:
                assert operation["security"] == [{"bearer": []}]
                assert {"401", "403", "429", "503"} <= set(operation["responses"])
    refs = set(re.findall(r"#/components/schemas/(\w+)", json.dumps(found)))
    assert refs <= set(found["components"]["schemas"])


def test_day_is_a_day(acme: Client) -> None:
    assert acme.get("/internal/data/uploads?day=nonsense").status_code == 400
    assert acme.get(f"/internal/data/uploads?day={date.max}").status_code == 200
