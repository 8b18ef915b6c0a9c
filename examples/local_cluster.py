"""A Spark standalone cluster and a Spark Connect server on this machine, from pyspark alone.

    python examples/local_cluster.py                  # runs until Ctrl-C, prints what to export
    python examples/local_cluster.py --workers 4 --cores 2 --memory-mb 2048 --port 0

Needs Java 17 or newer. Each of the processes is what a real cluster has on its machines:

    master        spark-class org.apache.spark.deploy.master.Master
    worker, …     spark-class org.apache.spark.deploy.worker.Worker spark://…
    connect       spark-submit --master spark://… --class …SparkConnectServer

Everything listens on 127.0.0.1 only. Every worker has room for two executors: one of the Connect
server, which keeps it, and one of a session that names the master. In Python:

    with local_cluster() as cluster, spark_session("remote", remote=cluster.remote) as spark: ...
"""

import argparse
import json
import os
import random
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import grpc
import pyspark

HOST = "127.0.0.1"
HOME = Path(pyspark.__file__).parent
CONNECT_SERVER = "org.apache.spark.sql.connect.service.SparkConnectServer"
START_SECONDS = 180


@dataclass(frozen=True)
class Cluster:
    """Where a started cluster answers. ``env`` is for the process of a session on the master."""

    master: str
    remote: str
    ui: str
    logs: Path
    env: Mapping[str, str]

    def state(self) -> dict[str, Any]:
        """What the master knows: its workers, and the applications with their cores."""
        with urlopen(f"{self.ui}/json/", timeout=5) as answer:
            return dict(json.load(answer))


@contextmanager
def local_cluster(
    *,
    workers: int = 2,
    cores: int = 1,
    memory_mb: int = 1024,
    port: int = 0,
    ui_port: int = 0,
    connect_port: int = 0,
    python: str = sys.executable,
    conf: Mapping[str, str] | None = None,
) -> Iterator[Cluster]:
    """A cluster that answers, stopped when the block ends.

    ``cores`` and ``memory_mb`` are of one executor; each worker has room for two. Port 0 is any
    free one. ``python`` runs the Python parts of the workers. ``conf`` takes any further Spark
    setting, for all sessions.
    """
    with ExitStack() as stack:
        folder = Path(
            stack.enter_context(
                tempfile.TemporaryDirectory(prefix="cluster-", ignore_cleanup_errors=True)
            )
        )
        env = {
            "PYSPARK_PYTHON": python,
            "SPARK_HOME": str(HOME),
            "SPARK_CONF_DIR": str(folder),
            "SPARK_LOCAL_IP": HOST,
            "SPARK_LOCAL_DIRS": str(folder / "shuffle"),
        }
        port, ui_port, connect_port = (n or _free_port() for n in (port, ui_port, connect_port))
        cluster = Cluster(
            master=f"spark://{HOST}:{port}",
            remote=f"sc://{HOST}:{connect_port}",
            ui=f"http://{HOST}:{ui_port}",
            logs=folder,
            env=env,
        )
        settings = {
            "spark.executor.cores": cores,
            "spark.executor.memory": f"{memory_mb}m",
            # An application takes all cores that it can get, unless it is told not to.
            "spark.cores.max": workers * cores,
            "spark.master.rest.enabled": "false",
            "spark.connect.grpc.binding.address": HOST,
            "spark.connect.grpc.binding.port": connect_port,
            **(conf or {}),
        }
        lines = [f"{name} {value}\n" for name, value in settings.items()]
        (folder / "spark-defaults.conf").write_text("".join(lines))

        master = ["org.apache.spark.deploy.master.Master", "--host", HOST, "--port", str(port)]
        run = _Processes(stack, folder, env)
        run.start("master", "spark-class", *master, "--webui-port", str(ui_port))
        run.wait_until("the master answers", lambda: cluster.state()["status"] == "ALIVE")

        room = ["--cores", str(2 * cores), "--memory", f"{2 * memory_mb}m"]
        for n in range(workers):
            place = ["--host", HOST, "--webui-port", "0", "--work-dir", str(folder / f"work-{n}")]
            worker = ["org.apache.spark.deploy.worker.Worker", cluster.master, *place, *room]
            run.start(f"worker-{n}", "spark-class", *worker)
        submit = ["--master", cluster.master, "--class", CONNECT_SERVER, "--name", "connect"]
        run.start("connect", "spark-submit", *submit)
        run.wait_until("all workers are there", lambda: cluster.state()["aliveworkers"] == workers)
        run.wait_until("Spark Connect answers", lambda: _speaks_grpc(connect_port))
        run.wait_until(
            "Spark Connect has its executors",
            lambda: any(app["cores"] == workers * cores for app in cluster.state()["activeapps"]),
        )
        yield cluster


