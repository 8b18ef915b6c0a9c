"""Commands of what the service has taken: consume, replay, republish, tenants."""

import signal
import threading
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from training_assets.cli.console import DAY, as_text, console
from training_assets.cli.service import require_extra
from training_assets.errors import SettingsError


@click.command()
@click.option("--drain", is_flag=True, help="Stop once all that is there is landed.")
@click.option("--max-records", default=50_000, show_default=True, help="Of a file.")
@click.option("--max-seconds", default=5.0, show_default=True, help="Until a file is written.")
def consume(drain: bool, max_records: int, max_seconds: float) -> None:
    """Land the topics of events in the raw layer, each record once.

    Any number may run at a time; one that is killed loses nothing and doubles nothing.
    """
    require_extra("consume")
    from training_assets.service.consuming import Landing
    from training_assets.service.logs import new_logger

    settings = _settings()
    if not settings.kafka:
        raise SettingsError(
            "consume: TRAINING_ASSETS_KAFKA is not set; expected the addresses of brokers. Set it "
            "to host:9092."
        )
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    log = new_logger(settings.logs)
    landing = Landing(settings, log, max_records=max_records, max_seconds=max_seconds)
    rows = landing.run(stop, _say, drains=drain)
    console.print(f"{rows:,} rows are landed")


@click.command()
@click.option("--tenant", default="default", show_default=True)
@click.option("--upload", "upload_id", help="Id of one upload.")
@click.option("--since", type=DAY, help="Or all that arrived on that day or later.")
@click.option("--code", help="Only uploads with rows that were refused for this.")
def replay(tenant: str, upload_id: str | None, since: datetime | None, code: str | None) -> None:
    """Judge refused rows anew under today's rules; those that are good now are taken."""
    require_extra("replay")
    from training_assets.service.replaying import replay as run

    core = _core()
    taken = 0
    try:
        for receipt in _receipts(core, tenant, upload_id, since):
            found = run(core, tenant, receipt, code)
            if found is not None:
                taken += found.accepted if found.is_new else 0
                console.print(
                    f"{found.upload_id}: {found.accepted} of {found.rejected} refused rows are "
                    f"good now{'' if found.is_new or not found.accepted else ', taken before'}"
                )
    finally:
        core.close()
    console.print(f"{taken:,} rows are taken")


@click.command()
@click.option("--tenant", default="default", show_default=True)
@click.option("--since", type=DAY, required=True, help="First day of arrival.")
def republish(tenant: str, since: datetime) -> None:
    """Announce accepted uploads again, for a log that has lost them."""
    require_extra("republish")
    from training_assets.service.replaying import receipts_since
    from training_assets.service.replaying import republish as run

    core = _core()
    if core.publisher is None:
        raise SettingsError(
            "republish: TRAINING_ASSETS_KAFKA is not set; expected the addresses of brokers. Set "
            "it to host:9092."
        )
    try:
        store = core.tenants.store(tenant)
        done, failed = run(core.publisher, receipts_since(store, since.date()))
    finally:
        core.close()
    console.print(f"{done:,} uploads are announced")
    if failed:
        raise click.ClickException(f"{failed} are not: the brokers do not take them. Run it again.")


@click.group()
def tenants() -> None:
    """Tenants of the service, each with a lake of its own."""
    require_extra("tenants")


@tenants.command("list")
def list_tenants() -> None:
    """Names and lakes of all tenants."""
    known = _core().tenants
    for name in known.names:
        console.print(f"{as_text(name)}  {as_text(known.location(name))}", soft_wrap=True)


@tenants.command()
@click.option("--folder", type=click.Path(path_type=Path, file_okay=False), default=Path("."))
def workspace(folder: Path) -> None:
    """Write a workspace.yaml with one code location a tenant."""
    from training_assets.service.workspaces import write_workspace

    for path in write_workspace(_core().tenants, folder):
        console.print(as_text(path), soft_wrap=True)


def _say(message: str) -> None:
    console.print(message, markup=False, soft_wrap=True)


def _settings() -> Any:
    from training_assets.service.settings import ServiceSettings

    return ServiceSettings.from_env()


def _core() -> Any:
    from training_assets.service.core import Core

    return Core(_settings())


def _receipts(core: Any, tenant: str, upload_id: str | None, since: datetime | None) -> Any:
    from training_assets.service.receipts import find_receipt, is_upload_id
    from training_assets.service.replaying import receipts_since

    store = core.tenants.store(tenant)
    if upload_id is None:
        first = since.date() if since else datetime.now(UTC).date()
        return receipts_since(store, first)
    found = find_receipt(store, upload_id) if is_upload_id(upload_id) else None
    if found is None:
        raise SettingsError(
            f"replay: there is no accepted upload {upload_id!r}; expected the id of its answer. "
            "List those of a day at GET /internal/data/uploads."
        )
    return [found]
