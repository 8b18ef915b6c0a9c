"""Transactions arrive as a feed; merchants learn at once which customers show a pattern.

Two mechanisms that know each other only through a store: ``feed`` puts chunks of the source into an
inbox, ``detector`` takes each of them once, changes the state in PostgreSQL, and puts what it
detects. Begin with ``settings`` (the numbers), ``inbox`` (the objects), ``state`` (what a chunk
does, in one transaction; the statements are in ``sql/``).

Needs the extra ``training-assets[transactions]``. May import engine, lake, settings, errors; knows
no Dagster.
"""
