"""The last results of a function that travels to workers.

The caches of functools are pickled by their name, which workers without this package cannot look
up; what is kept here stays behind when the function travels.
"""

from collections.abc import Callable
from functools import wraps
from typing import TypeVar

_Result = TypeVar("_Result")


class _Kept(dict):  # type: ignore[type-arg]  # keys are the arguments, values the results
    def __reduce__(self) -> tuple[type["_Kept"], tuple[()]]:
        return _Kept, ()


def kept(last: int) -> Callable[[Callable[..., _Result]], Callable[..., _Result]]:
    """Keep the ``last`` results of a function of hashable arguments."""

    def keeping(function: Callable[..., _Result]) -> Callable[..., _Result]:
        results = _Kept()

        @wraps(function)
        def asked(*arguments: object) -> _Result:
            try:
                return results[arguments]  # type: ignore[no-any-return]
            except KeyError:
                result = results[arguments] = function(*arguments)
            while len(results) > last:
                # Another thread may have taken the oldest one away.
                results.pop(next(iter(tuple(results)), None), None)
            return result

        return asked

    return keeping
