"""Redis or Valkey: a hash for each version, and the pointer as one key.

    {training_assets:users}:state        the pointer
    {training_assets:users}:2026-11-25-… a hash: id -> values

One command reads all ids of an answer. All keys of a table share a hash tag, so that they lie in
one slot of a cluster. The server must not evict keys (``maxmemory-policy noeviction``).
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final

import redis

from training_assets.lake.base import store_error
from training_assets.online.backend import Backend, Id, Rows, VersionGoneError

_TIMEOUT_SECONDS: Final = 5.0


class RedisBackend(Backend):
    """``url`` as redis-py takes it; ``shown`` is the same without login, for people."""

    def __init__(self, url: str, *, prefix: str, shown: str) -> None:
        self.url, self._prefix = shown, prefix
        self._client: Any = redis.Redis.from_url(
            url, socket_timeout=_TIMEOUT_SECONDS, socket_connect_timeout=_TIMEOUT_SECONDS
        )

    def read_state(self, table: str) -> tuple[bytes | None, Any]:
        with self._calling():
            found: bytes | None = self._client.get(self._name(table, "state"))
        return found, found

    def swap_state(self, table: str, state: bytes, token: Any) -> bool:
        name = self._name(table, "state")
        with self._calling(), self._client.pipeline() as pipe:
            pipe.watch(name)
            if pipe.get(name) != token:
                return False
            pipe.multi()
            pipe.set(name, state)
            try:
                pipe.execute()
            except redis.WatchError:
                return False
        return True

    def write(self, table: str, version: str, rows: Rows) -> None:
        name = self._name(table, version)
        with self._calling(), self._client.pipeline(transaction=False) as pipe:
            for ids, values in rows:
                if len(ids):
                    pipe.hset(name, mapping=dict(zip(ids, values, strict=True)))
                    pipe.execute()

    def read(self, table: str, version: str, ids: Sequence[Id]) -> dict[Id, str | bytes]:
        with self._calling():
            found = self._client.hmget(self._name(table, version), list(ids))
        return {key: value for key, value in zip(ids, found, strict=True) if value is not None}

    def drop(self, table: str, version: str) -> None:
        with self._calling():
            self._client.unlink(self._name(table, version))

    def close(self) -> None:
        self._client.close()

    def _name(self, table: str, what: str) -> str:
        return f"{{{self._prefix}:{table}}}:{what}"

    @contextmanager
    def _calling(self) -> Iterator[None]:
        try:
            yield
        except VersionGoneError:
            raise
        except (redis.RedisError, OSError) as error:
            raise store_error(self.url, error) from error
