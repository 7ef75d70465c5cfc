"""The way to an app: its route, the entry point behind it, its port; and the flows between zones."""

from __future__ import annotations

from collections.abc import Iterator

from wecityctl.errors import Problem
from wecityctl.spec.draft import Draft


def routes_lead_somewhere(draft: Draft) -> Iterator[Problem]:
    """A published route needs a component with a port, and an entry point in the city."""
    entry = any(item.type == "gateway" for item in draft.capability_by_name.values())
    entry = entry or any(cloud.value.kubernetes.ingress_class for cloud in draft.clouds)
    entry = entry or not draft.knows_all("Platform", "Cloud")
    for app in draft.apps:
        if not app.value.is_routed:
            continue
        if app.value.web_component is None:
            yield app.problem(
                ("spec", "route"), "the route leads to no component", "a component with a port", on_key=True
            )
        if not entry:
            message = "the city has no entry point for this route"
            expected = "a capability of type gateway on the application platform, or a cloud with an ingressClass"
            yield app.problem(("spec", "route"), message, expected, on_key=True)


def health_needs_a_port(draft: Draft) -> Iterator[Problem]:
    """A health path is asked on the component's port."""
    for app in draft.apps:
        for index, part in enumerate(app.value.components):
            if part.health_path and part.port is None:
                path = ("spec", "components", index, "health")
                yield app.problem(
                    path, "health is asked on the component's port, and it has none", "a port", on_key=True
                )


def flows_between_zones(draft: Draft) -> Iterator[Problem]:
    """A flow joins two zones, or crosses clouds within one; within a zone of one cloud, `uses` opens what is needed."""
    if not draft.knows_all("Cloud"):
        return
    for city in draft.cities:
        for index, flow in enumerate(city.value.flows):
            serving = [cloud for cloud in draft.clouds if flow.source in cloud.value.zones]
            if flow.source == flow.target and len(serving) < 2:
                path = ("spec", "flows", index, "to")
                message = (
                    f"a flow from zone {flow.source!r} to itself crosses clouds, and fewer than two serve the zone"
                )
                yield city.problem(path, message, "another zone")
