"""What arrives in data, and what is secret, goes nowhere it should not; see docs/security.md."""

import ast
import contextlib
import json
import os
import pickle
import re
import tomllib
import traceback
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import dagster as dg
import pyarrow as pa
import pytest
from click.testing import CliRunner
from dagster._core.snap.job_snapshot import JobSnap
from dagster._utils.error import serializable_error_info_from_exc_info
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from pyspark.sql import SparkSession

import training_assets
from training_assets import spark_session
from training_assets.assets.metadata import check_metadata, day_metadata, histogram_markdown
from training_assets.cli import main
from training_assets.cli.console import console
from training_assets.definitions import BACKFILL_JOB, RUN_CONFIG, build_definitions
from training_assets.engine import resource as resources
from training_assets.engine import session as sessions
from training_assets.engine.resource import SparkResource
from training_assets.errors import EngineError, RawDataError, SchemaError, StoreError
from training_assets.lake import Lake
from training_assets.list_format import SealedParquet
from training_assets.pipeline import build_days, vacuum_lake
from training_assets.schemas import (
    CLICKS,
    IMPRESSIONS,
    PREVIOUS_ORDERS,
    QUARANTINE,
    RAW_TABLES,
    TRAINING_INPUT,
    UNIFIED_ACTIONS,
)
from training_assets.settings import Settings
from training_assets.sources import find_raw_days, printable
from training_assets_tests.support.frames import DAY, before, click, ranking
from training_assets_tests.support.late_lakes import rows_of
from training_assets_tests.support.planting import publish_day, sealed
from training_assets_tests.support.raw_input import (
    NOON,
    clicks,
    csv_lines,
    json_lines,
    orders,
    put,
    put_rows,
    read,
)
from training_assets_tests.support.tables import SEQUENCE

ROOT = Path(__file__).parents[2]
INSTALLED = ("test", "torch", "completejourney")
FOLDER = f"dt={DAY}"
GOOD = clicks((1, 1))
SECRET = "s3cr3t-0f-the-endp01nt"
beside_sail = pytest.mark.parametrize("engine", ["sail"], indirect=True)

