"""Takes events to the log: those of all requests that wait are read, judged and sent at once.

To judge one takes as long as to judge a thousand. One thread does all of it, and asks for what the
log reports: several would contend for the interpreter for each message.
"""

import asyncio
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from typing import Final, NamedTuple

from training_assets.service.event_log import EventLog, Sending
from training_assets.service.event_rows import Events
from training_assets.service.judging import Documents, Verdict, judge_together
from training_assets.service.problems import Problem
from training_assets.service.terms import PLAIN, Deliveries

_MAX_ROWS: Final = 2000
_REPORT_SECONDS: Final = 0.001
_STOP_SECONDS: Final = 30


_Key = tuple[str, Deliveries]


class Taken(NamedTuple):
    """What was said of the events of a request, and the ids of those that the log has."""

    verdict: Verdict
    ids: Sequence[str]


@dataclass(frozen=True, eq=False)
class _Request:
    """``read`` gives its events, or raises ``Problem``."""

    read: Callable[[], Events]
    key: _Key
    tenant: str
    is_strict: bool
    done: "asyncio.Future[Taken]"

    def answer(self, answer: "Taken | Exception") -> None:
        _answer_all([(self, answer)])

    def answer_here(self, answer: "Taken | Exception") -> None:
        """The same in the loop that waits for it."""
        if self.done.done():
            return
        if isinstance(answer, Taken):
            self.done.set_result(answer)
        elif isinstance(answer, StopIteration):
            # A future takes none.
            self.done.set_exception(RuntimeError(repr(answer)))
        else:
            self.done.set_exception(answer)


def _answer_all(answers: "Sequence[tuple[_Request, Taken | Exception]]") -> None:
    """Wakes each loop once, which takes longer than to answer."""
    by_loop = defaultdict(list)
    for one, answer in answers:
        by_loop[one.done.get_loop()].append((one, answer))
    for loop, own in by_loop.items():
        # The service may have stopped waiting.
        with suppress(RuntimeError):
            loop.call_soon_threadsafe(_answer_here, own)


def _answer_here(answers: "Sequence[tuple[_Request, Taken | Exception]]") -> None:
    for one, answer in answers:
        one.answer_here(answer)


_Read = tuple[_Request, Events]


class Gathering:
    """Requests that come while others are judged are judged next, together.

    None changes what is said of another: what is judged stands under the table's own names, and
    only those are together that are judged alike.
    """

    def __init__(self, log: EventLog) -> None:
        self._log = log
        self._asked: SimpleQueue[_Request | None] = SimpleQueue()
        self._begun: list[_Request] = []
        self._sent: list[tuple[_Request, Taken, Sending]] = []
        self._is_open = True
        self._is_over = False
        self._thread = threading.Thread(target=self._run, name="events", daemon=True)
        self._thread.start()

    async def take(
        self,
        read: Callable[[], Events],
        data_type: str,
        tenant: str,
        by: Deliveries = PLAIN,
        *,
        is_strict: bool = False,
    ) -> Taken:
        """What became of the events that ``read`` gives, once all replicas have the good ones.

        ``read`` is called in the thread. Raises ``Problem``, and what it raises.
        """
        done: asyncio.Future[Taken] = asyncio.get_running_loop().create_future()
        self._asked.put(_Request(read, (data_type, by), tenant, is_strict, done))
        if self._is_over:
            self._refuse_all()
        return await done

    def require_running(self) -> None:
        """Raises ``Problem`` 503 once no events are taken any more."""
        if self._is_over:
            raise _stopping()

    def close(self) -> None:
        """Ends once the log has said of all that was sent what became of it."""
        self._asked.put(None)
        self._thread.join(_STOP_SECONDS)

    def _run(self) -> None:
        try:
            while self._is_open or self._sent:
                self._step()
        finally:
            self._is_over = True
            self._refuse_all()

    def _step(self) -> None:
        some = [self._asked.get()] if self._is_open and not self._sent else []
        while not self._asked.empty():
            some.append(self._asked.get())
        self._is_open = self._is_open and None not in some
        self._begun = [*filter(None, some)]
        alike: dict[_Key, list[_Read]] = defaultdict(list)
        for one in self._begun:
            with _answering(one):
                alike[one.key].append((one, one.read()))
        for key, requests in alike.items():
            for together in _together(requests):
                self._take(together, key)
        if self._sent:
            self._ask()
            self._answer_sent()

    def _ask(self) -> None:
        try:
            self._log.ask(_REPORT_SECONDS if self._asked.empty() else 0)
        except Exception:
            # Each sending ends in time, whatever is told of it.
            time.sleep(_REPORT_SECONDS)

    def _refuse_all(self) -> None:
        """Who still waits is told so; those that have an answer keep it."""
        waiting = [*self._begun, *(one for one, _, _ in self._sent)]
        with suppress(Empty):
            while True:
                waiting += filter(None, [self._asked.get_nowait()])
        for one in waiting:
            one.answer(_stopping())

    def _take(self, some: Sequence[_Read], key: _Key) -> None:
        data_type, by = key
        try:
            documents = [Documents(events.rows, events.names) for _, events in some]
            found = judge_together(documents, data_type, by)
        except Exception as error:
            if len(some) == 1:
                some[0][0].answer(error)
                return
            # Whose it is shows when each is judged by itself.
            for single in some:
                self._take([single], key)
            return
        for (one, events), (verdict, numbers) in zip(some, found, strict=True):
            with _answering(one):
                _require_good(verdict, is_strict=one.is_strict)
                good = events.only(numbers)
                sending = self._log.send(data_type, one.tenant, good)
                self._sent.append((one, Taken(verdict, good.ids), sending))

    def _answer_sent(self) -> None:
        answers, waiting = [], []
        for one, taken, sending in self._sent:
            if sending.is_over:
                answers.append((one, _answer_of(taken, sending)))
            else:
                waiting.append((one, taken, sending))
        if answers:
            _answer_all(answers)
            self._sent = waiting


def _answer_of(taken: Taken, sending: Sending) -> "Taken | Exception":
    try:
        sending.require_taken()
    except Problem as problem:
        return problem
    return taken


@contextmanager
def _answering(one: _Request) -> Iterator[None]:
    """What goes wrong is the answer."""
    try:
        yield
    except Exception as error:
        one.answer(error)


def _stopping() -> Problem:
    return Problem(
        "unavailable",
        "The service is stopping; send it again, with the same Idempotency-Key or ids.",
    )


def _require_good(verdict: Verdict, *, is_strict: bool) -> None:
    if verdict.rejected and (is_strict or not verdict.accepted):
        raise Problem(
            "rejected_rows",
            f"{verdict.rejected} of {verdict.rows} events are not valid; none was taken.",
            **verdict.report,
        )


def _together(requests: Sequence[_Read]) -> Iterator[list[_Read]]:
    some: list[_Read] = []
    rows = 0
    for one in requests:
        if some and rows + len(one[1]) > _MAX_ROWS:
            yield some
            some, rows = [], 0
        some.append(one)
        rows += len(one[1])
    yield some
