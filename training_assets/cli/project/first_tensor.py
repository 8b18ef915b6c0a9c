"""The newest published day as the first batch that a model sees; needs training-assets[torch].

A shop that shows no impressions has training samples instead: pairs of a customer and an item.
"""

from training_assets.loader import TrainingDays, published_days
from training_assets.settings import Settings

lake = Settings.from_env().lake
if not published_days(lake):
    raise SystemExit("No day is published. Run 'training-assets run'.")
for table in ("training_input", "training_samples"):
    days = published_days(lake, table=table)
    batches = TrainingDays(lake, days=days[-1:], table=table, batch_size=1024)
    batch = next(iter(batches.tensors("cpu")), None)
    if batch is not None:
        break
else:
    raise SystemExit(f"{days[-1]} has no training row. Look at 'training-assets sources'.")
print(f"{days[-1]}: {tuple(batch.labels.shape)} labels of {table}")
names = {
    "training_input": ("impressions", "actions", "action_types"),
    "training_samples": ("customer_ids", "item_ids", "features"),
}
for name in names[table]:
    tensor = getattr(batch, name)
    print(f"  {name}: {tuple(tensor.shape)} {tensor.dtype}")
