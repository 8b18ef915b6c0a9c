"""Who wants to know how far a build is: a process that shows it sets itself as the watcher."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Final, Protocol

if TYPE_CHECKING:
    from training_assets.pipeline.build import DayReport


class Watcher(Protocol):
    """Is told of a build as it goes on, in the thread that builds."""

    def begins(self, days: Mapping[str, int]) -> None:
        """The tables that will be built, in their order, each with its number of days."""

    def step(self, table: str, name: str) -> None:
        """The step of a table that begins now, for all its days."""

    def settled(self, report: "DayReport") -> None:
        """What became of one day of one table."""


class _Nobody:
    def begins(self, days: Mapping[str, int]) -> None:
        pass

    def step(self, table: str, name: str) -> None:
        pass

    def settled(self, report: "DayReport") -> None:
        pass


_watcher: ContextVar[Watcher] = ContextVar("watcher")
_NOBODY: Final = _Nobody()


@contextmanager
def watched_by(watcher: Watcher) -> Iterator[None]:
    """Builds of this thread tell ``watcher`` how far they are, while the block lasts."""
    token = _watcher.set(watcher)
    try:
        yield
    finally:
        _watcher.reset(token)


def current_watcher() -> Watcher:
    """Who watches, or one who does not mind."""
    return _watcher.get(_NOBODY)
