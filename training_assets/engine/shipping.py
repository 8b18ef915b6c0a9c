"""How functions reach the workers of an engine: with the modules that they need, or by their names.

Workers of a cluster have pyarrow and NumPy but need not have this package, so its modules travel
inside of what is sent. Sail runs in this process: there the names are enough, and nothing is
pickled and loaded again, which would take a few tenths of a second for each query.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Final

from pyspark import cloudpickle


class _Shipped:
    """The modules that travel, unless all open sessions have their workers in this process."""

    def __init__(self) -> None:
        self.modules: list[ModuleType] = []
        self.are_workers_here: list[bool] = []  # of each open session

    def update(self) -> None:
        travel = not self.are_workers_here or not all(self.are_workers_here)
        registered = cloudpickle.list_registry_pickle_by_value()
        for module in self.modules:
            if travel:
                cloudpickle.register_pickle_by_value(module)
            elif module.__name__ in registered:
                cloudpickle.unregister_pickle_by_value(module)


_SHIPPED: Final = _Shipped()


def ship(*modules: ModuleType) -> None:
    """Let these modules, or packages with all that is in them, travel to workers elsewhere."""
    _SHIPPED.modules += [module for module in modules if module not in _SHIPPED.modules]
    _SHIPPED.update()


@contextmanager
def workers(*, are_here: bool) -> Iterator[None]:
    """A session is open whose workers are threads of this process, or elsewhere."""
    _SHIPPED.are_workers_here.append(are_here)
    _SHIPPED.update()
    try:
        yield
    finally:
        _SHIPPED.are_workers_here.remove(are_here)
        _SHIPPED.update()
