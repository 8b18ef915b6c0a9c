"""From a shop's request to what a model and a product get, with the commands that users have."""

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import torch

from training_assets.lake import Lake
from training_assets.list_format import SealedParquet
from training_assets.loader import TrainingDays
from training_assets.sources.ids import hash_text
from training_assets_tests.support.commands import invoke
from training_assets_tests.support.kafka import broker, make_topics
from training_assets_tests.support.service import Client, serving

TODAY = datetime.now(UTC).date()
DAY = TODAY - timedelta(days=1)
USERS, ITEMS = 7, 6
KINDS = ("view", "click", "like", "purchase", "add_to_cart")
# Else each question of a consumer waits behind a look for records, of half a second.
OPTIONS = {"session.timeout.ms": "6000", "fetch.wait.max.ms": "20", "log_level": "0"}


def interactions(days_ago: int, count: int = 60) -> list[dict[str, Any]]:
    day = TODAY - timedelta(days=days_ago)
    return [
        {
            "user_id": f"user-{n % USERS}",
            # Few for each user, so that there is something to draw.
            "item_id": f"item-{1 + (n % USERS + n // 30) % ITEMS}",
            "interaction_type": KINDS[n % len(KINDS)],
            "timestamp": f"{day}T10:{n % 60:02}:00Z",
            "interaction_id": f"{day}-{n}",
            "price": "1.50",
        }
        for n in range(count)
    ]


def command(lake: Path, *arguments: str, **variables: str) -> None:
    env = {"TRAINING_ASSETS_LAKE": str(lake), "TRAINING_ASSETS_HISTORY_LENGTH": "20", **variables}
    env["DAGSTER_HOME"] = str(lake.parent / "dagster")
    done = invoke(*arguments, **env)
    assert done.exit_code == 0, done.output


def rows_of(lake: Path, table: str, *, whole: bool = False) -> list[dict[str, Any]]:
    """The rows of the day, or of all days."""
    snapshot = Lake.at(lake).snapshot(table)
    files = [uri for day in (snapshot.days if whole else [DAY]) for uri in snapshot.uris(day)]
    return [row for file in files for row in SealedParquet(file).read().to_pylist()]


def require_features(client: Client, lake: Path) -> None:
    """What is answered by the shop's own id is what was published, for every user and item."""
    users = {f"user-{n}": hash_text(f"user-{n}") for n in range(USERS)}
    items = {row["text"]: row["id"] for row in rows_of(lake, "item_ids", whole=True)}
    for kind, key, numbers in (("users", "customer_id", users), ("items", "item_id", items)):
        published = {row[key]: row for row in rows_of(lake, f"{kind[:-1]}_features")}
        assert published.keys() == set(numbers.values())
        many = client.post(f"/api/features/{kind}:batchGet", json={"ids": [*numbers]}).json()
        for one, (text, number) in zip(many["results"], numbers.items(), strict=True):
            assert (one["id"], one["state"], one["dt"]) == (text, "found", str(DAY))
            assert one["values"]
            for name, value in one["values"].items():
                assert same(value, published[number][name]), (text, name)
            assert client.get(f"/api/features/{kind}/{text}").json()["values"] == one["values"]


def same(answered: Any, published: Any) -> bool:
    if isinstance(published, Decimal):
        return Decimal(answered) == published
    if isinstance(published, datetime | date):
        return answered == published.isoformat()
    return bool(answered == published)


def require_batches(lake: Path) -> None:
    """The loader gives each sample of the day once, as tensors."""
    loader = TrainingDays(str(lake), days=[DAY], table="training_samples", batch_size=16)
    batches = list(loader.tensors("cpu"))
    samples = rows_of(lake, "training_samples")
    assert sum(len(batch.labels) for batch in batches) == len(samples) > 0
    labels = torch.cat([batch.labels for batch in batches])
    assert float(labels.sum()) == sum(row["label"] for row in samples) > 0


def test_what_a_shop_sends_is_built_trained_on_and_served(tmp_path: Path) -> None:
    lake = tmp_path / "lake"
    with broker() as address:
        make_topics(address, "uploads", "interactions", "items", "interactions.dlq", "items.dlq")
        with serving(lake=str(lake), kafka=address, kafka_options=OPTIONS) as served:
            client = served.client()
            items = [{"item_id": f"item-{n}", "title": f"Item {n}"} for n in range(1, ITEMS + 1)]
            assert client.post("/internal/data/items", json=items).status_code == 201
            sent = client.post("/internal/data/interactions?backfill=true", json=interactions(2))
            assert sent.status_code == 201, sent.text
            receipt = sent.json()
            assert receipt["days"] == {str(DAY - timedelta(days=1)): 60}
            assert all((lake / file).is_file() for file in receipt["files"])
            # Of the day that is built, as events: the log first, then the lake.
            assert client.post("/internal/data/events", json=interactions(1)).status_code == 202
            kafka = {"TRAINING_ASSETS_KAFKA": address, "TRAINING_ASSETS_DAY_CLOSES": "48h"}
            command(lake, "consume", "--drain", **kafka)
            days = ("--start-date", str(DAY), "--end-date", str(DAY))
            command(lake, "run", "--with", "features", *days)
            command(lake, "online", "load")
            require_features(client, lake)
    require_batches(lake)
