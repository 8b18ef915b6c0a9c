"""The online store of a tenant: the one that is set up, in a part of its own."""

from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from training_assets.online import OnlineSettings, OnlineStore, open_store
from training_assets.service.tenants import Tenants


def online_url(tenants: Tenants, tenant: str) -> str:
    """Where the tenant's features are; of many tenants each has a folder or prefix of its own."""
    location = tenants.location(tenant)
    url = OnlineSettings.from_env(lake=location).url
    if not tenants.are_many or url == OnlineSettings.from_env({}, lake=location).url:
        return url
    found = urlsplit(url)
    if found.scheme.startswith("redis"):
        query = dict(parse_qsl(found.query))
        query["prefix"] = f"{query.get('prefix', 'training_assets')}-{tenant}"
        return urlunsplit(found._replace(query=urlencode(query)))
    if found.scheme == "dynamodb":
        return urlunsplit(found._replace(path=f"{found.path.rstrip('/')}/{tenant}"))
    return f"{url.rstrip('/')}/{tenant}"


def open_online(tenants: Tenants, tenant: str) -> OnlineStore:
    return open_store(online_url(tenants, tenant))
