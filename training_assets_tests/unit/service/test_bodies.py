"""Bodies, hostile until they are read: packed, in forms, broken, too large, too deep."""

import asyncio
import gzip
import hashlib
import io
import json
import os
import tracemalloc
import zlib
from collections.abc import AsyncIterator, Callable
from dataclasses import replace

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from training_assets.service.bodies import Body, receive, unpack
from training_assets.service.problems import Problem
from training_assets.service.settings import ServiceSettings
from training_assets.service.shapes import format_of, record_spans, require_shape

CSV = b"user_id,item_id\n1,2\n"
SMALL = ServiceSettings(max_packed_bytes=2**21, max_bytes=2**22, max_line_bytes=2**20)


def unpacked(content: bytes, settings: ServiceSettings = SMALL, **headers: str) -> bytes:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    body = unpack(io.BytesIO(content), named, settings)
    try:
        return body.file.read()
    finally:
        body.close()


def zstd(content: bytes) -> bytes:
    packed: bytes = pa.compress(content, "zstd", asbytes=True)
    return packed


def form(content: bytes, *parts: bytes, end: bytes = b"--X--\r\n") -> bytes:
    own = b'--X\r\nContent-Disposition: form-data; name="file"; filename="../../etc/x"\r\n\r\n'
    return b"".join([*parts, own, content, b"\r\n", end])


FORM = "multipart/form-data; boundary=X"


@pytest.mark.parametrize("pack", [bytes, gzip.compress, zstd])
def test_content_is_the_same_however_it_is_packed(pack: Callable[[bytes], bytes]) -> None:
    body = unpack(io.BytesIO(pack(CSV)), {}, SMALL)
    assert body.file.read() == CSV
    assert (body.size, body.sha256) == (len(CSV), hashlib.sha256(CSV).hexdigest())
    body.close()


def test_gzip_of_several_members_is_read_whole() -> None:
    big = os.urandom(2**20) * 3
    assert unpacked(gzip.compress(CSV) + gzip.compress(CSV) + b"\0" * 9) == CSV * 2
    assert unpacked(gzip.compress(big, 0)[: 2**30], replace(SMALL, max_ratio=300)) == big


@pytest.mark.parametrize(
    ("content", "headers", "kind"),
    [
        (gzip.compress(CSV, mtime=0)[:-9], {}, "unreadable"),
        (gzip.compress(CSV, mtime=0)[:12], {}, "unreadable"),
        (gzip.compress(CSV, mtime=0) + b"more", {}, "unreadable"),
        (zstd(CSV)[:-3], {}, "unreadable"),
        (CSV, {"content_encoding": "gzip"}, "unreadable"),
        (CSV, {"content_encoding": "br"}, "unsupported_format"),
        (zlib.compress(CSV), {"content_encoding": "deflate"}, "unsupported_format"),
        (form(CSV, end=b""), {"content_type": FORM}, "unreadable"),
        (form(CSV)[:40], {"content_type": FORM}, "unreadable"),
        (form(CSV, form(CSV, end=b"")), {"content_type": FORM}, "unreadable"),
        (CSV, {"content_type": "multipart/form-data"}, "unreadable"),
        (CSV, {"content_type": FORM}, "unreadable"),
        (b"--X--\r\n", {"content_type": FORM}, "unreadable"),
    ],
)
def test_broken_bodies_are_refused(content: bytes, headers: dict[str, str], kind: str) -> None:
    with pytest.raises(Problem) as refused:
        unpacked(content, **headers)
    assert refused.value.kind == kind


def test_one_file_is_taken_out_of_a_form() -> None:
    field = b'--X\r\nContent-Disposition: form-data; name="note"\r\n\r\nhello\r\n'
    assert unpacked(form(CSV, field), content_type=FORM) == CSV
    assert unpacked(form(gzip.compress(CSV)), content_type=FORM) == CSV


@pytest.mark.parametrize("pack", [gzip.compress, zstd])
def test_bomb_ends_at_the_bound_in_little_memory(pack: Callable[[bytes], bytes]) -> None:
    bomb = pack(b"\0" * 2**25)
    tracemalloc.start()
    try:
        with pytest.raises(
            Problem, match=r"unpacks to more than 200 times|unpacked body is larger"
        ):
            unpacked(bomb)
        assert tracemalloc.get_traced_memory()[1] < 2**24
    finally:
        tracemalloc.stop()


def received(chunks: list[bytes | float], headers: dict[str, str] | None = None) -> bytes:
    async def stream() -> AsyncIterator[bytes]:
        for chunk in chunks:
            if isinstance(chunk, float):
                await asyncio.sleep(chunk)
            else:
                yield chunk

    settings = replace(SMALL, body_seconds=0.05)

    async def run() -> bytes:
        spool = await receive(stream(), headers or {}, settings)
        spool.seek(0)
        return spool.read()

    return asyncio.run(run())


def test_body_is_received_in_pieces() -> None:
    assert received([b"ab", b"", b"c"]) == b"abc"


