"""What is deployed parses, and names only what there is. Nothing here was run by Docker."""

import ast
import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from training_assets.cli import main
from training_assets.online import settings as online_settings
from training_assets.service.metrics import Metrics
from training_assets.service.settings import variables
from training_assets.service.topics import DEAD, FEATURES, ROW_TOPICS, TRAINING, UPLOADS

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
COMPOSE: dict[str, Any] = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
DOCKERFILE = (DEPLOY / "Dockerfile").read_text()
EXAMPLE = (DEPLOY / ".env.example").read_text()
OTHERS = {"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_REGION", "AWS_ENDPOINT_URL"}
OTHERS |= {"AWS_ALLOW_HTTP", "GF_SECURITY_ADMIN_PASSWORD"}


def metric_names() -> set[str]:
    page = Metrics(1).registry.collect()
    names = set()
    for family in page:
        suffixes = {
            "counter": ["_total"],
            "histogram": ["_bucket", "_count", "_sum"],
            "gauge": [""],
        }
        names |= {family.name + suffix for suffix in suffixes[family.type]}
    return names


def test_variables_exist() -> None:
    known = set(variables().values()) | set(
        re.findall(r"TRAINING_ASSETS_[A-Z_]+", online_settings.__doc__ or "")
    )
    found = set(re.findall(r"^#? ?([A-Z][A-Z0-9_]+)=", EXAMPLE, re.MULTILINE))
    unknown = {
        name for name in found - known - OTHERS if not name.startswith("TRAINING_ASSETS_KAFKA_")
    }
    assert not unknown
    in_image = set(re.findall(r"TRAINING_ASSETS_[A-Z_]+", DOCKERFILE))
    assert in_image <= known
    for name in re.findall(r"\$\{(\w+)\}", (DEPLOY / "compose.yaml").read_text()):
        assert re.search(rf"^{name}=", EXAMPLE, re.MULTILINE), name


def test_settings_table_tells_all_variables() -> None:
    from training_assets.service import settings

    told = settings.__doc__ or ""
    for variable in variables().values():
        name = variable.removeprefix("TRAINING_ASSETS_")
        assert variable == "TRAINING_ASSETS_LAKE" or re.search(rf"\| {name} +\|", told), name


def commands() -> list[list[str]]:
    found = [s["command"] for s in COMPOSE["services"].values() if "command" in s]
    found += [json.loads(DOCKERFILE.rpartition("\nCMD ")[2])]
    return [command for command in found if command[0] == "training-assets"]


@pytest.mark.parametrize("command", commands(), ids=" ".join)
def test_commands_are_understood(command: list[str]) -> None:
    main.commands[command[1]].make_context(command[1], command[2:], resilient_parsing=False)


def test_services_depend_on_what_there_is() -> None:
    services = COMPOSE["services"]
    assert {"service", "consumer", "ui", "store", "kafka", "redis", "prometheus", "grafana"} <= set(
        services
    )
    for name, one in services.items():
        for other, how in one.get("depends_on", {}).items():
            if how["condition"] == "service_healthy":
                healthy = services[other].get("healthcheck") or other == "service"
                assert healthy, (name, other)
        for volume in one.get("volumes", []):
            source = volume.partition(":")[0]
            exists = (
                (DEPLOY / source).exists()
                if source.startswith(".")
                else source in COMPOSE["volumes"]
            )
            assert exists, (name, volume)
        for port in one.get("ports", []):
            assert port.startswith("127.0.0.1:"), (name, port)


def test_topics_are_those_of_the_service() -> None:
    made = set(
        re.search(r"for topic in ([^;]+);", str(COMPOSE["services"]["topics"]["command"]))[
            1
        ].split()
    )  # type: ignore[index]
    assert made == {UPLOADS, FEATURES, TRAINING, *ROW_TOPICS, *(t + DEAD for t in ROW_TOPICS)}


def test_image_is_built_in_stages_and_runs_without_root() -> None:
    stages = re.findall(r"^FROM .+", DOCKERFILE, re.MULTILINE)
    assert len(stages) == 2
    last = DOCKERFILE.rpartition("FROM ")[2]
    assert re.search(r"^USER (?!root)", last, re.MULTILINE)
    assert last.index("USER ") < last.index("\nCMD ")
    check = json.loads(re.search(r"HEALTHCHECK[\s\S]+?CMD (\[.+\])", last)[1])  # type: ignore[index]
    ast.parse(check[2])
    assert "/health/ready" in check[2]
    sources = re.findall(r"^COPY (?!--from)(.+) \S+$", DOCKERFILE, re.MULTILINE)
    for source in " ".join(sources).split():
        assert (ROOT / source).exists(), source
        assert f"!{source}" in (ROOT / ".dockerignore").read_text().splitlines(), source


def test_dashboard_and_alerts_show_metrics_that_there_are() -> None:
    names = metric_names()
    dashboard = json.loads((DEPLOY / "grafana" / "service.json").read_text())
    alerts = yaml.safe_load((DEPLOY / "prometheus" / "service_alerts.yml").read_text())
    queries = [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]
    queries += [rule["expr"] for group in alerts["groups"] for rule in group["rules"]]
    words = {"sum", "rate", "by", "le", "histogram_quantile", "m"}
    for query in queries:
        bare = re.sub(r"\{[^}]*\}|\[[^\]]*\]|by \([^)]*\)", " ", query)
        used = set(re.findall(r"[a-z_]{2,}", bare)) - words
        assert used, query
        assert used <= names, query
    shown = " ".join(queries)
    for name in ("outbox_oldest_seconds", "ingest_rows_total", "service_ready"):
        assert name in shown


def test_prometheus_asks_where_the_service_listens() -> None:
    found = yaml.safe_load((DEPLOY / "prometheus" / "prometheus.yml").read_text())
    (job,) = [j for j in found["scrape_configs"] if j["job_name"] == "training-assets-service"]
    assert job["static_configs"][0]["targets"] == ["service:8002"]
    for name in found["rule_files"]:
        assert (DEPLOY / "prometheus" / name).exists(), name
