"""Whether an app may use a capability on another cloud: the declared flow that lets it through.

How the traffic then finds its way is the stacks' business.
"""

from __future__ import annotations

from wecityctl.model.catalogue import Catalogue
from wecityctl.model.city import App, Capability, City, Flow


def crossing_flow(city: City, catalogue: Catalogue, app: App, capability: Capability) -> Flow | None:
    """The first declared flow from the app's zone to the capability's that names the capability's port, if any.

    A capability without a zone of its own serves every zone, so it counts as being in the app's: crossing to it takes
    a flow from that zone to itself.
    """
    port = catalogue[capability.type].port
    target = capability.zone or app.zone
    return next(
        (flow for flow in city.flows if (flow.source, flow.target) == (app.zone, target) and port in flow.ports), None
    )
