"""Transactions arrive as a feed; merchants learn at once which customers show a pattern.

Two mechanisms that know each other only through a store: ``feed`` puts chunks of the source into an
inbox, ``detector`` takes each of them once, changes the state in PostgreSQL, and puts what it
detects. All modules but ``settings`` need the extra ``training-assets[transactions]``.

May import engine, lake, settings and errors; knows no Dagster. Begin with ``settings.py`` (the
numbers), ``inbox.py`` (the objects) and ``state.py`` (what a chunk does, in one transaction; the
statements are in ``sql/``).
"""

from training_assets.transactions.settings import TransactionSettings

__all__ = ["TransactionSettings"]
