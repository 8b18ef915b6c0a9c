"""A Dagster workspace in which each tenant's lake has a code location of its own.

    workspace.yaml
    tenants/acme.py     sets the lake, then is the platform's definitions

A location is loaded in a process of its own, so the environment that its file sets is that
tenant's alone, in the runs that it starts too.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Final

from training_assets.service.online import online_url
from training_assets.service.tenants import Tenants

_HEAD: Final = "# Made by 'training-assets tenants workspace'; make it anew for new tenants.\n"
_MODULE: Final = '''"""The platform's definitions over the lake of {tenant}."""

import os

os.environ["TRAINING_ASSETS_LAKE"] = {lake!r}
os.environ["TRAINING_ASSETS_ONLINE"] = {online!r}

from training_assets.definitions import defs  # noqa: E402

__all__ = ["defs"]
'''


def workspace_files(tenants: Tenants) -> Mapping[str, str]:
    """Contents by path, relative to the folder of the workspace."""
    names = tenants.names
    entries = [
        f"  - python_file:\n      relative_path: tenants/{name}.py\n      location_name: {name}\n"
        for name in names
    ]
    files = {"workspace.yaml": _HEAD + "load_from:\n" + "".join(entries or ["  []\n"])}
    for name in names:
        files[f"tenants/{name}.py"] = _MODULE.format(
            tenant=name, lake=tenants.location(name), online=online_url(tenants, name)
        )
    return files


def write_workspace(tenants: Tenants, folder: Path) -> list[Path]:
    """The files that were written."""
    written = []
    for name, content in workspace_files(tenants).items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
        written.append(path)
    return written
