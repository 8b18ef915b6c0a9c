"""Run a command and watch it and its children: CPU, memory and bytes (Linux)."""

import json
import resource
import subprocess
import tempfile
import threading
from pathlib import Path
from typing import Any, Final

import psutil

_INTERVAL_S: Final = 0.05
_IO: Final = ("rchar", "wchar", "read_bytes", "write_bytes")


def run_measured(command: list[str], *, timeout: float) -> dict[str, Any]:
    """What the command's last line of output says as JSON, and what it took; or ``error``.

    ``process_cpu_s``   user and system, of the process and all its descendants
    ``peak_rss_bytes``  largest sum over the process tree, sampled 20 times a second
    ``max_rss_bytes``   largest size of any single process of the tree, as the kernel saw it
    ``rchar, wchar``    bytes through read and write calls, so also from and to the page cache
    ``read_bytes, write_bytes``  bytes fetched from and sent to the disk

    The bytes are summed over the tree; memory-mapped reads are not in rchar.
    """
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    with tempfile.TemporaryFile("w+") as log:
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=log, text=True, start_new_session=True
        )
        watch = _Watch(process.pid)
        watch.start()
        try:
            output, _ = process.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            watch.kill()
            output, _ = process.communicate()
        watch.stop()
        log.seek(0)
        errors = log.read()
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if process.returncode:
        lines = errors.strip().splitlines() or ["no message"]
        told = next((line for line in lines if "Error" in line), lines[-1])
        return {"error": f"exit code {process.returncode}: {told[:500]}"}
    # The kernel counts exactly, but only children that were waited for; Spark's JVM is not.
    seconds = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {
        **json.loads(output.strip().splitlines()[-1]),
        "process_cpu_s": round(max(seconds, watch.cpu_s), 3),
        "peak_rss_bytes": watch.peak_rss_bytes,
        "max_rss_bytes": watch.max_rss_bytes,
        **watch.io,
    }


class _Watch(threading.Thread):
    def __init__(self, pid: int) -> None:
        super().__init__(daemon=True)
        self._root = psutil.Process(pid)
        self._is_over = threading.Event()
        self._io_by_pid: dict[int, dict[str, int]] = {}
        self._cpu_by_pid: dict[int, float] = {}
        self.peak_rss_bytes = 0
        self.max_rss_bytes = 0

    @property
    def io(self) -> dict[str, int]:
        return {name: sum(found[name] for found in self._io_by_pid.values()) for name in _IO}

    @property
    def cpu_s(self) -> float:
        return sum(self._cpu_by_pid.values())

    def run(self) -> None:
        while not self._is_over.wait(_INTERVAL_S):
            self._sample()

    def stop(self) -> None:
        self._is_over.set()
        self.join()

    def kill(self) -> None:
        for process in self._tree():
            try:
                process.kill()
            except psutil.NoSuchProcess:
                continue

    def _tree(self) -> list[psutil.Process]:
        try:
            return [*self._root.children(recursive=True), self._root]
        except psutil.NoSuchProcess:
            return []

    def _sample(self) -> None:
        total = 0
        for process in self._tree():
            folder = Path(f"/proc/{process.pid}")
            try:
                status = _fields(folder / "status")
                total += int(status.get("VmRSS", "0").split()[0]) * 1024
                peak = int(status.get("VmHWM", "0").split()[0]) * 1024
                self.max_rss_bytes = max(self.max_rss_bytes, peak)
                self._cpu_by_pid[process.pid] = sum(process.cpu_times()[:2])
                found = _fields(folder / "io")
                self._io_by_pid[process.pid] = {name: int(found[name]) for name in _IO}
            except (OSError, KeyError, ValueError, IndexError, psutil.NoSuchProcess):
                # It ended while it was looked at; its last sample stands.
                continue
        self.peak_rss_bytes = max(self.peak_rss_bytes, total)


def _fields(path: Path) -> dict[str, str]:
    return dict(line.split(":", 1) for line in path.read_text().splitlines() if ":" in line)
