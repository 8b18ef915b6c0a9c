"""The newest published day as the first batch that a model sees; needs training-assets[torch]."""

from training_assets.loader import TrainingDays, published_days
from training_assets.settings import Settings

lake = Settings.from_env().lake
days = published_days(lake)
if not days:
    raise SystemExit("No day is published. Run 'training-assets run'.")
batch = next(iter(TrainingDays(lake, days=days[-1:], batch_size=1024).tensors("cpu")))
print(f"{days[-1]}: {tuple(batch.labels.shape)} labels")
for name, tensor in zip(("impressions", "actions", "action_types"), batch.inputs, strict=True):
    print(f"  {name}: {tuple(tensor.shape)} {tensor.dtype}")
