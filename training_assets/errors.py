"""Every error that the platform raises on purpose.

TrainingAssetsError
├── SettingsError        a knob has a value that cannot work
├── EngineError          no session: missing Java, refused version, dead endpoint
├── SchemaError          a table has a wrong or missing column
├── RawDataError         raw files of a day are missing or unreadable
├── DayNotPublishedError a day was asked for that the lake does not hold
├── StoreError           the place of the lake cannot be read or written
├── LakeFormatError      a table was written by an older version, or cannot lie there
├── PublishError         a day could not be published; it stands as it was, or whole
├── DatabaseError        the database of the patterns cannot be had, or holds something else
├── ChunkError           chunks of the feed overlap, or one is other than it was
└── ValidationError      the tables of a published day do not fit together

Messages read ``where: what is wrong with the value; what was expected. What to do.``
"""


class TrainingAssetsError(Exception):
    """Base of all errors raised on purpose."""


class SettingsError(TrainingAssetsError, ValueError):
    """A setting has a value that cannot work."""


class EngineError(TrainingAssetsError):
    """No engine session could be had."""


class SchemaError(TrainingAssetsError, ValueError):
    """A table has a wrong or missing column; names table, column, expected and found."""


class RawDataError(TrainingAssetsError):
    """Raw files of a day are missing, unreadable, or vanished while they were read."""


class DayNotPublishedError(TrainingAssetsError, LookupError):
    """A day was asked for that the lake does not hold."""


class StoreError(TrainingAssetsError):
    """The place where data lies cannot be reached, read or written."""


class LakeFormatError(TrainingAssetsError):
    """A table is not of this version, or lies where the log's library cannot go."""


class PublishError(TrainingAssetsError):
    """Days could not be published; each stands as it was, or is published whole."""


class ValidationError(TrainingAssetsError):
    """The tables of a published day do not fit together; it was changed by other hands."""


class DatabaseError(TrainingAssetsError):
    """The database of the patterns cannot be had, or holds what other settings made."""


class ChunkError(TrainingAssetsError):
    """Chunks of the feed overlap, cannot be read, or are other than they were."""
