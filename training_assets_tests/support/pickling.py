"""What cloudpickle asks of all loaded modules, from an index of them.

For each function that travels it looks through ``sys.modules`` for submodules that the function
names. A run of all tests has loaded thousands, and this took half of what Spark's driver did.
"""

import sys
from collections.abc import Iterable
from types import CodeType, ModuleType

import pytest
from pyspark.cloudpickle import cloudpickle


class _Submodules:
    """Names of the modules within a package, and what a function must name to reach each."""

    def __init__(self) -> None:
        self._loaded: list[str] = []
        self._found: dict[str, list[tuple[str, frozenset[str]]]] = {}

    def of(self, package: str) -> list[tuple[str, frozenset[str]]]:
        if (loaded := list(sys.modules)) != self._loaded:
            self._loaded, self._found = loaded, {}
        if package not in self._found:
            prefix = f"{package}."
            self._found[package] = [
                (name, frozenset(name.removeprefix(prefix).split(".")))
                for name in loaded
                if name.startswith(prefix)
            ]
        return self._found[package]


_SUBMODULES = _Submodules()
of_cloudpickle = cloudpickle._find_imported_submodules


def find_imported_submodules(code: CodeType, dependencies: Iterable[object]) -> list[ModuleType]:
    """As cloudpickle's own function of this name, in the same order."""
    named = frozenset(code.co_names)
    return [
        sys.modules[name]
        for package in dependencies
        if isinstance(package, ModuleType) and getattr(package, "__package__", "")
        for name, words in _SUBMODULES.of(package.__name__)
        if words <= named
    ]


@pytest.fixture(scope="session", autouse=True)
def quick_submodules() -> None:
    cloudpickle._find_imported_submodules = find_imported_submodules
