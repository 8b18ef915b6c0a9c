"""Stand-in for the store; replaced on merge."""

import os
from dataclasses import dataclass
from os import PathLike
from pathlib import Path


@dataclass(frozen=True)
class Entry:
    path: str
    size: int
    modified_ns: int
    etag: str


class Store:
    def __init__(self, root: Path) -> None:
        self.root = root
        self.url = str(root)

    def child(self, *parts: str) -> "Store":
        return Store(self.root.joinpath(*parts))

    def uri(self, path: str) -> str:
        return str(self.root / path)

    def list(self, prefix: str = "") -> "list[Entry]":
        found = []
        for file in sorted(self.root.rglob("*")):
            path = str(file.relative_to(self.root))
            if file.is_file() and path.startswith(prefix) and not file.name.endswith(".tmp"):
                stat = file.stat()
                found.append(Entry(path, stat.st_size, stat.st_mtime_ns, f"{stat.st_mtime_ns}"))
        return found

    def read(self, path: str) -> bytes:
        return (self.root / path).read_bytes()

    def put(self, path: str, data: bytes) -> None:
        target = self.root / path
        target.parent.mkdir(parents=True, exist_ok=True)
        staged = target.with_name(target.name + f".{os.getpid()}.tmp")
        with open(staged, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(staged, target)

    def put_new(self, path: str, data: bytes) -> bool:
        target = self.root / path
        target.parent.mkdir(parents=True, exist_ok=True)
        staged = target.with_name(target.name + f".{os.getpid()}.tmp")
        with open(staged, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        try:
            os.link(staged, target)
        except FileExistsError:
            return target.read_bytes() == data
        finally:
            staged.unlink()
        return True

    def delete(self, paths: "list[str]") -> None:
        for path in paths:
            (self.root / path).unlink(missing_ok=True)


def open_store(location: str | PathLike[str]) -> Store:
    return Store(Path(location).expanduser().absolute())
