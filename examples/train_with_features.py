"""Do features help? The transformer of train_transformer.py alone, features alone, and both.

    training-assets run --with features
    python examples/train_with_features.py data/lake --seeds 3

Each learns from the earlier days which of the items shown to a customer were ordered, and is judged
by AUC on the last days. *Features* are the numbers of ``user_features``, ``item_features`` and
``pair_features`` of the day, which know the days before it, as a history does. *Both* adds up what
the two networks say, which are trained together.

Needs ``pip install training-assets[torch]``; runs on CPU or, if there is one, on the GPU.
"""

import argparse
import statistics
from collections.abc import Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch
from deltalake import DeltaTable
from torch import nn
from train_transformer import Recommender, auc, open_days, options_of_training, score

from training_assets.loader import Batch, Vocabulary, published_days

MODELS = ("sequences", "features", "both")
TABLES = {
    "user_features": ("customer_id",),
    "item_features": ("item_id",),
    "pair_features": ("customer_id", "item_id"),
}
SHOWN = 0


class Features:
    """The numbers known of the examples of some days, float32 [B, F], in the units of a model.

    Counts and money grow without end, so they are taken as logarithms; then all are scaled to mean
    0 and deviation 1 over the ``scaled_on`` days. A null, and an id without a row, is 0.
    """

    def __init__(self, lake: Path, days: Sequence[date], scaled_on: Sequence[date]) -> None:
        self._days = {day: _read_day(lake, day) for day in days}
        self._scales = {
            table: _scale([self._days[day][table][1] for day in scaled_on]) for table in TABLES
        }
        self.num_features = sum(len(mean) for mean, _ in self._scales.values())

    def of(self, day: date, customers: np.ndarray, items: np.ndarray) -> np.ndarray:
        ids = {"customer_id": customers, "item_id": items}
        found = []
        for table, names in TABLES.items():
            keys, values = self._days[day][table]
            wanted = _keys([ids[name] for name in names])
            place = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
            mean, deviation = self._scales[table]
            rows = (values[place] - mean) / deviation
            rows[keys[place] != wanted] = np.nan
            found.append(np.nan_to_num(rows))
        return np.concatenate(found, axis=1).astype(np.float32)


def _read_day(lake: Path, day: date) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """By table: keys in order, and float64 [keys, columns]."""
    found = {}
    for table, names in TABLES.items():
        rows = DeltaTable(f"{lake}/{table}").to_pyarrow_table(filters=[("dt", "=", day)])
        if "action_type" in rows.column_names:
            rows = rows.filter(pc.equal(rows["action_type"], SHOWN))
        keys, first = np.unique(_keys([rows[name].to_numpy() for name in names]), return_index=True)
        left_out = {"dt", "action_type", *names}
        columns = [
            _numbers(rows[field.name])
            for field in rows.schema
            if field.name not in left_out and _is_number(field.type)
        ]
        found[table] = keys, np.stack(columns, axis=1)[first]
    return found


def _is_number(kind: pa.DataType) -> bool:
    kinds = (pa.types.is_integer, pa.types.is_floating, pa.types.is_decimal, pa.types.is_boolean)
    return any(is_kind(kind) for is_kind in kinds)


def _numbers(column: pa.ChunkedArray) -> np.ndarray:
    if pa.types.is_boolean(column.type):
        column = column.cast(pa.int8())
    values = column.cast(pa.float64()).to_numpy()
    return np.sign(values) * np.log1p(np.abs(values))


def _keys(ids: Sequence[np.ndarray]) -> np.ndarray:
    """One number of one id or two; the second is below 2^31."""
    first = ids[0].astype(np.int64)
    return first if len(ids) == 1 else (first << 31) | ids[1].astype(np.int64)


