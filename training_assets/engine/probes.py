"""Whether an engine can be had, asked before it is started."""

import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import grpc
from pyspark.errors import PySparkException
from pyspark.sql.connect.client import DefaultChannelBuilder

from training_assets.errors import EngineError

_MIN_JAVA: Final = 17
_CONNECT_PORT: Final = 15002


def probe(remote: str, timeout_seconds: float) -> str:
    """How messages name the endpoint; raises ``EngineError`` unless it speaks gRPC in time.

    Asked before there is a client, because a client retries for minutes, also at exit.
    """
    try:
        parts = urlsplit(remote)
        # Parameters after the port may hold a token, so no message repeats them.
        where = f"engine remote: sc://{parts.hostname}:{parts.port or _CONNECT_PORT}"
        is_endpoint = parts.scheme == "sc" and bool(parts.hostname)
        channel = DefaultChannelBuilder(remote).toChannel() if is_endpoint else None
    except (ValueError, PySparkException):
        channel = None
    if channel is None:
        raise EngineError(
            "engine remote: the endpoint is not of the form sc://host:port, with parameters as in "
            "sc://host:port/;token=…. Set TRAINING_ASSETS_REMOTE."
        ) from None
    try:
        grpc.channel_ready_future(channel).result(timeout_seconds)
    except grpc.FutureTimeoutError:
        raise EngineError(
            f"{where} does not answer within {timeout_seconds:g} s; expected a Spark Connect "
            "server. Start it, or correct TRAINING_ASSETS_REMOTE."
        ) from None
    finally:
        channel.close()
    return where


def java_version() -> int | None:
    """Major version of the Java that Spark would start, or None where there is none."""
    home = os.environ.get("JAVA_HOME")
    java = str(Path(home) / "bin" / "java") if home else shutil.which("java")
    if not java or not Path(java).exists():
        return None
    try:
        answer = subprocess.run(
            [java, "-version"], capture_output=True, text=True, timeout=30, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    found = re.search(r'version "(\d+)(?:\.(\d+))?', answer.stderr + answer.stdout)
    if not found:
        return None
    major = int(found.group(1))
    # Java 8 calls itself 1.8.
    return int(found.group(2) or 0) if major == 1 else major


def require_java() -> None:
    """Raise ``EngineError`` unless Spark can be started."""
    version = java_version()
    if version is None or version < _MIN_JAVA:
        found = "none was found" if version is None else f"Java {version} was found"
        raise EngineError(
            f"engine spark: Apache Spark needs Java {_MIN_JAVA} or newer, and {found}. "
            "Install a JRE and set JAVA_HOME, or use the default engine, sail, which needs none."
        )


def first_line(error: BaseException) -> str:
    text = str(error).strip().splitlines()
    return f"{type(error).__name__}: {text[0][:200]}" if text else type(error).__name__
