"""How functions reach the workers of an engine: with the modules that they need, or by their names.

Workers of a cluster have pyarrow and NumPy but need not have this package, so its modules travel
inside of what is sent. Sail runs in this process: there the names are enough, and nothing is
pickled and loaded again, which would take a few tenths of a second for each query.
"""

from types import ModuleType
from typing import Final

from pyspark import cloudpickle


class _Shipped:
    """The modules that travel; none does while the workers are threads of this process."""

    def __init__(self) -> None:
        self.modules: list[ModuleType] = []
        self.are_workers_here = False

    def register(self) -> None:
        for module in () if self.are_workers_here else self.modules:
            cloudpickle.register_pickle_by_value(module)


_SHIPPED: Final = _Shipped()


def ship(*modules: ModuleType) -> None:
    """Let these modules, or packages with all that is in them, travel to workers elsewhere."""
    _SHIPPED.modules += [module for module in modules if module not in _SHIPPED.modules]
    _SHIPPED.register()


def workers_are_here(are_here: bool) -> None:
    """Whether the workers of the session that begins are threads of this process."""
    if are_here and not _SHIPPED.are_workers_here:
        for module in _SHIPPED.modules:
            cloudpickle.unregister_pickle_by_value(module)
    _SHIPPED.are_workers_here = are_here
    _SHIPPED.register()


def are_workers_here() -> bool:
    return _SHIPPED.are_workers_here
