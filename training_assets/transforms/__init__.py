"""How each table is made: DataFrame in, DataFrame out; no session, clock, lake or Dagster.

Every expression used here gives the same rows on Sail and on Apache Spark.
"""
