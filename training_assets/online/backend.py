"""What a place must be able to do to hold versions; everything else is the same for all."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from typing import Any

Id = int | str
Rows = Iterable[tuple[Sequence[Any], Sequence[str]]]


class VersionGoneError(Exception):
    """A version is not there any more; whoever reads looks at the pointer again."""


class Backend(ABC):
    """Holds one small state for each table, and versions of many rows.

    Errors of the place itself are ``StoreError``. ``url`` names the place, without any secret.
    """

    url: str
    # Whether a read is one of a file of this machine, and waits for no other.
    is_local: bool = False

    @abstractmethod
    def read_state(self, table: str) -> tuple[bytes | None, Any]:
        """The state, None where there is none yet, and a token that stands for it."""

    @abstractmethod
    def swap_state(self, table: str, state: bytes, token: Any) -> bool:
        """Put a state in the place of the one that ``token`` stands for; False if it is gone."""

    @abstractmethod
    def write(self, table: str, version: str, rows: Rows) -> None:
        """Have these rows there, as blocks of (ids, values); nobody reads the version yet."""

    @abstractmethod
    def read(self, table: str, version: str, ids: Sequence[Id]) -> dict[Id, str | bytes]:
        """Values of those of the ids that are there; may raise ``VersionGoneError``."""

    @abstractmethod
    def drop(self, table: str, version: str) -> None:
        """Have nothing of a version there any more."""

    @abstractmethod
    def close(self) -> None:
        """Let go of connections."""
