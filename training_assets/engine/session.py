"""The session behind every transform: Sail in this process, Apache Spark, or Spark Connect.

| engine   | what it is                                     | needs            |
|----------|------------------------------------------------|------------------|
| sail     | embedded Rust engine, the default              | nothing          |
| spark    | Spark in local mode or on a standalone cluster | Java 17 or newer |
| remote   | any Spark Connect endpoint, ``sc://host:port`` | a running server |

Transforms see a ``SparkSession`` and nothing else, so they run unchanged on all three.
"""

import os
import re
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any, Final, Literal, cast
from urllib.parse import urlsplit

from py4j.protocol import Py4JError
from pyspark import SparkContext
from pyspark.sql import SparkSession
from pyspark.sql.connect.client.reattach import ExecutePlanResponseReattachableIterator
from pyspark.sql.connect.client.retries import DefaultPolicy

from training_assets.engine.memory import keep_memory
from training_assets.engine.probes import first_line, probe, require_java
from training_assets.engine.shipping import workers
from training_assets.errors import EngineError

Engine = Literal["sail", "spark", "remote"]
ENGINES: Final = ("sail", "spark", "remote")

# The contract is in UTC, and both engines must write the same physical types.
_COMMON_CONF: Final = {
    "spark.sql.session.timeZone": "UTC",
    "spark.sql.parquet.outputTimestampType": "TIMESTAMP_MICROS",
    "spark.sql.parquet.compression.codec": "zstd",
}
# Else each call of a function of pyspark looks at the stack, and through all of sys.path for
# IPython, so that an error could say where in the source the call was. A server of Spark has set
# this for good when it starts.
_NO_LOOK_AT_THE_STACK: Final = {"spark.python.sql.dataFrameDebugging.enabled": "false"}
# Padded rows are written by many day-writers at once instead of being sorted by day again, and
# listing a year of day folders is not worth a Spark job.
_SPARK_CONF: Final = {
    "spark.sql.maxConcurrentOutputFileWriters": "64",
    "spark.sql.sources.parallelPartitionDiscovery.threshold": "2000",
    "spark.sql.execution.arrow.pyspark.enabled": "true",
}
# As Spark's own spark.redaction.regex, and what object stores and databases call theirs.
_SECRET_KEYS: Final = re.compile(
    r"(?i)secret|password|passwd|token|credential|signature|sas|(access|account|api|private)[._-]?key"
)
# About 20 s in all, where pyspark would wait for a dead server for ten minutes at every call.
_MAX_RETRIES: Final = 7
_STOP_SECONDS: Final = 5.0
_POLL_SECONDS: Final = 0.005
_QUIET_SECONDS: Final = 0.05
_MAX_BACKOFF_MS: Final = 5_000


@contextmanager
def spark_session(
    engine: Engine = "sail",
    *,
    master: str = "local[*]",
    remote: str = "",
    memory: str = "4g",
    conf: Mapping[str, str] | None = None,
    connect_timeout_seconds: float = 10.0,
) -> Iterator[SparkSession]:
    """A session that is stopped, with its engine, when the block ends.

    ``master`` and ``memory`` (driver heap) apply to ``engine="spark"``, ``remote`` to
    ``engine="remote"``; ``conf`` takes any further Spark setting.

    Raises ``EngineError``: unknown engine, no Java 17+, a version that is refused, or an endpoint
    that does not answer within ``connect_timeout_seconds``.
    """
    session, stop = open_session(
        engine,
        master=master,
        remote=remote,
        memory=memory,
        conf=conf,
        connect_timeout_seconds=connect_timeout_seconds,
    )
    try:
        yield session
    finally:
        stop()


