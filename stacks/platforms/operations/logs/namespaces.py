"""The namespaces whose logs are kept: those of the city on one cloud, and whose each is."""

from __future__ import annotations

from collections.abc import Mapping

from wecityctl.inputs import StackInputs
from wecityctl.model import naming
from wecityctl.model.entries import entry_points


def namespaces(inputs: StackInputs) -> list[Mapping[str, str]]:
    """The namespaces of this stack's cloud in the shipper's form: `name`, and `tenant` or `platform`.

    Whose a line is follows from this list alone. A pod and what it writes cannot say otherwise.
    """
    city, placement, cloud = inputs.city, inputs.placement, inputs.stack.cloud
    found = {
        naming.platform_namespace(item.platform, item.zone): {"platform": str(item.platform)}
        for item in city.capabilities
        if placement.capabilities[item.name] == cloud
    }
    if placement.entry == cloud:
        found |= {entry.namespace: {"platform": str(entry.gateway.platform)} for entry in entry_points(city)}
    found |= {
        naming.tenant_namespace(app.tenant, app.zone): {"tenant": app.tenant}
        for app in city.apps
        if app.runs and placement.apps[(app.tenant, app.name)] == cloud
    }
    return [{"name": name, **owner} for name, owner in sorted(found.items())]
