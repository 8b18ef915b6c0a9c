"""``python -m training_assets.cli``."""

from training_assets.cli import main

main()