def open_session(
    engine: str,
    *,
    master: str,
    remote: str,
    memory: str,
    conf: Mapping[str, str] | None,
    connect_timeout_seconds: float,
) -> tuple[SparkSession, Callable[[], None]]:
    """A session and the function that stops it; see ``spark_session``."""
    if engine not in ENGINES:
        raise EngineError(
            f"engine: {engine!r} is unknown; expected one of {', '.join(ENGINES)}. "
            "Set TRAINING_ASSETS_ENGINE."
        )
    if engine == "spark":
        require_java()
    where = ""
    if engine == "remote":
        with _discreet(remote, {}):
            where = probe(remote, connect_timeout_seconds)
    # Python workers must run this interpreter; Spark reads the variable, not only the setting. On
    # the machines of a cluster it may have another path, which only the user knows.
    if engine != "spark" or master.startswith("local") or not os.environ.get("PYSPARK_PYTHON"):
        os.environ["PYSPARK_PYTHON"] = sys.executable
    extra = dict(conf or {})
    with _discreet(remote, extra), _pyspark_mode(is_connect=engine != "spark") as release:
        if engine == "sail":
            session, stop = _open_sail(extra)
        elif engine == "spark":
            session, stop = _open_spark(master, memory, extra)
        else:
            session, stop = _open_remote(remote, extra, where)

    open_workers = ExitStack()
    open_workers.enter_context(workers(are_here=engine == "sail"))

    def stop_once() -> None:
        try:
            open_workers.close()
            stop()
        finally:
            release()

    return session, stop_once


@contextmanager
def _discreet(remote: str, conf: Mapping[str, str]) -> Iterator[None]:
    """Errors without what must stay secret: parameters of the endpoint, keys and tokens in conf.

    Dagster keeps errors with all that led to them, so those are dropped with it.
    """
    secrets = [part.partition("=")[2] for part in remote.split(";")[1:]]
    secrets += [urlsplit(remote).password or "", *urlsplit(remote).netloc.split("@")[:-1]]
    secrets += [value for key, value in conf.items() if _SECRET_KEYS.search(key)]
    try:
        yield
    except Exception as error:
        whole = "".join(traceback.format_exception(error))
        told = sorted((text for text in secrets if text and text in whole), key=len, reverse=True)
        if not told:
            raise
        message = str(error)
        if error.__cause__:
            # Cut off as it is, it may end within a secret.
            message = message.replace(first_line(error.__cause__), type(error.__cause__).__name__)
        for text in told:
            message = message.replace(text, "***")
        raise EngineError(message) from None


_open_modes: list[bool] = []


@contextmanager
def _pyspark_mode(*, is_connect: bool) -> Iterator[Callable[[], None]]:
    """Reserve pyspark's one mode per process; what is yielded gives it back.

    pyspark.sql.functions makes classic or Connect columns by an environment variable, so one
    process can use both after one another, but never at once.
    """
    if (not is_connect) in _open_modes:
        raise EngineError(
            "engine: a session of the other kind is open in this process; pyspark can hold either "
            "classic Spark or Connect (sail, remote). Close that session first."
        )
    if not is_connect:
        for name in ("SPARK_CONNECT_MODE_ENABLED", "SPARK_REMOTE", "SPARK_LOCAL_REMOTE"):
            os.environ.pop(name, None)
    _open_modes.append(is_connect)

    def release() -> None:
        if is_connect in _open_modes:
            _open_modes.remove(is_connect)

    try:
        yield release
    except BaseException:
        release()
        raise


def _open_sail(conf: Mapping[str, str]) -> tuple[SparkSession, Callable[[], None]]:
    os.environ.setdefault("RUST_LOG", "error")
    try:
        from pysail.spark import SparkConnectServer
    except ImportError as error:
        raise EngineError(
            f"engine sail: pysail cannot be imported ({error}); expected pysail 0.7. "
            "Install it with 'pip install \"pysail>=0.7.2,<0.8\"'."
        ) from error
    keep_memory()
    server = SparkConnectServer("127.0.0.1", 0)
    server.start(background=True)
    address = server.listening_address
    if address is None:
        raise EngineError("engine sail: the server has no address; expected a loopback port.")
    own = {**_NO_LOOK_AT_THE_STACK, **conf}
    session = _connect(f"sc://127.0.0.1:{address[1]}", own, "engine sail")
    # Ctrl-C also ends Sail, which pyspark would then ask, again and again, to stop its work.
    client = cast(Any, session).client
    client.set_retry_policies([DefaultPolicy(max_retries=1)])
    client.interrupt_operation = lambda operation_id: None
    # An answer from this very process is not lost on the way. To let go of answers that could be
    # asked for again, pyspark has threads that a process waits for when it ends, and Ctrl-C in the
    # middle of a call leaves the lock behind that they wait for.
    client.disable_reattachable_execute()

    # The closure also keeps the server alive: it stops as soon as it is garbage collected.
    def stop() -> None:
        _stop_client(session)
        server.stop()
        _wait_for_workers()

    return session, stop


