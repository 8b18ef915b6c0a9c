"""Imports point downwards, Dagster stays in its rooms, and the root of the package stays small."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import training_assets

PACKAGE = Path(training_assets.__file__).parent
# From the ground up: a room may import rooms of its own floor and of those below.
FLOORS = (
    {"schemas", "settings", "errors", "locations", "instance"},
    {"sources", "lake", "engine", "list_format", "sample"},
    {
        "transforms",
        "kernels",
        "provenance",
        "loader",
        "features",
        "sampling",
        "splits",
        "online",
        "transactions",
    },
    {"checks"},
    {"monitoring"},
    {"tables"},
    {"pipeline"},
    {"retention"},
    {"assets", "service"},
    {"definitions", "cli"},
)
FLOOR = {room: number for number, rooms in enumerate(FLOORS) for room in rooms}
IMPORTS_NOTHING_OF_OURS = {"schemas", "list_format", "instance"}
KNOWS_DAGSTER = {"assets", "definitions.py", "instance", "cli", "engine/resource.py"}
MAX_ROOT_MODULES = 8


def modules() -> Iterator[tuple[str, Path]]:
    """Each module below the root's ``__init__``, with its room."""
    for path in sorted(PACKAGE.rglob("*.py")):
        name = path.relative_to(PACKAGE)
        if str(name) != "__init__.py":
            yield name.with_suffix("").parts[0], path


@cache
def imported(path: Path) -> set[str]:
    """Dotted names of what a module imports, those within functions too."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports of our own are absolute"
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def rooms_imported(path: Path) -> set[str]:
    ours = (name.split(".") for name in imported(path))
    return {parts[1] for parts in ours if parts[0] == "training_assets"} - {"spark_session"}


def test_every_room_has_a_floor() -> None:
    assert {room for room, _ in modules()} <= FLOOR.keys()


def test_imports_point_downwards() -> None:
    upwards = {
        f"{path.relative_to(PACKAGE)} imports {other}"
        for room, path in modules()
        for other in rooms_imported(path)
        if FLOOR[other] > FLOOR[room]
    }
    assert not upwards


def test_no_two_rooms_import_each_other() -> None:
    pairs = {(room, other) for room, path in modules() for other in rooms_imported(path)}
    assert not {(a, b) for a, b in pairs if a != b and (b, a) in pairs}


def test_rooms_on_the_ground_import_nothing_of_ours() -> None:
    for room, path in modules():
        if room in IMPORTS_NOTHING_OF_OURS:
            assert rooms_imported(path) <= {room}, path


def test_checks_share_nothing_with_what_builds_the_tables() -> None:
    shared = {"checks", "engine", "errors", "lake", "list_format", "schemas", "settings", "sources"}
    for room, path in modules():
        if room == "checks":
            # Whether a day is up to date is what provenance says.
            allowed = shared | ({"provenance"} if path.stem == "up_to_date" else set())
            assert rooms_imported(path) <= allowed, path


def test_tests_and_package_import_no_benchmarks_and_the_package_no_tests() -> None:
    tests = Path(__file__).parents[1]
    for path in [*PACKAGE.rglob("*.py"), *tests.rglob("*.py")]:
        roots = {name.partition(".")[0] for name in imported(path)}
        assert "benchmarks" not in roots, path
        assert not path.is_relative_to(PACKAGE) or "training_assets_tests" not in roots, path


def test_only_the_rooms_of_dagster_import_it() -> None:
    knows = set()
    for room, path in modules():
        if any(name.split(".")[0].startswith("dagster") for name in imported(path)):
            name = path.relative_to(PACKAGE).as_posix()
            knows.add(name if {name} & KNOWS_DAGSTER else room)
    assert knows == KNOWS_DAGSTER


def test_root_holds_few_modules() -> None:
    assert len(list(PACKAGE.glob("*.py"))) <= MAX_ROOT_MODULES


def test_every_room_says_where_to_begin() -> None:
    for path in PACKAGE.glob("*/__init__.py"):
        text = ast.get_docstring(ast.parse(path.read_text())) or ""
        assert "May import" in text or "Imports nothing of ours" in text, path
        assert "Begin with" in text, path


def test_dagster_is_not_loaded_by_what_pure_code_and_models_import() -> None:
    statements = (
        "from training_assets import spark_session",
        "from training_assets import build_training_input",
        "import training_assets.pipeline, training_assets.loader, training_assets.sample.generate",
    )
    look = "print([name for name in sys.modules if 'dagster' in name])"
    code = "\n".join(("import sys", *(f"{statement}; {look}" for statement in statements)))
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    found = dict(zip(statements, done.stdout.splitlines(), strict=True))
    assert found == dict.fromkeys(statements, "[]")
