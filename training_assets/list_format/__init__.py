"""The Parquet files of the lake: lists of small integers encoded at once, and a seal on every file.

Imports nothing of ours; runs on workers that have pyarrow and NumPy but not this package.
FORMAT.md says what is in a file. Begin with ``lists`` (what a column is), then ``writer`` and
``reader``; ``seal`` and ``sealed`` are for files of any Parquet writer.
"""

from training_assets.list_format.arrow_writer import LIST_FORMATS, ListFormat, open_writer
from training_assets.list_format.errors import DamagedFileError
from training_assets.list_format.lists import JaggedLists, SharedLists
from training_assets.list_format.reader import ListParquetReader
from training_assets.list_format.seal import file_hash, seal, seal_parts
from training_assets.list_format.sealed import SealedParquet
from training_assets.list_format.stores import locate, write_file

__all__ = [
    "LIST_FORMATS",
    "DamagedFileError",
    "JaggedLists",
    "ListFormat",
    "ListParquetReader",
    "SealedParquet",
    "SharedLists",
    "file_hash",
    "locate",
    "open_writer",
    "seal",
    "seal_parts",
    "write_file",
]
