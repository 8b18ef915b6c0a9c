"""The command that tells Prometheus of the lake: as a file, or by HTTP."""

import os
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import click

from training_assets.cli.console import console, open_lake
from training_assets.errors import TrainingAssetsError
from training_assets.lake import Lake
from training_assets.monitoring.prometheus import lake_metrics
from training_assets.settings import Settings
from training_assets.tables import SPECS
from training_assets.tables.watched import watched_tables

_TYPE = "text/plain; version=0.0.4; charset=utf-8"


@click.command()
@click.option("--output", type=click.Path(dir_okay=False), help="A file for the node exporter.")
@click.option("--port", type=click.IntRange(0, 65535), help="Serve /metrics there instead.")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to serve at.")
def metrics(output: str | None, port: int | None, host: str) -> None:
    """Print what Prometheus is told of the lake: rows, latency, drift, nulls of the newest days."""
    if port is not None:
        with ThreadingHTTPServer((host, port), _Handler) as server:
            console.print(f"http://{host}:{server.server_port}/metrics")
            server.serve_forever()
        return
    text = _metrics()
    if output is None:
        click.echo(text, nl=False)
        return
    # The node exporter must never see half a file.
    fresh = Path(f"{output}.{os.getpid()}")
    fresh.write_text(text)
    os.replace(fresh, output)


def _metrics() -> str:
    lake = Lake(open_lake().store)
    return lake_metrics(lake, Settings.from_env(), watched_tables(SPECS.values()))


class _Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        if self.path.partition("?")[0] != "/metrics":
            self.send_error(404)
            return
        try:
            body = _metrics().encode()
        except TrainingAssetsError as error:
            self.send_error(503, explain=str(error))
            return
        self.send_response(200)
        self.send_header("Content-Type", _TYPE)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Scrapes are no news."""
