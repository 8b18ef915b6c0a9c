"""Files of a day that were delivered twice: the same bytes under two names."""

import hashlib
from collections import defaultdict
from dataclasses import replace
from os import stat

from pyarrow.fs import LocalFileSystem

from training_assets.list_format import locate
from training_assets.sources.listing import RawFile
from training_assets.sources.reader import RawDays

_CHUNK = 2**22


def without_copies(raw: RawDays) -> tuple[RawDays, tuple[RawFile, ...]]:
    """The files of which each content stands once a day, the first by name; and the copies.

    Only files of equal size are read for it.
    """
    groups: dict[tuple[object, int], list[RawFile]] = defaultdict(list)
    for file in raw.listed:
        size = file.size if file.size is not None else stat(file.uri).st_size
        if size:
            groups[file.day, size].append(file)
    copies: list[RawFile] = []
    for group in groups.values():
        seen: set[bytes] = set()
        for file in sorted(group, key=lambda file: file.name) if len(group) > 1 else ():
            digest = _digest(file.uri)
            if digest in seen:
                copies.append(file)
            seen.add(digest)
    if not copies:
        return raw, ()
    gone = {file.uri for file in copies}
    kept = tuple(file for file in raw.listed if file.uri not in gone)
    tasks = tuple(task for task in raw.tasks if task.uri not in gone)
    return replace(raw, listed=kept, tasks=tasks), tuple(copies)


def _digest(uri: str) -> bytes:
    filesystem, path = locate(uri)
    found = hashlib.blake2b()
    with (filesystem or LocalFileSystem()).open_input_stream(path) as file:
        while part := file.read(_CHUNK):
            found.update(part)
    return found.digest()
