"""What exists in Dagster: the raw tables, the three daily tables and their checks.

All three tables are built by one step (``daily.py``), so that a run has one engine session whatever
the executor, and so that one bad day of a range neither stops the other days nor the next table.
"""
