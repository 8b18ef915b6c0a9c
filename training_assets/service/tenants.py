"""A tenant is a lake of its own; what belongs to none lies beside them.

    <tenants>/<tenant>/raw/…        <tenants>/<tenant>/service/receipts/…
    <tenants>/_control/keys/…       no name of a tenant begins with an underscore

Without tenants there is one, ``default``, whose lake is the platform's, with the keys in it.
"""

import re
from collections.abc import Sequence
from functools import cached_property
from typing import Final

from training_assets.errors import SettingsError
from training_assets.lake import Lake, Store, open_store
from training_assets.service.settings import ServiceSettings

DEFAULT: Final = "default"
SERVICE: Final = "service"
_CONTROL: Final = "_control"
_REGISTER: Final = "tenants"
_NAME: Final = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}")


def is_tenant_name(name: str) -> bool:
    return _NAME.fullmatch(name) is not None


def require_tenant_name(name: str) -> str:
    """The name itself; raises ``SettingsError``."""
    if is_tenant_name(name):
        return name
    raise SettingsError(
        f"tenants: {name!r} is no name of a tenant; expected a lower-case letter or digit, then up "
        "to 62 of a-z, 0-9, _ and -. Choose another name."
    )


class Tenants:
    """Which tenants there are, and the lake of each."""

    def __init__(self, settings: ServiceSettings) -> None:
        self._settings = settings
        self._lakes: dict[str, Lake] = {}

    @property
    def are_many(self) -> bool:
        return bool(self._settings.tenants)

    @cached_property
    def control(self) -> Store:
        """Where keys lie, and what is known of calls by nobody."""
        if self.are_many:
            return open_store(self._settings.tenants).child(_CONTROL)
        return open_store(self._settings.lake).child(SERVICE)

    @property
    def names(self) -> Sequence[str]:
        """Tenants that have a key or have sent something, by name."""
        if not self.are_many:
            return [DEFAULT]
        found = (e.path.rpartition("/")[2] for e in self.control.list(_REGISTER))
        return sorted(name for name in found if is_tenant_name(name))

    def register(self, tenant: str) -> None:
        """Have it among the ``names``; a listing of all lakes would take too long."""
        if self.are_many:
            self.control.put_new(f"{_REGISTER}/{require_tenant_name(tenant)}", b"")

    def knows(self, name: str) -> bool:
        """Whether a name may be that of a tenant here."""
        return is_tenant_name(name) if self.are_many else name == DEFAULT

    def location(self, tenant: str) -> str:
        """Where the tenant's lake lies; raises ``SettingsError`` for a name that cannot be one."""
        require_tenant_name(tenant)
        if self.are_many:
            return f"{self._settings.tenants}/{tenant}"
        if tenant != DEFAULT:
            raise SettingsError(
                f"tenants: {tenant!r} is not known; expected {DEFAULT!r}, the only one without "
                "TRAINING_ASSETS_TENANTS. Set it to a folder or bucket for more."
            )
        return self._settings.lake

    def lake(self, tenant: str) -> Lake:
        if tenant not in self._lakes:
            self._lakes[tenant] = Lake.at(self.location(tenant))
        return self._lakes[tenant]

    def store(self, tenant: str) -> Store:
        """What the service keeps in the tenant's lake."""
        return self.lake(tenant).store.child(SERVICE)
