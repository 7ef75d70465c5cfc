"""Tells a node's containerd how to reach registries that have certificates of the city's own authority.

containerd reads `hosts.toml` at each pull (its document `hosts.md`). Credentials come with each pull from the kubelet.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping

from wecityctl.local.node.layout import Layout
from wecityctl.paths import private_dir, write_private

AUTHORITY = "ca.crt"


def trust(layout: Layout, authorities: Mapping[str, str]) -> None:
    """Make containerd accept these registries, by `host:port`, with certificates of the authority; and no others.

    An empty authority stands for a registry that speaks no TLS. Other registries are reached as containerd does by
    itself.
    """
    private_dir(layout.registries)
    for old in layout.registries.iterdir():
        if old.name not in authorities:
            shutil.rmtree(old)
    for host, authority in authorities.items():
        place = layout.registries / host
        private_dir(place)
        if authority:
            write_private(place / AUTHORITY, authority.encode())
        write_private(place / "hosts.toml", _hosts(layout, host, is_tls=bool(authority)).encode())


def _hosts(layout: Layout, host: str, *, is_tls: bool) -> str:
    address = f"{'https' if is_tls else 'http'}://{host}"
    file = layout.inside(*(layout.registries / host / AUTHORITY).relative_to(layout.data).parts)
    authority = f'\n  ca = "{file}"' if is_tls else ""
    return f"""server = "{address}"

[host."{address}"]
  capabilities = ["pull", "resolve"]{authority}
"""
