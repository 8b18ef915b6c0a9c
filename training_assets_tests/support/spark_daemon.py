"""What Spark forks its Python workers from, with all that they import already there.

Spark looks through all objects of a worker after each task, and each worker imports anew what its
first task needs: in tests, whose tasks have few rows, that is most of what they cost. What is there
before the fork is imported once, and looked through never.
"""

import gc

import numpy  # noqa: F401
import pandas  # noqa: F401
import pyarrow.compute
import pyarrow.parquet  # noqa: F401
import pyspark.worker  # noqa: F401
from pyspark.daemon import manager

if __name__ == "__main__":
    gc.collect()
    gc.freeze()
    manager()
