"""Modules travel to workers unless all of them are threads of this process."""

import inspect
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from pyspark import cloudpickle

from training_assets import kernels, tables
from training_assets.engine import shipping
from training_assets_tests.support.pickling import find_imported_submodules, of_cloudpickle


@pytest.fixture(autouse=True)
def no_session(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """As if the tests' own session were not open."""
    with monkeypatch.context() as patch:
        patch.setattr(shipping._SHIPPED, "are_workers_here", [])
        shipping._SHIPPED.update()
        yield
    shipping._SHIPPED.update()


def travels() -> bool:
    return kernels.__name__ in cloudpickle.list_registry_pickle_by_value()


def test_names_are_enough_while_all_workers_are_here() -> None:
    assert travels()
    with shipping.workers(are_here=True):
        assert not travels()
    assert travels()


@pytest.mark.parametrize("order", [(True, False), (False, True)])
def test_modules_travel_as_long_as_some_workers_are_elsewhere(order: tuple[bool, bool]) -> None:
    with ExitStack() as first, ExitStack() as second:
        first.enter_context(shipping.workers(are_here=order[0]))
        second.enter_context(shipping.workers(are_here=order[1]))
        assert travels()
        (second if order[0] else first).close()
        assert not travels()
        (first if order[0] else second).close()
        assert travels()


def are_shipped(name: str) -> bool:
    shipped = tuple(module.__name__ for module in shipping._SHIPPED.modules)
    return name in shipped or name.startswith(tuple(f"{of}." for of in shipped))


def test_all_that_is_given_batches_is_shipped() -> None:
    assert tables.SPECS
    given = {
        name
        for name, module in sys.modules.items()
        if name.startswith("training_assets.")
        for found in vars(module).values()
        if inspect.isfunction(found) and found.__module__ == name
        for kind in list(inspect.signature(found).parameters.values())[:1]
        if "RecordBatch" in str(kind.annotation) and "Callable" not in str(kind.annotation)
    }
    assert len(given) > 15
    assert [name for name in sorted(given) if not are_shipped(name)] == []


def run_by_workers() -> list[Callable[..., Any]]:
    """Functions of what is shipped that take or give batches of rows."""
    assert tables.SPECS
    return [
        found
        for name, module in sorted(sys.modules.items())
        if are_shipped(name)
        for found in vars(module).values()
        if inspect.isfunction(found)
        and found.__module__ == name
        and any("Batch" in str(kind) for kind in found.__annotations__.values())
    ]


def test_what_workers_run_can_travel() -> None:
    """Sail would not notice, and Spark only where it is installed."""
    functions = run_by_workers()
    assert len(functions) > 30
    for function in functions:
        assert cloudpickle.loads(cloudpickle.dumps(function)), function


def test_submodules_that_functions_name_are_those_that_cloudpickle_finds() -> None:
    found = []
    for function in run_by_workers():
        code, dependencies = function.__code__, list(function.__globals__.values())
        submodules = find_imported_submodules(code, dependencies)
        assert submodules == of_cloudpickle(code, dependencies), function
        found += submodules
    assert found
