"""Judges the events of all requests that wait, at once: one takes as long as a thousand."""

import asyncio
from collections import defaultdict
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Final

from training_assets.service.judging import Documents, Verdict, judge_together
from training_assets.service.settings import ServiceSettings
from training_assets.service.terms import PLAIN, Deliveries

_MAX_ROWS: Final = 2000

_Found = tuple[Verdict, list[int]]
_Key = tuple[str, Deliveries]
_Waiting = tuple[Documents, "asyncio.Future[_Found]"]


class Gathering:
    """Requests that come while others are judged are judged next, together.

    None changes what is said of another: what is judged stands under the table's own names, and
    only those are together that are judged alike.
    """

    def __init__(self, settings: ServiceSettings) -> None:
        self._settings = settings
        self._waiting: dict[_Key, list[_Waiting]] = defaultdict(list)
        self._running: dict[_Key, asyncio.Task[None]] = {}

    async def judge(self, documents: Documents, data_type: str, by: Deliveries = PLAIN) -> _Found:
        """The verdict of these, and the numbers of the good ones; raises ``Problem``."""
        done: asyncio.Future[_Found] = asyncio.get_running_loop().create_future()
        key = data_type, by
        self._waiting[key].append((documents, done))
        if key not in self._running:
            self._running[key] = asyncio.create_task(self._run(key))
        return await done

    async def _run(self, key: _Key) -> None:
        try:
            while waiting := self._waiting.pop(key, None):
                for some in _together(waiting):
                    await self._judge(some, key)
        finally:
            del self._running[key]

    async def _judge(self, some: Sequence[_Waiting], key: _Key) -> None:
        data_type, by = key
        documents = [one for one, _ in some]
        try:
            found = await asyncio.to_thread(
                partial(judge_together, documents, data_type, self._settings, by)
            )
        except Exception as error:
            if len(some) > 1:
                # Whose it is shows when each is judged by itself.
                for one in some:
                    await self._judge([one], key)
            elif not some[0][1].done():
                some[0][1].set_exception(error)
            return
        for (_, done), verdict in zip(some, found, strict=True):
            if not done.done():
                done.set_result(verdict)


def _together(waiting: Sequence[_Waiting]) -> Iterator[list[_Waiting]]:
    some: list[_Waiting] = []
    rows = 0
    for one in waiting:
        if some and rows + len(one[0].rows) > _MAX_ROWS:
            yield some
            some, rows = [], 0
        some.append(one)
        rows += len(one[0].rows)
    yield some
