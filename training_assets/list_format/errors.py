"""The error of the room; who calls it may give it another name."""


class DamagedFileError(ValueError):
    """A file is not what was written; its message names the file, what is wrong and what to do."""

    @classmethod
    def of(cls, file: str, what: str, expected: str) -> "DamagedFileError":
        return cls(f"{file}: {what}; expected {expected}. Publish the day again.")
