"""The program of an interconnect stack: serves uses by users on other clouds, a tenant's apps or all capabilities.

It registers provisioning Jobs and ingress policies on the used capability's cloud. The node port belongs to the
platform's stack there; binding and egress policy belong to the user's stack on its own cloud. Administrators'
credentials never leave the capability's namespace.
"""

from __future__ import annotations

from typing import Any

from stacks import network_policies
from stacks.objects import Scope, open_scope
from stacks.provisioning import provision
from stacks.stack_references import endpoint
from wecityctl.inputs import StackInputs
from wecityctl.interconnects import UseInterconnect
from wecityctl.model.outputs import InterconnectOutputs, to_json

# Differs from the prefix for users on the same cloud: when one moves, deleting the old objects must not delete the
# new.
PREFIX = "crossing"


def run(inputs: StackInputs) -> dict[str, Any]:
    """Register what the users on other clouds need on this stack's cloud, and return the stack's outputs."""
    stack = inputs.stack
    scope = open_scope(inputs, "crossing", stack.subject)
    here = [
        item for item in inputs.interconnects.uses if (item.consumer.group, item.target) == (stack.subject, stack.cloud)
    ]
    for item in here:
        _open(scope, item)
    return to_json(
        InterconnectOutputs(stack.subject, stack.cloud, tuple(f"{item.user.name}/{item.use.alias}" for item in here))
    )


def _open(scope: Scope, item: UseInterconnect) -> None:
    """Register one use: its account, and ingress from the user's cloud on the capability's port only."""
    inputs, user = scope.inputs, item.consumer
    known = endpoint(inputs, item.capability.name)
    provision(scope, user, item.use, known, PREFIX)
    # Policies apply after translation of the node port: to the capability's own port and the unchanged client address.
    rules = network_policies.from_outside(inputs.reach[item.source].sources, known.port)
    name = user.object_name(PREFIX, item.use)
    scope.add(network_policies.policy(known.namespace, name, known.pod_labels, ingress=rules), name=name)
