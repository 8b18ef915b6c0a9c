"""The example learns from histories what popularity cannot know."""

import runpy
from datetime import timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from deltalake import write_deltalake

from training_assets_tests.support.loader_lakes import FIRST_DAY, PlainDay, write_lake

pytest.importorskip("torch")

EXAMPLES = Path(__file__).parents[3] / "examples"
EXAMPLE = EXAMPLES / "train_transformer.py"


def day_of_repeat_buyers(rng: np.random.Generator, number: int) -> PlainDay:
    """Customers order what they acted on before, and hardly anything else."""
    day = PlainDay(FIRST_DAY + timedelta(number))
    for customer in range(150):
        seen = rng.choice(np.arange(1, 200), 6, replace=False).tolist()
        day.histories[customer] = [(item, 1, n + 1) for n, item in enumerate(seen)]
        shown = [*seen[:2], *rng.integers(1, 200, 6).tolist()]
        labels = rng.random(8) < np.where(np.isin(shown, seen), 0.8, 0.05)
        day.rows += [
            (customer, f"{customer}", item, int(label))
            for item, label in zip(shown, labels, strict=True)
        ]
    return day


def test_example_beats_popularity_on_later_days(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rng = np.random.default_rng(0)
    lake = write_lake(tmp_path, [day_of_repeat_buyers(rng, n) for n in range(5)])
    main = runpy.run_path(str(EXAMPLE))["main"]
    found = main([str(lake), "--epochs=2", "--length=8", "--batch-size=128", "--device=cpu"])
    (learned,) = found.pop("transformer")
    assert learned > 0.85
    assert all(value < 0.65 for (value,) in found.values())
    printed = capsys.readouterr().out
    assert f"AUC of the transformer: {learned:.4f}" in printed
    assert "2024-03-01 to 2024-03-04, 4 days" in printed


def test_example_needs_days_to_learn_from(tmp_path: Path) -> None:
    lake = write_lake(tmp_path, [day_of_repeat_buyers(np.random.default_rng(0), 0)])
    main = runpy.run_path(str(EXAMPLE))["main"]
    with pytest.raises(SystemExit, match="1 published days; expected more than 1"):
        main([str(lake)])


def test_auc_counts_pairs() -> None:
    auc = runpy.run_path(str(EXAMPLE))["auc"]
    rng = np.random.default_rng(1)
    scores, labels = rng.integers(0, 5, 40).astype(float), rng.integers(0, 2, 40)
    pairs = [
        (high > low) + (high == low) / 2
        for high in scores[labels == 1]
        for low in scores[labels == 0]
    ]
    assert auc(scores, labels) == pytest.approx(np.mean(pairs))
    assert np.isnan(auc(scores, np.zeros(40)))


def day_that_features_tell(rng: np.random.Generator, number: int) -> PlainDay:
    """Customers order or do not, whatever they did before, and items of even ids more often."""
    day = PlainDay(FIRST_DAY + timedelta(number))
    for customer in range(100):
        day.histories[customer] = [(int(item), 1, 1) for item in rng.integers(1, 99, 3)]
        for item in rng.integers(1, 99, 6).tolist():
            is_order = rng.random() < (0.45 if customer % 3 else 0) + (0.45 if item % 2 == 0 else 0)
            day.rows.append((customer, f"{customer}", item, int(is_order)))
    return day


def test_features_stand_beside_histories(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    days = [day_that_features_tell(rng, n) for n in range(5)]
    lake = write_lake(tmp_path, days)
    shown = sorted({(row[0], row[2]) for day in days for row in day.rows})
    tables = {
        "user_features": [{"customer_id": c, "a": c % 3, "word": "x"} for c in range(100)],
        # Of one item nothing is known.
        "item_features": [{"item_id": i, "b": i % 2 == 0, "c": None} for i in range(2, 99)],
        "pair_features": [{"customer_id": c, "item_id": i, "action_type": 0} for c, i in shown],
    }
    for name, rows in tables.items():
        dated = [{"dt": day.dt, **row} for day in days for row in rows]
        if name == "pair_features":
            dated = [{**row, "d": 0.5} for row in dated]
        table = pa.Table.from_pylist(dated)
        if name == "item_features":
            table = table.set_column(3, "c", pa.nulls(len(table), pa.float64()))
        write_deltalake(f"{lake}/{name}", table, partition_by=["dt"])
    monkeypatch.syspath_prepend(str(EXAMPLES))
    main = runpy.run_path(str(EXAMPLES / "train_with_features.py"))["main"]
    found = main([str(lake), "--epochs=2", "--length=4", "--batch-size=128", "--device=cpu"])
    (sequences,), (features,), (both,) = (found[n] for n in ("sequences", "features", "both"))
    assert min(features, both) > 0.75 > sequences
