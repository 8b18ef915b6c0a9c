"""The same few calls do the same on a local folder and on an object store."""

import os
import pickle
import stat
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar

import pytest

from training_assets.errors import StoreError
from training_assets.lake import LocalStore, RemoteStore, Store, open_store
from training_assets_tests.support.s3 import S3Place


def test_what_was_put_is_read_and_what_is_put_again_is_replaced(store: Store) -> None:
    store.put("a/b", b"one")
    assert store.read("a/b") == b"one"
    store.put("a/b", b"two")
    assert store.read("a/b") == b"two"


def test_many_are_put_and_read_at_once(store: Store) -> None:
    objects = {f"n/{n:03d}": bytes([n]) for n in range(40)}
    store.put_all(objects)
    assert store.read_all(list(objects)) == list(objects.values())
    store.put_all({})
    assert store.read_all([]) == []
    with pytest.raises(FileNotFoundError):
        store.read_all(["n/000", "n/none"])


def test_a_listing_has_all_below_a_folder_in_order_and_nothing_beside_it(store: Store) -> None:
    for path in ("a/b/2", "a/b/1", "a/bc", "a/c/3/4", "d"):
        store.put(path, b"12345")
    assert [entry.path for entry in store.list()] == ["a/b/1", "a/b/2", "a/bc", "a/c/3/4", "d"]
    assert [entry.path for entry in store.list("a/b")] == ["a/b/1", "a/b/2"]
    assert [entry.path for entry in store.list("a/c/")] == ["a/c/3/4"]
    assert list(store.list("none")) == list(store.list("d")) == []


def test_a_listing_has_what_stat_says(store: Store) -> None:
    store.put("a/b", b"12345")
    (entry,) = store.list()
    assert entry == store.stat("a/b")
    assert entry.size == 5
    assert (entry.etag is None) == store.is_local


def test_what_is_replaced_has_another_fingerprint(store: Store) -> None:
    store.put("a", b"one")
    before = store.stat("a")
    store.put("a", b"two")
    assert store.stat("a") != before


@pytest.mark.parametrize("path", ["none", "none/at/all", "a", "a/b/below"])
def test_nothing_is_read_where_nothing_is_or_at_a_folder(store: Store, path: str) -> None:
    store.put("a/b", b"")
    assert store.stat(path) is None
    with pytest.raises(FileNotFoundError):
        store.read(path)


def test_deleting_leaves_alone_what_is_not_there(store: Store) -> None:
    store.put("a/1", b"")
    store.put("a/2", b"")
    store.delete(["none", "a/1", "a/none/deeper", "a/1/below"])
    store.delete([])
    assert [entry.path for entry in store.list()] == ["a/2"]


def test_of_eight_that_put_different_bytes_at_once_one_has_them_there(store: Store) -> None:
    for n in range(10 if store.is_local else 3):
        with ThreadPoolExecutor(8) as pool:
            values = [bytes([i]) * 100 for i in range(8)]
            won = list(pool.map(lambda value, n=n: store.put_new(f"x/{n}", value), values))
        assert won.count(True) == 1
        assert store.read(f"x/{n}") == values[won.index(True)]


def test_who_finds_the_own_bytes_there_already_has_them_there(store: Store) -> None:
    assert store.put_new("x", b"mine")
    assert store.put_new("x", b"mine")
    assert not store.put_new("x", b"others")
    assert store.read("x") == b"mine"


def test_a_child_is_the_store_of_what_lies_under_a_path(store: Store) -> None:
    store.put("a/b/c", b"x")
    assert store.child("a", "b").read("c") == b"x"
    assert store.child("a").child("b") == store.child("a", "b") == open_store(store.uri("a/b"))
    assert store.uri("a/b") == store.child("a").uri("b")


def test_a_store_can_be_sent_to_other_processes(store: Store) -> None:
    store.put("a", b"x")
    sent = pickle.loads(pickle.dumps(store))
    assert sent == store
    assert sent.read("a") == b"x"
    assert {sent: 1}[store] == 1


def test_a_store_that_refuses_a_second_put_of_a_name_passes_and_keeps_no_probe(
    store: Store,
) -> None:
    store.require_conditions()
    assert list(store.list()) == []