# --- links ----------------------------------------------------------------------------------------


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    """A folder beside the lake, with a file of good clicks."""
    folder = tmp_path / "outside"
    folder.mkdir()
    (folder / "a.csv").write_text(csv_lines(GOOD))
    return folder


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A lake with one good click."""
    put_rows(tmp_path / "lake", "csv", GOOD)
    return tmp_path / "lake"


def link(root: Path, name: str, target: Path, table: str = "clicks") -> Path:
    path = root / "raw" / table / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.symlink_to(target)
    return path


@pytest.mark.parametrize("is_relative", [False, True])
def test_file_that_is_a_link_out_of_the_lake_is_refused(
    root: Path, outside: Path, is_relative: bool
) -> None:
    target = Path("../../../../outside/a.csv") if is_relative else outside / "a.csv"
    link(root, f"{FOLDER}/link.csv", target)
    with pytest.raises(RawDataError) as caught:
        find_raw_days(Lake.at(root), CLICKS, [DAY])
    expected = f"raw/clicks/{FOLDER}/link.csv: the link leads out of the lake's raw folder, to "
    assert expected + str(outside / "a.csv") in str(caught.value)


def test_day_that_is_a_link_out_of_the_lake_is_refused(root: Path, outside: Path) -> None:
    link(root, f"dt={before(1)}", outside)
    with pytest.raises(RawDataError, match=rf"dt={before(1)}: the link leads out of the lake"):
        find_raw_days(Lake.at(root), CLICKS, [before(1)])


def test_flat_file_that_is_a_link_out_of_the_lake_is_refused(tmp_path: Path, outside: Path) -> None:
    (outside / "o.csv").write_text(csv_lines(orders(DAY)))
    link(tmp_path / "lake", "orders.csv", outside / "o.csv", "previous_orders")
    with pytest.raises(RawDataError, match=r"raw/previous_orders/orders\.csv: the link leads out"):
        find_raw_days(Lake.at(tmp_path / "lake"), PREVIOUS_ORDERS, [DAY])


def test_links_within_the_raw_folder_are_read(root: Path) -> None:
    link(root, f"dt={before(1)}", root / "raw" / "clicks" / FOLDER)
    link(root, f"dt={before(2)}/again.csv", Path("..") / FOLDER / "a.csv")
    for day in (before(1), before(2)):
        assert read(root, days=[day]) == ([click(1, 1, day, NOON)], [])


@pytest.mark.parametrize("part", ["raw", "raw/clicks"])
def test_raw_folder_and_folder_of_a_table_may_be_links(
    root: Path, tmp_path: Path, part: str
) -> None:
    other = tmp_path / "other"
    (other / part).parent.mkdir(parents=True)
    (other / part).symlink_to(root / part)
    link(root, f"dt={before(1)}", root / "raw" / "clicks" / FOLDER)
    assert read(other) == ([click(1, 1, DAY, NOON)], [])
    assert len(read(other, days=[before(1)]).valid) == 1


@pytest.mark.parametrize("kind", ["to nothing", "to itself", "to a folder"])
def test_link_that_is_no_file_is_refused_and_not_passed_over(root: Path, kind: str) -> None:
    targets = {"to nothing": "gone", "to itself": "odd.csv", "to a folder": "."}
    link(root, f"{FOLDER}/odd.csv", Path(targets[kind]))
    with pytest.raises(RawDataError, match=r"odd\.csv: it is neither a file nor a folder but a"):
        find_raw_days(Lake.at(root), CLICKS, [DAY])


def files_in(folder: Path) -> dict[str, bytes]:
    return {str(p): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def test_vacuum_removes_nothing_behind_a_link(root: Path, outside: Path) -> None:
    lake, rows = Lake.at(root), UNIFIED_ACTIONS.arrow_schema.empty_table()
    publish_day(lake, UNIFIED_ACTIONS, before(1), rows)
    (root / "unified_actions" / FOLDER).symlink_to(outside)
    seen = files_in(outside)
    for path in outside.iterdir():
        os.utime(path, (0, 0))
    for dry_run in (True, False):
        with pytest.raises(StoreError, match=rf"unified_actions: {FOLDER} is a link; expected"):
            vacuum_lake(lake, Settings(lake=root, keep_versions_days=0), dry_run=dry_run)
    assert files_in(outside) == seen


# --- names and texts out of data ------------------------------------------------------------------

EVIL = [
    "../../../../evil",
    "/etc/passwd",
    "dt=1999-01-01",
    "x/../dt=2024-05-09",
    "'; DROP TABLE x; --",
    '") OR 1=1 --',
    "`backtick` ${jndi:ldap://x} {{7*7}} %s {}",
    "<script>alert(1)</script><img src=x onerror=alert(1)>",
    "[x](javascript:alert(1)) ![x](http://x/y.png)",
    "[bold red]x[/] [link=http://x]y[/link]",
    "line\nbreak\ttab\rreturn",
    "\x1b]0;title\x07\x1b[2J\x1b[31m\x9b1m",
    "\u202eright to left\u2028",
    "",
    " ",
    "x" * 5_000,
]


# By table, day, number, hash and run; blocks and what is remembered of flat files besides.
PLAIN_NAME = re.compile(r"[a-z_]+/(?:[a-z_]+/)?[A-Za-z0-9=_./-]+")


@beside_sail
def test_texts_of_data_are_values_and_nothing_else(spark: SparkSession, root: Path) -> None:
    rows = [ranking(n, [n], name=name) for n, name in enumerate(EVIL, 1)]
    put(root, "a.jsonl", json_lines([*rows, ranking(None, [1], name=EVIL[7])]), IMPRESSIONS)
    put(root, "<b>&'\"[red] ü .csv", "customer_id,item_id\n1,-1\n", CLICKS)
    put_rows(root, "csv", orders(DAY), PREVIOUS_ORDERS)
    (root / "raw" / "add_to_carts" / FOLDER).mkdir(parents=True)
    settings = Settings(lake=root, min_valid_share=0)
    reports = list(build_days(spark, Lake.at(root), settings, list(SEQUENCE.values()), [DAY]))
    assert [report.problem for report in reports] == [None] * 3
    lake = Lake.at(root)
    found = rows_of(lake, TRAINING_INPUT.name, DAY)
    assert sorted((r["impression_item_id"], r["ranking_id"]) for r in found) == [
        (n, name) for n, name in enumerate(EVIL, 1)
    ]
    names = {entry.path for entry in lake.store.list() if not entry.path.startswith("raw/")}
    assert [name for name in names if not PLAIN_NAME.fullmatch(name)] == []
    assert [p.name for p in root.parent.iterdir() if p != root] == []
    snapshot = lake.snapshot(UNIFIED_ACTIONS.name)
    (aside,) = snapshot.store.list(f"{snapshot.quarantine_path(DAY)}/source=clicks")
    name = f"raw/clicks/{FOLDER}/<b>&'\"[red] ü .csv"
    rejects = SealedParquet(snapshot.store.uri(aside.path)).read()
    assert rejects["source_file"].to_pylist() == [name]
    for report in reports:
        # Dagster shows these as plain text; the one picture is made of counts only.
        metadata = day_metadata(report, settings, str(root), 1)
        marked = {k for k, v in metadata.items() if isinstance(v, dg.MarkdownMetadataValue)}
        assert marked <= {"lengths"}
        assert "<b>" not in repr(metadata)


def test_picture_is_made_of_numbers_only() -> None:
    assert "<" not in histogram_markdown([1, 2, 3] + [0] * 8)
    with pytest.raises(TypeError):
        histogram_markdown(["<script>"] * 11)  # type: ignore[list-item]


def test_problems_of_checks_are_plain_text_in_dagster() -> None:
    (problem,) = check_metadata({}, EVIL[7]).values()
    assert type(problem) is str
    assert isinstance(dg.MetadataValue.text(problem), dg.TextMetadataValue)


@pytest.mark.parametrize("text", EVIL)
def test_printable_text_controls_nothing_and_keeps_the_rest(text: str) -> None:
    assert all(c.isprintable() for c in printable(text))
    assert printable("Käse 東京 👩‍🔬\u3000x") == "Käse 東京 👩‍🔬\u3000x"
    assert printable("a\x1b[2J\nb") == r"a\x1b[2J\nb"


@pytest.mark.parametrize("name", ["\x1b[2J.csv", "a\nb.csv", "\x9b.csv", "\u202evsc.csv"])
def test_file_name_with_control_characters_is_refused(root: Path, name: str) -> None:
    put(root, name, "customer_id,item_id\n1,1\n")
    with pytest.raises(RawDataError, match="has control characters") as caught:
        find_raw_days(Lake.at(root), CLICKS, [DAY])
    assert str(caught.value).isprintable()


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.csv", "\x1b[2J,x\x07\n1,2\n"),
        ("a.jsonl", json.dumps({"\x1b[2J": 1, "y" * 10_000: 2})),
        ("a.parquet", pa.table({"\x1b[2J": [1], "x\n": [2]})),
        ("a.parquet", pa.table({"customer_id": [{"\x1b[2J" * 999: 1}], "item_id": [1]})),
    ],
)
def test_names_of_columns_are_shown_safely_and_shortened(
    root: Path, name: str, content: Any
) -> None:
    put(root, name, content)
    with pytest.raises(SchemaError) as caught:
        find_raw_days(Lake.at(root), CLICKS, [DAY])
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 800


def test_terminal_gets_no_control_characters(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lake, rows = Lake.at(root), UNIFIED_ACTIONS.arrow_schema.empty_table()
    publish_day(lake, UNIFIED_ACTIONS, DAY, rows)
    row = {"reason": "row is not CSV", "source_file": "raw/x", "content": EVIL[11] + EVIL[9]}
    aside = lake.snapshot(UNIFIED_ACTIONS.name).quarantine_path(DAY)
    content = sealed(pa.Table.from_pylist([row], QUARANTINE.arrow_schema))
    lake.table_store(UNIFIED_ACTIONS.name).put(f"{aside}/source=clicks/part-00000.pq", content)
    monkeypatch.setenv("TRAINING_ASSETS_LAKE", str(root))
    monkeypatch.setattr(console, "width", 200)
    done = CliRunner().invoke(main, ["quarantine"])
    assert done.exit_code == 0
    assert r"\x1b]0;title\x07\x1b[2J\x1b[31m\x9b1m" + EVIL[9] in done.output
    assert not set(done.output) & set("\x1b\x07\x9b")


# --- nothing in data is run -----------------------------------------------------------------------


@pytest.mark.parametrize("name", ["a.pkl", "a.pickle", "a.npy", "a.pt", "a.py"])
def test_pickle_is_refused_unread(root: Path, name: str) -> None:
    put(root, name, pickle.dumps(GOOD))
    with pytest.raises(RawDataError, match="the format is not known by its ending"):
        find_raw_days(Lake.at(root), CLICKS, [DAY])


@pytest.mark.parametrize("ending", ["parquet", "csv", "jsonl"])
def test_pickle_under_another_name_is_not_loaded(root: Path, ending: str) -> None:
    class Trap:
        def __reduce__(self) -> Any:
            return (root.joinpath("ran").mkdir, ())

    put(root, f"b.{ending}", pickle.dumps(Trap()) + b"\n")
    with contextlib.suppress(RawDataError, SchemaError):
        assert read(root).valid == [click(1, 1, DAY, NOON)]
    assert not (root / "ran").exists()


FORBIDDEN = {
    "eval", "exec", "compile", "__import__", "read_pickle", "Unpickler", "unsafe_load", "full_load",
    "system", "popen", "mktemp",
}  # fmt: skip
PICKLES = {"pickle", "cPickle", "dill", "joblib", "shelve", "marshal", "cloudpickle"}


@cache
def trees() -> dict[Path, ast.Module]:
    """All modules of the package, parsed."""
    package = Path(training_assets.__file__).parent
    return {path: ast.parse(path.read_text()) for path in package.rglob("*.py")}


def calls_in(tree: ast.AST) -> Iterator[ast.Call]:
    return (node for node in ast.walk(tree) if isinstance(node, ast.Call))


def test_no_code_loads_pickles_or_runs_text() -> None:
    found = []
    for path, tree in trees().items():
        for node in ast.walk(tree):
            if isinstance(node, ast.Import | ast.ImportFrom):
                names = {alias.name for alias in node.names} | {getattr(node, "module", "") or ""}
                found += [f"{path.name}: import {name}" for name in names & PICKLES]
        for call in calls_in(tree):
            function = call.func
            name = getattr(function, "attr", getattr(function, "id", ""))
            owner = getattr(getattr(function, "value", None), "id", "")
            keywords = {word.arg: getattr(word.value, "value", None) for word in call.keywords}
            if name in FORBIDDEN and owner != "re":
                found.append(f"{path.name}: {owner}.{name}()")
            if keywords.get("allow_pickle") or keywords.get("shell"):
                found.append(f"{path.name}: {name}({keywords})")
            if owner in {"torch", "yaml"} | PICKLES and name in {"load", "loads"}:
                found.append(f"{path.name}: {owner}.{name}()")
    # By which code, never data, goes to the workers.
    assert {text.partition(": ")[2] for text in found} == {"import cloudpickle"}


def test_no_sql_text_is_made() -> None:
    for path, tree in trees().items():
        for call in calls_in(tree):
            name = getattr(call.func, "attr", "")
            if name in {"sql", "expr", "selectExpr", "where", "filter"} and call.args:
                is_text = any(isinstance(part, ast.JoinedStr) for part in ast.walk(call.args[0]))
                assert not is_text, f"{path.name}:{call.lineno}"


# --- dependencies ---------------------------------------------------------------------------------


def test_every_direct_dependency_is_pinned_within_its_range() -> None:
    pins = {}
    for line in (ROOT / "constraints.txt").read_text().splitlines():
        name, _, pinned = line.partition("==")
        pins[canonicalize_name(name)] = pinned
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    # Those that make installs; benchmarks bring their own.
    for text in [*project["dependencies"], *(t for name in INSTALLED for t in extras[name])]:
        wanted = Requirement(text)
        assert wanted.specifier.contains(pins[canonicalize_name(wanted.name)]), text


def test_pyarrow_loads_no_pickled_types() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    (wanted,) = (Requirement(t) for t in project["dependencies"] if t.startswith("pyarrow"))
    assert not wanted.specifier.contains("14.0.0")


# --- secrets --------------------------------------------------------------------------------------

ENDPOINT = f"sc://127.0.0.1:1/;token={SECRET}"


def everything_about(error: BaseException) -> str:
    info = serializable_error_info_from_exc_info((type(error), error, error.__traceback__))
    return f"{error} {info} {''.join(traceback.format_exception(error))}"


def test_token_is_in_neither_dagsters_ui_nor_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRAINING_ASSETS_ENGINE", "remote")
    monkeypatch.setenv("TRAINING_ASSETS_REMOTE", ENDPOINT)
    monkeypatch.setenv("STORE_KEY", SECRET)
    resource = SparkResource.from_env()
    keyed = SparkResource(spark_config={"spark.hadoop.fs.s3a.secret.key": dg.EnvVar("STORE_KEY")})
    seen: dict[str, Any] = {}

    def open_session(engine: str, **knobs: Any) -> Any:
        seen[engine] = knobs
        return None, lambda: None

    monkeypatch.setattr(resources, "open_session", open_session)

    @dg.op
    def use(spark: SparkResource, keyed: SparkResource) -> None:
        spark._init_session()
        keyed._init_session()

    @dg.job(resource_defs={"spark": resource, "keyed": keyed})
    def job() -> None:
        use()

    with dg.DagsterInstance.ephemeral() as instance:
        result = job.execute_in_process(instance=instance)
        records = instance.all_logs(result.run_id)
        run = instance.get_run_by_id(result.run_id)
    assert seen["remote"]["remote"] == ENDPOINT
    assert seen["sail"]["conf"] == {"spark.hadoop.fs.s3a.secret.key": SECRET}
    defs = dg.Definitions(jobs=[job], resources={"spark": resource, "keyed": keyed})
    snapshot = dg.serialize_value(_snapshot(defs))
    # Kept in the database with each run, and shown in the launchpad.
    kept = dg.serialize_value(JobSnap.from_job_def(job))
    for text in (snapshot, kept, repr(records), repr(run), repr(resource), repr(keyed), repr(defs)):
        assert SECRET not in text
    assert "TRAINING_ASSETS_REMOTE" in snapshot


def _snapshot(defs: dg.Definitions) -> Any:
    """What the UI is given of a code location."""
    from dagster._core.remote_representation.external_data import RepositorySnap

    return RepositorySnap.from_def(defs.get_repository_def())


def test_session_outside_of_a_run_takes_secrets_from_the_environment(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("TRAINING_ASSETS_ENGINE", "remote")
    monkeypatch.setenv("TRAINING_ASSETS_REMOTE", f" {ENDPOINT} ")
    monkeypatch.setattr(resources, "open_session", lambda name, **knobs: (knobs, lambda: None))
    with SparkResource.from_env().session() as knobs:
        assert knobs["remote"] == ENDPOINT  # type: ignore[index]
    missing = SparkResource(spark_config={"spark.x": dg.EnvVar("NOT_SET")})
    with pytest.raises(EngineError, match="variable NOT_SET is not set"), missing.session():
        pass


def test_resource_given_a_token_does_not_print_it() -> None:
    shown = SparkResource(remote=ENDPOINT, spark_config={"spark.x.secret.key": SECRET})
    assert SECRET not in repr(shown) + str(shown)


@pytest.mark.parametrize(
    "remote",
    [
        ENDPOINT,
        f"sc://127.0.0.1:x/;token={SECRET}",
        f"sc://127.0.0.1:1/;{SECRET}",
        f"sc://127.0.0.1:1/;token={SECRET};=",
        f"sc://127.0.0.1:1/{SECRET};token={SECRET}",
        f"sc://user:{SECRET}@127.0.0.1:1",
        f"http://127.0.0.1:1/;token={SECRET}",
    ],
)
def test_endpoint_that_fails_keeps_its_secrets(remote: str) -> None:
    with (
        pytest.raises(EngineError) as caught,
        spark_session("remote", remote=remote, connect_timeout_seconds=0.1),
    ):
        pass
    assert SECRET not in everything_about(caught.value)


def test_setting_that_is_refused_keeps_its_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(conf: dict[str, str]) -> None:
        raise ValueError(f"cannot use {conf}")

    monkeypatch.setattr(sessions, "_classic_session", refuse)
    monkeypatch.setattr(sessions, "require_java", lambda: None)
    monkeypatch.setattr(sessions, "_open_modes", [])
    # What it takes away to open a session is given back to the one that is open.
    for name in ("SPARK_CONNECT_MODE_ENABLED", "SPARK_REMOTE", "SPARK_LOCAL_REMOTE"):
        if name in os.environ:
            monkeypatch.setenv(name, os.environ[name])
    conf = {"spark.hadoop.fs.s3a.secret.key": SECRET, "spark.hadoop.fs.azure.account.key.x": "k3y"}
    with (
        pytest.raises(EngineError, match=r"no session at .* \(ValueError\)") as caught,
        spark_session("spark", conf=conf),
    ):
        pass
    assert SECRET not in everything_about(caught.value)
    assert "k3y" not in everything_about(caught.value)


@beside_sail
def test_run_leaves_no_secret_on_disk(
    spark: SparkSession, root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRAINING_ASSETS_REMOTE", ENDPOINT)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    put_rows(root, "csv", orders(DAY), PREVIOUS_ORDERS)
    for name in RAW_TABLES:
        (root / "raw" / name / FOLDER).mkdir(parents=True, exist_ok=True)
    put(root, "bad.csv", "customer_id,item_id\n,1\n")
    monkeypatch.setattr(resources, "open_session", lambda name, **knobs: (spark, lambda: None))
    settings = Settings(lake=root, min_valid_share=0)
    defs = build_definitions(settings, SparkResource.from_env())
    home = tmp_path / "home"
    home.mkdir()
    (home / "dagster.yaml").write_text("telemetry:\n  enabled: false\n")
    monkeypatch.setenv("DAGSTER_HOME", str(home))
    with dg.DagsterInstance.get() as instance:
        result = defs.resolve_job_def(BACKFILL_JOB).execute_in_process(
            instance=instance,
            tags={
                "dagster/asset_partition_range_start": str(DAY),
                "dagster/asset_partition_range_end": str(DAY),
            },
            run_config=dict(RUN_CONFIG),
            raise_on_error=False,
        )
    assert result.success
    assert Lake.at(root).days(TRAINING_INPUT.name) == [DAY]
    for folder in (root, home):
        for name, content in files_in(folder).items():
            assert SECRET.encode() not in content, name
