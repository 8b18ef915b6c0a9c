"""The Dagster instance that the platform sets up: how it stores events.

Imports nothing of ours: webserver and daemon load it without an engine. Begin with ``events.py``.
"""

from training_assets.instance.events import BatchedEventLogStorage

__all__ = ["BatchedEventLogStorage"]
