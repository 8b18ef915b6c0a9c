"""The engine as a Dagster resource: the one module of this room that knows Dagster."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final

import dagster as dg
from dagster_pyspark import LazyPySparkResource
from pydantic import Field, PrivateAttr
from pyspark.sql import SparkSession

from training_assets.engine.session import open_session
from training_assets.errors import EngineError

_REMOTE: Final = "TRAINING_ASSETS_REMOTE"


def _value(setting: Any) -> str:
    """A setting as text, out of the environment where only its name was given.

    Within a run Dagster does that for fields, but not for what is in a dictionary.
    """
    if isinstance(setting, dg.EnvVar):
        name = setting.env_var_name
    elif isinstance(setting, dict) and setting.keys() == {"env"}:
        name = str(setting["env"])
    else:
        return str(setting).strip()
    value = os.environ.get(name)
    if value is None:
        raise EngineError(
            f"engine: the environment variable {name} is not set; expected the value of a setting. "
            "Set it, or take the setting away."
        )
    return value.strip()


class SparkResource(LazyPySparkResource):
    """dagster-pyspark's lazy resource, able to start each of the three engines and to stop it.

    All fields are typed and top-level, so each takes a ``dg.EnvVar``; so do the values of
    ``spark_config``, which holds any further Spark settings. Give tokens and keys in that way only:
    Dagster shows the configuration of its resources to everyone who sees the UI.
    """

    spark_config: dict[str, Any] = Field(
        default={}, description="Any further Spark settings.", repr=False
    )
    engine: str = Field(default="sail", description="sail, spark or remote.")
    master: str = Field(default="local[*]", description="Spark master: local[N] or spark://…")
    remote: str = Field(
        default="", description="Spark Connect endpoint sc://host:port.", repr=False
    )
    memory: str = Field(default="4g", description="Driver heap of Spark, for example 4g.")
    connect_timeout_seconds: float = Field(
        default=10.0, description="How long an endpoint may take to answer."
    )

    _stop: Callable[[], None] | None = PrivateAttr(default=None)

    def _init_session(self) -> None:
        if self._spark_session is None:
            self._spark_session, self._stop = open_session(
                self.engine,
                master=self.master,
                remote=_value(self.remote),
                memory=self.memory,
                conf={key: _value(value) for key, value in self.spark_config.items()},
                connect_timeout_seconds=self.connect_timeout_seconds,
            )

    def web_places(self) -> dict[str, str]:
        """Where the engine shows its work: Spark's UI, and its event log if it keeps one."""
        if self.engine != "spark":
            return {}
        context = self.spark_session.sparkContext
        conf = context.getConf()
        places = {"spark_ui": context.uiWebUrl}
        if conf.get("spark.eventLog.enabled", "false") == "true":
            places["spark_event_log"] = conf.get("spark.eventLog.dir")
        return {name: place for name, place in places.items() if place}

    @contextmanager
    def session(self) -> Iterator[SparkSession]:
        """A session outside of a Dagster run; see ``spark_session``."""
        try:
            yield self.spark_session
        finally:
            self._close()

    def _close(self) -> None:
        if self._stop is not None:
            self._stop()
        self._spark_session = self._stop = None

    def teardown_after_execution(self, context: dg.InitResourceContext) -> None:
        self._close()

    @classmethod
    def from_env(cls) -> "SparkResource":
        """TRAINING_ASSETS_ENGINE, _MASTER, _REMOTE and _MEMORY; defaults where unset."""

        def value(name: str, default: str) -> str:
            return os.environ.get(f"TRAINING_ASSETS_{name}", "").strip() or default

        return cls(
            engine=value("ENGINE", "sail"),
            master=value("MASTER", "local[*]"),
            # By name, because it may hold a token.
            remote=dg.EnvVar(_REMOTE) if value("REMOTE", "") else "",
            memory=value("MEMORY", "4g"),
        )
