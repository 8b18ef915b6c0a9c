"""Commands of the HTTP service and of its keys."""

from datetime import UTC, datetime, timedelta
from importlib import import_module
from typing import Any, Final

import click
from rich.table import Table as Grid

from training_assets.cli.console import DAY, as_text, console
from training_assets.errors import SettingsError

_NOT_INSTALLED: Final = (
    "{command}: a package is not installed ({missing}); expected the extra "
    "training-assets[service]. Install it with 'pip install \"training-assets[service]\"'."
)
_PACKAGES: Final = (
    "fastapi",
    "jwt",
    "limits",
    "orjson",
    "prometheus_client",
    "python_multipart",
    "confluent_kafka",
)
_LOCAL_NAME: Final = "local"


def require_extra(command: str) -> None:
    """Raises ``SettingsError`` where the service's packages are not installed."""
    try:
        for package in _PACKAGES:
            import_module(package)
    except ImportError as error:
        missing = error.name or "one"
        raise SettingsError(_NOT_INSTALLED.format(command=command, missing=missing)) from error


@click.command()
@click.option("--host", help="Address to listen on.  [default: 127.0.0.1]")
@click.option("--port", type=click.IntRange(0, 65535), help="Port.  [default: 8002]")
def serve(host: str | None, port: int | None) -> None:
    """Serve uploads, validation, events and features over HTTP.

    Without any key, one for everything is made and shown, if only this machine can reach it.
    """
    require_extra("serve")
    from training_assets.service.core import Core
    from training_assets.service.server import serve as run
    from training_assets.service.settings import ServiceSettings

    settings = ServiceSettings.from_env(host=host, port=port)
    _show_first_key(settings)
    run(Core(settings))


def _show_first_key(settings: Any) -> None:
    from training_assets.service.keys import SCOPES, KeyStore
    from training_assets.service.settings import is_loopback
    from training_assets.service.tenants import DEFAULT, Tenants

    where = f"http://{settings.host}:{settings.port}"
    if settings.auth == "off":
        console.print(
            f"[bold red]No keys are asked for: everybody on this machine may do everything "
            f"at {where}[/]"
        )
        return
    tenants = Tenants(settings)
    store = KeyStore(tenants.control)
    if tenants.are_many or not is_loopback(settings.host) or store.all():
        return
    _, text = store.create(_LOCAL_NAME, DEFAULT, SCOPES)
    console.print(f"{where}/docs  The first key, shown this once:")
    console.print(text, markup=False, soft_wrap=True)


@click.group()
def keys() -> None:
    """API keys of the service: make, list, change and revoke them."""
    require_extra("keys")


@keys.command()
@click.option("--tenant", default="default", show_default=True, help="Whose key it is.")
@click.option(
    "--scope",
    "scopes",
    required=True,
    help="What it may: some of upload,validate,read,run,admin, with commas.",
)
@click.option("--name", help="What it is for; two keys of a name may live.  [default: tenant]")
@click.option("--expires", type=DAY, help="First day on which it is no longer good.")
@click.option("--days", type=click.IntRange(1), help="Or the number of days that it is good.")
def create(
    tenant: str, scopes: str, name: str | None, expires: datetime | None, days: int | None
) -> None:
    """Make a key, and show it once."""
    store, tenants = _opened()
    ends = expires.replace(tzinfo=UTC) if expires else None
    if days:
        ends = datetime.now(UTC) + timedelta(days=days)
    tenants.location(tenant)
    wanted = [scope.strip() for scope in scopes.split(",") if scope.strip()]
    key, text = store.create(name or tenant, tenant, wanted, ends)
    tenants.register(tenant)
    _show(key, text)


@keys.command("list")
def list_keys() -> None:
    """All keys; the secrets are not known here."""
    store, _ = _opened()
    now = datetime.now(UTC)
    grid = Grid("id", "name", "tenant", "scopes", "created", "expires", "state")
    for key in store.all():
        state = "live" if key.is_live(now) else "revoked" if key.revoked_at else "expired"
        expires = key.expires_at[:10] if key.expires_at else "never"
        cells = (key.id, key.name, key.tenant, ",".join(key.scopes), key.created_at[:10])
        grid.add_row(*map(as_text, (*cells, expires, state)))
    console.print(grid)


@keys.command()
@click.argument("key_id")
def rotate(key_id: str) -> None:
    """Make a second key like this one; revoke the first once clients have changed over."""
    store, _ = _opened()
    _show(*store.rotate(key_id))


@keys.command()
@click.argument("key_id")
def revoke(key_id: str) -> None:
    """A key opens nothing any more, within 30 seconds."""
    store, _ = _opened()
    key = store.revoke(key_id)
    console.print(f"{as_text(key.id)} of {as_text(key.tenant)} is revoked")


def _opened() -> tuple[Any, Any]:
    from training_assets.service.keys import KeyStore
    from training_assets.service.settings import ServiceSettings
    from training_assets.service.tenants import Tenants

    tenants = Tenants(ServiceSettings.from_env())
    return KeyStore(tenants.control), tenants


def _show(key: Any, text: str) -> None:
    scopes = ", ".join(key.scopes)
    console.print(f"{as_text(key.id)} of {as_text(key.tenant)} may {scopes}. Shown this once:")
    console.print(text, markup=False, soft_wrap=True)
