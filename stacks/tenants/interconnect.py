"""What a tenant's apps on other clouds use on this one: room for each in its capability, and a way in for their clouds.

The capability's own way out, its node port, is the platform's; the binding and the way out of the app are the tenant's
on the app's cloud. Administrators' credentials never leave the capability's namespace.
"""

from __future__ import annotations

from typing import Any

from stacks import network
from stacks.objects import Scope, open_scope
from stacks.provisioning import provision
from stacks.stack_references import endpoint
from wecityctl.inputs import StackInputs
from wecityctl.interconnects import UseInterconnect
from wecityctl.model import naming
from wecityctl.model.outputs import InterconnectOutputs, to_json
from wecityctl.model.requirements import Consumer

# Not the prefix of an app on the same cloud: an app that moves must not lose what its new place has made.
PREFIX = "crossing"


def run(inputs: StackInputs) -> dict[str, Any]:
    """Register what the tenant's apps on other clouds need on this stack's cloud."""
    stack = inputs.stack
    scope = open_scope(inputs, "crossing", stack.subject)
    here = [
        item for item in inputs.interconnects.uses if (item.app.tenant, item.target) == (stack.subject, stack.cloud)
    ]
    for item in here:
        _open(scope, item)
    return to_json(
        InterconnectOutputs(stack.subject, stack.cloud, tuple(f"{item.app.name}/{item.use.alias}" for item in here))
    )


def _open(scope: Scope, item: UseInterconnect) -> None:
    """One use: its database or user, and ingress from the app's cloud on the capability's port alone."""
    inputs, app = scope.inputs, item.app
    known = endpoint(inputs, item.capability.name)
    provision(scope, Consumer.of(app), item.use, known, PREFIX)
    # Evaluated after the node port is translated: by the capability's own port and the caller's unchanged address.
    rules = network.from_outside(inputs.reach[item.source].sources, known.port)
    name = naming.fit(f"{PREFIX}-{app.tenant}-{app.name}-{item.use.alias}")
    scope.add(network.policy(known.namespace, name, known.pod_labels, ingress=rules), name=name)
