"""The program of a tenant's interconnect stack: serves uses by the tenant's apps on other clouds.

It registers provisioning Jobs and ingress policies on the capability's cloud. The node port belongs to the platform's
stack; binding and egress policy belong to the tenant's stack on the app's cloud. Administrators' credentials never
leave the capability's namespace.
"""

from __future__ import annotations

from typing import Any

from stacks import network_policies
from stacks.objects import Scope, open_scope
from stacks.provisioning import provision
from stacks.stack_references import endpoint
from wecityctl.inputs import StackInputs
from wecityctl.interconnects import UseInterconnect
from wecityctl.model import naming
from wecityctl.model.outputs import InterconnectOutputs, to_json
from wecityctl.model.requirements import Consumer

# Differs from the prefix for apps on the same cloud: when an app moves, deleting the old objects must not delete the
# new.
PREFIX = "crossing"


def run(inputs: StackInputs) -> dict[str, Any]:
    """Register what the tenant's apps on other clouds need on this stack's cloud, and return the stack's outputs."""
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
    """Register one use: its account, and ingress from the app's cloud on the capability's port only."""
    inputs, app = scope.inputs, item.app
    known = endpoint(inputs, item.capability.name)
    provision(scope, Consumer.of(app), item.use, known, PREFIX)
    # Policies apply after translation of the node port: to the capability's own port and the unchanged client address.
    rules = network_policies.from_outside(inputs.reach[item.source].sources, known.port)
    name = naming.fit(f"{PREFIX}-{app.tenant}-{app.name}-{item.use.alias}")
    scope.add(network_policies.policy(known.namespace, name, known.pod_labels, ingress=rules), name=name)
