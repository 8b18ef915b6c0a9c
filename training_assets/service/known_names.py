"""Keeps what is made of the names in events, as far as these are short: clients choose them."""

from collections.abc import Callable
from functools import lru_cache, wraps
from typing import Concatenate, Final, ParamSpec, TypeVar

_MAX_KNOWN: Final = 1000
_MAX_BYTES: Final = 2**14
# What a name takes beside its letters.
_BYTES_PER_NAME: Final = 64

_Others = ParamSpec("_Others")
_Made = TypeVar("_Made")
_OfNames = Callable[Concatenate[str, tuple[str, ...], _Others], _Made]


def kept(make: _OfNames[_Others, _Made]) -> _OfNames[_Others, _Made]:
    """The same function, which remembers what it made of a data type and few names."""
    known = lru_cache(_MAX_KNOWN)(make)

    @wraps(make)
    def found(
        data_type: str, names: tuple[str, ...], *args: _Others.args, **kwargs: _Others.kwargs
    ) -> _Made:
        size = _BYTES_PER_NAME * len(names) + sum(map(len, names))
        return (known if size <= _MAX_BYTES else make)(data_type, names, *args, **kwargs)

    return found