@pytest.mark.parametrize(
    ("chunks", "headers", "kind"),
    [
        ([b"x" * 2**20] * 3, {}, "too_large"),
        ([], {"content-length": str(2**40)}, "too_large"),
        ([b"a", 5.0], {}, "timeout"),
    ],
)
def test_large_and_slow_bodies_are_sent_away(
    chunks: list[bytes | float], headers: dict[str, str], kind: str
) -> None:
    with pytest.raises(Problem) as refused:
        received(chunks, headers)
    assert refused.value.kind == kind


# Shapes.


def parquet(**columns: list[object]) -> bytes:
    sink = io.BytesIO()
    pq.write_table(pa.table(columns), sink)
    return sink.getvalue()


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (CSV, "csv"),
        (b"\xef\xbb\xbf" + CSV, "csv"),
        (b' \n[{"a": 1}]', "json"),
        (b'{"a": 1}\n{"a": 2}\n', "jsonl"),
        (b'{"a": 1}', "jsonl"),
        (b'{\n "a": 1\n}', "json"),
        (b'{"a": "' + b"x" * 9000 + b'"}\n', "jsonl"),
        (parquet(a=[1]), "parquet"),
    ],
)
def test_content_says_what_it_is(new_body: Callable[..., Body], content: bytes, found: str) -> None:
    assert format_of(new_body(content)) == found


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (b"", "unreadable"),
        (b" \n\t", "unreadable"),
        (b"PK\x03\x04" + b"\0" * 30, "unsupported_format"),
        (b"%PDF-1.7\n\x00\x01", "unsupported_format"),
        ("user_id,ä".encode("utf-16"), "unsupported_format"),
        (b"\x80\x04\x95\x00\x00.", "unsupported_format"),
    ],
)
def test_other_content_is_refused(new_body: Callable[..., Body], content: bytes, kind: str) -> None:
    with pytest.raises(Problem) as refused:
        format_of(new_body(content))
    assert refused.value.kind == kind


def shape_of(content: bytes, settings: ServiceSettings = SMALL) -> None:
    body = unpack(io.BytesIO(content), {}, settings)
    try:
        require_shape(body, format_of(body), settings)
    finally:
        body.close()


DEEP = b'{"a":' * 21 + b"1" + b"}" * 21
LEVEL = b'{"a":' * 20 + b"1" + b"}" * 20


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"user_id\n" + b"x" * (2**20 + 1), "line is longer"),
        (b"x" * (2**20 + 1), "line is longer"),
        (b"a\n" + b"x\n" * 9 + b"y" * (2**20 + 1) + b"\nz", "line is longer"),
        (b",".join([b"c"] * 101) + b"\n1", "more than 100 columns"),
        (b";".join([b"c"] * 200_000), "more than 100 columns"),
        (DEEP, "nested deeper"),
        (b"[" * 100_000, "nested deeper"),
        (b'{"b":2}\n' + DEEP + b"\n", "nested deeper"),
        (b'[{"a": "]]]]]]]]]]]]]]]]]]]]]]"}, ' + DEEP + b"]", "nested deeper"),
        (b'[{"a": "\\"]]]]]]]]]]]]]]]]]]]]]]"}, ' + DEEP + b"]", "nested deeper"),
        (b'[{"a": "' + b"x" * (2**20 + 1) + b'"}]', "record is longer"),
        (parquet(**{f"c{n}": [1] for n in range(101)}), "more than 100 columns"),
        (parquet(a=[1])[:-4] + b"PAR0", "cannot be read"),
        (b"PAR1" + b"x" * 100, "cannot be read"),
    ],
)
def test_shapes_of_no_honest_file_are_refused(content: bytes, message: str) -> None:
    with pytest.raises(Problem, match=message):
        shape_of(content)


@pytest.mark.parametrize(
    "content",
    [
        b",".join([b"c"] * 100) + b"\n",
        LEVEL,
        b"[" + b",".join([b'{"a": "' + b"{" * 500 + b'\\""}'] * 9000) + b"]",
        (b'{"a": "' + b"[" * 30 + b'"}\n') * 5,
        (b"x" * 999 + b"\n") * 3000,
    ],
)
def test_shapes_within_the_limits_are_taken(content: bytes) -> None:
    shape_of(content)


VALUES = st.recursive(
    st.none() | st.text(max_size=8) | st.integers(0, 9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner),
    max_leaves=12,
)


def depth_of(value: object) -> int:
    if isinstance(value, dict):
        return 1 + max(map(depth_of, value.values()), default=0)
    return 1 + max(map(depth_of, value), default=0) if isinstance(value, list) else 0


@given(st.lists(st.dictionaries(st.text(max_size=4), VALUES, max_size=3), max_size=5))
def test_depth_is_that_of_the_parsed_document(records: list[dict[str, object]]) -> None:
    content = json.dumps(records, ensure_ascii=False).encode()
    depth = depth_of(records)
    body = unpack(io.BytesIO(content), {}, SMALL)
    require_shape(body, "json", replace(SMALL, max_nesting=max(1, depth)))
    body.file.seek(0)
    assert [json.loads(one) for one in record_spans(body.file)] == records
    if depth > 1:
        with pytest.raises(Problem, match="nested deeper"):
            require_shape(body, "json", replace(SMALL, max_nesting=depth - 1))
    body.close()