def _wait_for_workers() -> None:
    """Let Python end that Sail runs in threads of its own, because a query took all it wanted.

    A process that ends while such a thread is at work is aborted.
    """
    now = time.monotonic()
    ends, quiet_since = now + _STOP_SECONDS, now
    # Between two calls of a worker nothing is seen of it.
    while now < ends and now - quiet_since < _QUIET_SECONDS:
        time.sleep(_POLL_SECONDS)
        now = time.monotonic()
        # A thread that Python did not start may be known to it all the same, as a dummy.
        ours = {t.ident for t in threading.enumerate() if type(t) is not threading._DummyThread}
        if sys._current_frames().keys() - ours:
            quiet_since = now


def _stop_client(session: SparkSession) -> None:
    """Stop a Connect session, but do not wait for good: a call that was interrupted never ends."""
    if not _does_end(session.stop):
        # Calls that get no answer would keep the process from ending; this ends them.
        _does_end(cast(Any, session).client._channel.close)
    _end_release_threads()


def _does_end(stop: Callable[[], None]) -> bool:
    thread = threading.Thread(target=stop, daemon=True)
    thread.start()
    thread.join(_STOP_SECONDS)
    return not thread.is_alive()


def _end_release_threads() -> None:
    """End the threads in which pyspark lets go of answers.

    It ends those that it knows; one that Ctrl-C interrupted in its very start is unknown, and the
    process would wait for it for good.
    """
    for answers in list(ExecutePlanResponseReattachableIterator._instances):
        if pool := answers._release_thread_pool_instance:
            pool.shutdown(wait=False)


def _open_spark(
    master: str, memory: str, conf: Mapping[str, str]
) -> tuple[SparkSession, Callable[[], None]]:
    settings = {**_COMMON_CONF, **_SPARK_CONF, **_NO_LOOK_AT_THE_STACK, "spark.master": master}
    settings["spark.driver.memory"] = memory
    settings["spark.ui.showConsoleProgress"] = "false"
    settings["spark.app.name"] = "training_assets"
    if master.startswith("local"):
        settings["spark.driver.host"] = "127.0.0.1"
        settings["spark.driver.bindAddress"] = "127.0.0.1"
    try:
        session = _classic_session({**settings, **conf})
    except Exception as error:
        raise EngineError(
            f"engine spark: no session at {master} ({first_line(error)}); expected a master that "
            "answers. Check that it runs, and TRAINING_ASSETS_MASTER."
        ) from error
    session.sparkContext.setLogLevel("ERROR")
    return session, lambda: _stop_spark(session)


def _classic_session(conf: Mapping[str, str]) -> SparkSession:
    builder = SparkSession.builder
    for key, value in conf.items():
        builder = builder.config(key, value)
    return builder.getOrCreate()


def _stop_spark(session: SparkSession) -> None:
    try:
        session.stop()
    except (Py4JError, OSError):
        # The driver is gone, and pyspark would take its place in this process for alive.
        SparkContext._active_spark_context = SparkContext._gateway = SparkContext._jvm = None
        cast(Any, SparkSession)._instantiatedSession = None


def _open_remote(
    remote: str, conf: Mapping[str, str], where: str
) -> tuple[SparkSession, Callable[[], None]]:
    # Only settings of SQL: a session cannot change those of the server.
    session = _connect(remote, {**_SPARK_CONF, **conf}, where)
    return session, lambda: _stop_client(session)


def _connect(endpoint: str, conf: Mapping[str, str], where: str) -> SparkSession:
    try:
        session = cast(Any, SparkSession.builder).remote(endpoint).create()
        session.client.set_retry_policies(
            [DefaultPolicy(max_retries=_MAX_RETRIES, max_backoff=_MAX_BACKOFF_MS)]
        )
        for key, value in {**_COMMON_CONF, **conf}.items():
            session.conf.set(key, value)
        _ = session.version
    except Exception as error:
        raise EngineError(
            f"{where}: the session was refused ({first_line(error)}); expected a server that "
            "speaks the protocol of pyspark 4.2. Use matching versions."
        ) from error
    return cast(SparkSession, session)