class _Processes:
    """Started together, watched while they start, and stopped together."""

    def __init__(self, stack: ExitStack, folder: Path, env: Mapping[str, str]) -> None:
        self._stack, self._folder = stack, folder
        quick = "-XX:+UseSerialGC -XX:TieredStopAtLevel=1"
        # Nothing of another Spark, such as a session that the caller has open.
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("SPARK_", "PYSPARK_"))}
        self._env = {**kept, **env, "SPARK_DAEMON_JAVA_OPTS": quick}
        self._running: dict[str, subprocess.Popen[bytes]] = {}

    def start(self, name: str, script: str, *arguments: str) -> None:
        log = self._stack.enter_context((self._folder / f"{name}.log").open("wb"))
        process = subprocess.Popen(
            [str(HOME / "bin" / script), *arguments],
            env=self._env,
            stdout=log,
            stderr=subprocess.STDOUT,
            # Ctrl-C is for this script, which then stops the processes in order.
            start_new_session=True,
        )
        self._stack.callback(_stop, process)
        self._running[name] = process

    def wait_until(self, what: str, is_so: Callable[[], bool]) -> None:
        end, last = time.monotonic() + START_SECONDS, "no answer that fits"
        while True:
            for name, process in self._running.items():
                if process.poll() is not None:
                    log = (self._folder / f"{name}.log").read_text(errors="replace")
                    raise RuntimeError(f"{name} ended before {what}:\n{log[-4000:]}")
            try:
                if is_so():
                    return
            except (OSError, ValueError) as error:
                # Nobody listens yet; or the master does, with its page for people at every
                # address, until it has added the one in JSON.
                last = repr(error)
            if time.monotonic() > end:
                raise RuntimeError(
                    f"waited {START_SECONDS} s until {what} ({last}); see {self._folder}"
                )
            time.sleep(0.2)


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _speaks_grpc(port: int) -> bool:
    with grpc.insecure_channel(f"{HOST}:{port}") as channel:
        try:
            grpc.channel_ready_future(channel).result(1)
        except grpc.FutureTimeoutError:
            return False
    return True


def _free_port() -> int:
    """One that is free, below those that systems give to outgoing connections.

    Of these one may be taken, by the master or a worker, before the server gets to bind it.
    """
    while True:
        port = random.randint(20_000, 32_000)
        with socket.socket() as tried:
            if tried.connect_ex((HOST, port)) != 0:
                return port


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--cores", type=int, default=1, help="of one executor")
    parser.add_argument("--memory-mb", type=int, default=1024, help="of one executor")
    parser.add_argument("--port", type=int, default=7077, help="of the master; 0 is any free one")
    parser.add_argument("--ui-port", type=int, default=8080)
    parser.add_argument("--connect-port", type=int, default=15002)
    parser.add_argument("--python", default=sys.executable, help="of the workers")
    given = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    print("starting …", flush=True)
    try:
        with local_cluster(**vars(given)) as cluster:
            # What training-assets needs, in another terminal.
            for name, value in cluster.env.items():
                print(f"export {name}={value}")
            print(f"export TRAINING_ASSETS_ENGINE=spark TRAINING_ASSETS_MASTER={cluster.master}")
            print("# or, through Spark Connect:")
            print(f"export TRAINING_ASSETS_ENGINE=remote TRAINING_ASSETS_REMOTE={cluster.remote}")
            print(f"# The cluster's UI: {cluster.ui}   Ctrl-C stops it all.", flush=True)
            signal.pause()
    except KeyboardInterrupt:
        print("stopped")


if __name__ == "__main__":
    main()
