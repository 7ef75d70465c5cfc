"""Connects a city's embedded clouds: allows pods of one cloud to reach selected node ports of another.

The real node implements the connection. Simulated nodes carry no traffic.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

from wecityctl.local import assembly
from wecityctl.local import cloud as clouds
from wecityctl.local.assembly import Cloud
from wecityctl.local.spec import silent

Links = Mapping[tuple[str, str], tuple[int, ...]]


def cross(names: Collection[str], links: Links) -> tuple[str, ...]:
    """Allow pods of the first cloud of each pair to reach these node ports of the second, and nothing else.

    Clouds that do not run are not changed. Returns messages about what was created; empty if nothing was missing.
    """
    running = {name: assembly.load(name, silent) for name in names if clouds.is_running(name)}
    real = {name: cloud for name, cloud in running.items() if cloud.driver is not None}
    return tuple(line for name, cloud in real.items() for line in _arrange(name, cloud, real, links))


def _arrange(name: str, cloud: Cloud, real: Mapping[str, Cloud], links: Links) -> tuple[str, ...]:
    from wecityctl.local.node import interconnect
    from wecityctl.local.node.configure import Node
    from wecityctl.local.node.layout import HoldSpec

    node = Node.of(cloud.context)
    wanted = []
    for other, theirs in sorted(real.items()):
        serves, asks = links.get((other, name), ()), links.get((name, other), ())
        if other != name and (serves or asks):
            far = Node.of(theirs.context)
            wanted.append(
                interconnect.Interconnect(
                    cloud_id=theirs.context.cloud_id,
                    block=str(far.block),
                    node=str(far.layout.data),
                    run=str(far.layout.run),
                    serves=serves,
                    asks=asks,
                )
            )
    interconnect.save(node.layout, wanted)
    return tuple(f"{name}: {interface}" for interface in interconnect.join(HoldSpec.load(node.layout.hold_spec)))