def test_no_half_file_is_seen_while_files_are_replaced(local: LocalStore) -> None:
    values = [bytes([n]) * 200_000 for n in range(2)]
    local.put("x", values[0])
    with ThreadPoolExecutor(1) as pool:
        writing = pool.submit(lambda: [local.put("x", values[n % 2]) for n in range(60)])
        while not writing.done():
            assert local.read("x") in values
            assert [entry.path for entry in local.list()] == ["x"]


def test_what_a_killed_put_left_is_unfinished_and_in_no_listing(local: LocalStore) -> None:
    local.put("a/b", b"")
    (local.root / "a" / ".writing-0123456789abcdef").write_bytes(b"half")
    (local.root / "a" / "00000000000000000001.json#1").write_bytes(b"half")
    assert [entry.path for entry in local.list()] == ["a/b"]
    assert [entry.path for entry in local.unfinished()] == [
        "a/.writing-0123456789abcdef",
        "a/00000000000000000001.json#1",
    ]


def test_links_to_folders_are_not_followed(local: LocalStore, tmp_path: Path) -> None:
    local.put("a/b", b"x")
    (local.root / "loop").symlink_to(local.root)
    assert [entry.path for entry in local.list()] == ["a/b", "loop"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_without_permission_is_a_store_error(local: LocalStore) -> None:
    local.put("a", b"x")
    local.root.chmod(stat.S_IRUSR | stat.S_IXUSR)
    with pytest.raises(StoreError, match="Permission denied"):
        local.put("b", b"y")


def test_a_file_where_a_folder_has_to_be_is_a_store_error(local: LocalStore) -> None:
    local.put("a", b"x")
    with pytest.raises(StoreError, match="did not do what it was asked"):
        local.put("a/b", b"y")
    assert local.read("a") == b"x"


def test_a_forked_process_is_told_that_it_cannot_go_on_with_the_connection(
    s3_server: S3Place,
) -> None:
    """It would wait for ever."""
    store = open_store(s3_server.new_url())
    store.put("a", b"x")
    child = os.fork()
    if not child:
        try:
            store.read("a")
        except StoreError as error:
            os._exit(0 if "before this process was forked" in str(error) else 1)
        os._exit(2)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0


def test_a_wrong_secret_is_a_store_error_that_does_not_show_it(
    s3_server: S3Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "a-wrong-secret-of-somebody")
    store = open_store(s3_server.new_url())
    for call in (
        lambda: store.put("a", b""),
        lambda: store.put_new("a", b""),
        lambda: store.read("a"),
        lambda: store.stat("a"),
        store.list,
        store.require_conditions,
    ):
        with pytest.raises(StoreError) as raised:
            call()
        assert "did not do what it was asked" in str(raised.value)
        assert raised.value.__suppress_context__
        assert raised.value.__cause__ is None
        assert "a-wrong-secret" not in str(raised.value)
        assert s3_server.secret not in str(raised.value)


def test_a_bucket_that_is_not_there_is_a_store_error(s3_server: S3Place) -> None:
    store = open_store("s3://no-such-bucket/lake")
    with pytest.raises(StoreError, match="s3://no-such-bucket/lake: the store did not"):
        store.list()


class _TakesEverything(BaseHTTPRequestHandler):
    """A store that does not know conditions: it overwrites and says that all is well."""

    objects: ClassVar[dict[str, bytes]] = {}
    protocol_version = "HTTP/1.1"

    def do_PUT(self) -> None:
        self.objects[self.path] = self.rfile.read(int(self.headers["Content-Length"]))
        self._answer(b"")

    def do_GET(self) -> None:
        self._answer(self.objects.get(self.path, b""))

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self._answer(b"<DeleteResult></DeleteResult>")

    def _answer(self, body: bytes) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("ETag", '"1"')
        self.send_header("Last-Modified", "Thu, 26 Nov 2026 12:00:00 GMT")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: object) -> None:
        """Say nothing."""


@pytest.fixture
def careless_store(monkeypatch: pytest.MonkeyPatch) -> Iterator[RemoteStore]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _TakesEverything)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{server.server_port}")
    yield RemoteStore("s3://careless/lake")
    server.shutdown()
    server.server_close()


def test_a_store_that_ignores_conditions_is_refused(careless_store: RemoteStore) -> None:
    with pytest.raises(StoreError, match="overwrites an object although the put is on condition"):
        careless_store.require_conditions()
