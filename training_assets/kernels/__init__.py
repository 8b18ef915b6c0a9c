"""What the workers run on whole columns: Arrow and NumPy; no engine, no Dagster.

The assets run them over files, ``build_training_input`` over frames; tests hold both against the
brute-force reference.

May import schemas and errors. Begin with ``timelines.py``.
"""

from types import ModuleType

from pyspark import cloudpickle

from training_assets import errors, schemas
from training_assets.kernels import (
    action_files,
    customer_rows,
    day_files,
    histories,
    list_parquet,
    list_reader,
    lists,
    thrift,
    timelines,
    training_rows,
    zstd_frames,
)

# Workers of a cluster have pyarrow and NumPy but need not have this package.
_MODULES: tuple[ModuleType, ...] = (
    errors,
    schemas,
    timelines,
    action_files,
    day_files,
    histories,
    lists,
    thrift,
    zstd_frames,
    list_parquet,
    list_reader,
    training_rows,
    customer_rows,
)
for _module in _MODULES:
    cloudpickle.register_pickle_by_value(_module)
