"""Connects a city's embedded clouds that have traffic between them. Other clouds have networks of their own."""

from __future__ import annotations

from wecityctl.clusters import local_name
from wecityctl.errors import WecityError
from wecityctl.inputs import Clusters
from wecityctl.interconnects import Interconnects
from wecityctl.model.city import City
from wecityctl.model.events import Diagnostic, Emit


def link_clouds(city: City, interconnects: Interconnects, clusters: Clusters, emit: Emit) -> None:
    """Create the connections that the files need, and remove those that they no longer need.

    A connection that cannot be created is reported, and the stacks that need it fail; others are not affected.
    """
    names = {cloud.name: local_name(city, cloud) for cloud in city.clouds if cloud.provider == "local"}
    here = [names[cloud] for cloud in names if cloud in clusters.found]
    if len(here) < 2:
        return
    from wecityctl.local.interconnect import cross

    links = {
        (names[source], names[target]): ports
        for (source, target), ports in interconnects.links().items()
        if source in names and target in names
    }
    try:
        cross(here, links)
    except WecityError as error:
        told = ": ".join(filter(None, ("clouds could not be joined", error.message, error.details)))
        emit(Diagnostic("", "warning", told))
