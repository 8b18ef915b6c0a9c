"""What the workers run on whole columns: Arrow and NumPy; no engine, no Dagster.

The transforms say the same in DataFrame terms; tests hold both against the brute-force reference.

May import schemas and errors. Begin with ``timelines.py``.
"""

from types import ModuleType

from pyspark import cloudpickle

from training_assets import errors, list_format, schemas
from training_assets.kernels import (
    action_files,
    day_files,
    histories,
    timelines,
    training_rows,
)

# Workers of a cluster have pyarrow and NumPy but need not have this package.
_MODULES: tuple[ModuleType, ...] = (
    errors,
    schemas,
    list_format,
    timelines,
    action_files,
    day_files,
    histories,
    training_rows,
)
for _module in _MODULES:
    cloudpickle.register_pickle_by_value(_module)
