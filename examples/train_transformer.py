"""A small transformer recommender, trained on a lake and compared with popularity.

    python examples/train_transformer.py data/lake

It learns from the earlier days which of the items shown to a customer were ordered, and is judged
on the last days, which it has not seen: by AUC, the share of pairs of an ordered and an unordered
item in which the ordered one has the higher score (0.5 is guessing). The baselines know only how
often each item was ordered on the training days.

Needs ``pip install training-assets[torch]``; runs on CPU or, if there is one, on the GPU.
"""

import argparse
import statistics
import time
from collections.abc import Sequence
from datetime import date
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn.functional import normalize, pad

from training_assets.loader import Batch, TrainingDays, Vocabulary, published_days

# Upper ends, in days, of the recency buckets; bucket 0 is padding, the last is open.
RECENCY_ENDS = (0, 1, 2, 3, 5, 7, 14, 30, 60, 120)
NUM_ACTION_TYPES = 4


class Recommender(nn.Module):
    """Scores items for customers by attending from the item over the customer's history.

    Self-attention puts each action in the context of the others; then the item shown reads the
    history, looking most at actions on items like itself.

    Histories are encoded once each, ``U`` of them, and ``inverse`` says which one belongs to each
    of the ``B`` examples; a ranking's items share a history, so this saves most of the work.
    """

    def __init__(self, vocabulary_size: int, *, width: int, heads: int, layers: int) -> None:
        super().__init__()
        self.items = nn.Embedding(vocabulary_size, width, padding_idx=0)
        self.action_types = nn.Embedding(NUM_ACTION_TYPES, width)
        self.recency = nn.Embedding(len(RECENCY_ENDS) + 1, width)
        # Always attended to, so that a customer without a history has something to look at.
        self.start = nn.Parameter(torch.zeros(1, 1, width))
        block = nn.TransformerEncoderLayer(
            width, heads, 2 * width, dropout=0.1, batch_first=True, norm_first=True
        )
        self.encoder = nn.TransformerEncoder(block, layers, enable_nested_tensor=False)
        # Weight of a place of the history for its likeness to the item shown, and by itself.
        self.likeness = nn.Parameter(torch.tensor(10.0))
        self.interest = nn.Linear(width, 1)
        self.head = nn.Sequential(nn.Linear(3 * width + 1, width), nn.GELU(), nn.Linear(width, 1))
        self.popularity = nn.Embedding(vocabulary_size, 1)
        nn.init.zeros_(self.popularity.weight)
        self.recency_ends: torch.Tensor
        self.register_buffer("recency_ends", torch.tensor(RECENCY_ENDS), persistent=False)

    def forward(
        self,
        impressions: torch.Tensor,
        actions: torch.Tensor,
        action_types: torch.Tensor,
        days_ago: torch.Tensor,
        mask: torch.Tensor,
        inverse: torch.Tensor,
    ) -> torch.Tensor:
        """Logits, float32 [B].

        impressions, inverse: int64 [B]; actions, action_types, days_ago: int32 [U, L], newest
        first, zeros on the right; mask: bool [U, L], True where there is an action.
        """
        keys, values, is_padding = self.encode(actions, action_types, days_ago, mask)
        shown = self.items(impressions)
        alike = torch.einsum("bw,blw->bl", normalize(shown, dim=-1), keys[inverse])
        weights = self.likeness * alike + self.interest(values).squeeze(-1)[inverse]
        weights = weights.masked_fill(is_padding[inverse], -torch.inf)
        strength = torch.logsumexp(weights, dim=1, keepdim=True)
        read = torch.einsum("bl,blw->bw", torch.softmax(weights, dim=1), values[inverse])
        logits = self.head(torch.cat([shown, read, shown * read, strength], dim=-1))
        return (logits + self.popularity(impressions)).squeeze(-1)

    def encode(
        self,
        actions: torch.Tensor,
        action_types: torch.Tensor,
        days_ago: torch.Tensor,
        mask: torch.Tensor,
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Directions of the items acted on and what is known of each action, in its context.

        Both float32 [U, 1 + L, width], place 0 being the start; and which places are padding.
        """
        items = self.items(actions)
        recency = self.recency(torch.bucketize(days_ago, self.recency_ends))
        embedded = items + self.action_types(action_types) + recency
        tokens = torch.cat([self.start.expand(len(actions), -1, -1), embedded], dim=1)
        is_padding = pad(~mask, (1, 0), value=False)
        keys = pad(normalize(items, dim=-1), (0, 0, 1, 0))
        return keys, self.encoder(tokens, src_key_padding_mask=is_padding), is_padding


def open_days(
    options: argparse.Namespace,
    days: Sequence[date],
    vocabulary: Vocabulary,
    *,
    seed: int,
    further: Sequence[str] = (),
) -> TrainingDays:
    """Batches that hold each history once; the rows of a history stay together for that.

    ``further``: extras of the loader that the model does not need.
    """
    return TrainingDays(
        options.lake,
        days=days,
        batch_size=options.batch_size,
        length=options.length,
        layout="deduplicated",
        shuffle="histories",
        extras=["days_ago", "mask", *further],
        vocabulary=vocabulary,
        seed=seed,
    )


def score(model: Recommender, batch: Batch[torch.Tensor]) -> torch.Tensor:
    return model(*batch.inputs, batch.days_ago, batch.mask, batch.inverse)


def train(
    options: argparse.Namespace, days: Sequence[date], vocabulary: Vocabulary, *, seed: int
) -> Recommender:
    torch.manual_seed(seed)
    model = Recommender(
        vocabulary.size, width=options.width, heads=options.heads, layers=options.layers
    ).to(options.device)
    optimizer = torch.optim.AdamW(model.parameters(), lr=options.learning_rate, weight_decay=0.01)
    criterion = nn.BCEWithLogitsLoss()
    loader = open_days(options, days, vocabulary, seed=seed)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, options.learning_rate, total_steps=options.epochs * len(loader)
    )
    for epoch in range(options.epochs):
        model.train()
        started, losses = time.perf_counter(), []
        for batch in loader.tensors(options.device):
            loss = criterion(score(model, batch), batch.labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            losses.append(loss.detach())
        print(
            f"  seed {seed}, epoch {epoch + 1} of {options.epochs}: "
            f"loss {torch.stack(losses).mean():.4f}, "
            f"{loader.num_examples / (time.perf_counter() - started):,.0f} examples/s"
        )
    return model


@torch.no_grad()
def judge(
    options: argparse.Namespace, model: Recommender, days: Sequence[date], vocabulary: Vocabulary
) -> float:
    model.eval()
    scores, labels = [], []
    for batch in open_days(options, days, vocabulary, seed=0).tensors(options.device):
        scores.append(score(model, batch).cpu())
        labels.append(batch.labels.cpu())
    return auc(torch.cat(scores).numpy(), torch.cat(labels).numpy())


def popularity(
    options: argparse.Namespace,
    train_days: Sequence[date],
    test_days: Sequence[date],
    vocabulary: Vocabulary,
) -> dict[str, float]:
    """AUC of two baselines: orders of an item, and its smoothed orders per time shown."""
    shown, ordered = np.zeros(vocabulary.size), np.zeros(vocabulary.size)
    for batch in open_days(options, train_days, vocabulary, seed=0):
        np.add.at(shown, batch.impressions, 1)
        np.add.at(ordered, batch.impressions, batch.labels)
    prior = ordered.sum() / max(shown.sum(), 1)
    rate = (ordered + 20 * prior) / (shown + 20)
    batches = [(b.impressions, b.labels) for b in open_days(options, test_days, vocabulary, seed=0)]
    impressions, labels = (np.concatenate(parts) for parts in zip(*batches, strict=True))
    return {
        "orders of the item": auc(ordered[impressions], labels),
        "orders per time shown": auc(rate[impressions], labels),
    }


def auc(scores: np.ndarray, labels: np.ndarray) -> float:
    """Area under the ROC curve; equal scores count half."""
    _, place, counts = np.unique(scores, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[place]
    positive = labels == 1
    num_positive, num_negative = positive.sum(), (~positive).sum()
    if not num_positive or not num_negative:
        return float("nan")
    above = ranks[positive].sum() - num_positive * (num_positive + 1) / 2
    return float(above / (num_positive * num_negative))


def options_of_training(description: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("lake", type=Path, help="lake with published days")
    parser.add_argument("--test-days", type=int, help="last days to judge on; default a fifth")
    parser.add_argument("--length", type=int, default=50, help="newest actions used")
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--seeds", type=int, default=1, help="how many times to train")
    parser.add_argument("--batch-size", type=int, default=512)
    parser.add_argument("--width", type=int, default=32)
    parser.add_argument("--heads", type=int, default=2)
    parser.add_argument("--layers", type=int, default=1)
    parser.add_argument("--learning-rate", type=float, default=5e-3)
    parser.add_argument("--min-count", type=int, default=2, help="rarer items are unknown")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    return parser


def main(arguments: Sequence[str] | None = None) -> dict[str, list[float]]:
    """Train, judge, print; returns the AUCs."""
    options = options_of_training(__doc__.split("\n")[0]).parse_args(arguments)
    days = published_days(options.lake)
    num_test = options.test_days or max(1, len(days) // 5)
    train_days, test_days = days[:-num_test], days[-num_test:]
    if not train_days:
        raise SystemExit(
            f"{options.lake}: {len(days)} published days; expected more than {num_test}. "
            "Materialise more days, or lower --test-days."
        )
    vocabulary = Vocabulary.build(options.lake, days=train_days, min_count=options.min_count)
    print(f"train: {open_days(options, train_days, vocabulary, seed=0)}")
    print(f"judge: {test_days[0]} to {test_days[-1]}, {vocabulary}")
    baselines = popularity(options, train_days, test_days, vocabulary)
    found = []
    for seed in range(options.seeds):
        model = train(options, train_days, vocabulary, seed=seed)
        found.append(judge(options, model, test_days, vocabulary))
        print(f"  seed {seed}: AUC {found[-1]:.4f}")
    for name, value in baselines.items():
        print(f"AUC of popularity, {name}: {value:.4f}")
    spread = f" (mean of {len(found)}, {min(found):.4f} to {max(found):.4f})"
    print(f"AUC of the transformer: {statistics.mean(found):.4f}{spread if found[1:] else ''}")
    return {"transformer": found, **{name: [value] for name, value in baselines.items()}}


if __name__ == "__main__":
    main()