def _scale(days: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    values = np.concatenate(days)
    is_known = ~np.isnan(values)
    counts = np.maximum(is_known.sum(axis=0), 1)
    mean = np.where(is_known, values, 0).sum(axis=0) / counts
    squares = np.where(is_known, values - mean, 0) ** 2
    deviation = np.sqrt(squares.sum(axis=0) / counts)
    return mean, np.where(deviation > 0, deviation, 1)


class Scorer(nn.Module):
    """Logits, float32 [B], from the history, from features, or from both."""

    def __init__(self, name: str, vocabulary_size: int, num_features: int, **sizes: int) -> None:
        super().__init__()
        self.sequences = self.features = None
        if name != "features":
            self.sequences = Recommender(vocabulary_size, **sizes)
        if name != "sequences":
            width = 2 * sizes["width"]
            self.features = nn.Sequential(
                nn.Linear(num_features, width), nn.GELU(), nn.Linear(width, 1)
            )

    def forward(self, batch: Batch[torch.Tensor], features: torch.Tensor) -> torch.Tensor:
        logits = torch.zeros(len(batch), device=features.device)
        if self.sequences is not None:
            logits = logits + score(self.sequences, batch)
        if self.features is not None:
            logits = logits + self.features(features).squeeze(-1)
        return logits


def scored(
    model: Scorer, batch: Batch[Any], features: Features, device: str
) -> tuple[torch.Tensor, torch.Tensor]:
    """(logits, labels) of a batch."""
    ids = batch.identity
    assert ids is not None
    known = features.of(batch.dt, ids.customer_ids.cpu().numpy(), ids.item_ids.cpu().numpy())
    return model(batch, torch.from_numpy(known).to(device)), batch.labels


def run(
    options: argparse.Namespace,
    name: str,
    days: tuple[Sequence[date], Sequence[date]],
    vocabulary: Vocabulary,
    features: Features,
    seed: int,
) -> float:
    """Train on the first days; the AUC on the others."""
    torch.manual_seed(seed)
    sizes = {"width": options.width, "heads": options.heads, "layers": options.layers}
    model = Scorer(name, vocabulary.size, features.num_features, **sizes).to(options.device)
    loader = open_days(options, days[0], vocabulary, seed=seed, further=["identity"])
    optimizer = torch.optim.AdamW(model.parameters(), lr=options.learning_rate, weight_decay=0.01)
    steps = options.epochs * len(loader)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, options.learning_rate, total_steps=steps
    )
    criterion = nn.BCEWithLogitsLoss()
    model.train()
    for _ in range(options.epochs):
        for batch in loader.tensors(options.device):
            logits, labels = scored(model, batch, features, options.device)
            optimizer.zero_grad()
            criterion(logits, labels).backward()
            optimizer.step()
            schedule.step()
    model.eval()
    found = []
    judged = open_days(options, days[1], vocabulary, seed=0, further=["identity"])
    with torch.no_grad():
        for batch in judged.tensors(options.device):
            found.append([t.cpu() for t in scored(model, batch, features, options.device)])
    logits, labels = (torch.cat(parts).numpy() for parts in zip(*found, strict=True))
    return auc(logits, labels)


def main(arguments: Sequence[str] | None = None) -> Mapping[str, list[float]]:
    """Train, judge, print; returns the AUCs by model."""
    options = options_of_training(__doc__.split("\n")[0]).parse_args(arguments)
    # A day without features has nothing to compare.
    with_features = [
        {d["dt"] for d in DeltaTable(f"{options.lake}/{t}").partitions()} for t in TABLES
    ]
    known = set.intersection(*with_features)
    published = [day for day in published_days(options.lake) if str(day) in known]
    num_test = options.test_days or max(1, len(published) // 5)
    days = published[:-num_test], published[-num_test:]
    if not days[0]:
        raise SystemExit(
            f"{options.lake}: {len(published)} days with features; expected more than {num_test}. "
            "Build more days, or lower --test-days."
        )
    vocabulary = Vocabulary.build(options.lake, days=days[0], min_count=options.min_count)
    features = Features(options.lake, published, scaled_on=days[0])
    print(f"train: {open_days(options, days[0], vocabulary, seed=0)}")
    print(f"judge: {days[1][0]} to {days[1][-1]}, {features.num_features} features")
    found: dict[str, list[float]] = {name: [] for name in MODELS}
    for seed in range(options.seeds):
        for name in MODELS:
            found[name].append(run(options, name, days, vocabulary, features, seed))
            print(f"  seed {seed}, {name}: AUC {found[name][-1]:.4f}", flush=True)
    for name, values in found.items():
        spread = f"{min(values):.4f} to {max(values):.4f}"
        print(f"AUC of {name}: {statistics.mean(values):.4f} ({spread})")
    return found


if __name__ == "__main__":
    main()
