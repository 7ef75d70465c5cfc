"""Objects that no state has: the city's own by the manager and the name that their resource gives them."""

from __future__ import annotations

from dataclasses import replace

import pytest

from wecityctl.engine.cluster.lost import with_their_stacks
from wecityctl.inputs import Cluster
from wecityctl.model.findings import Finding
from wecityctl.provider.fieldmanager import derive

CLUSTER = Cluster("main", "", "", "1234")
STACK = "testcity.tenant.health.main"
NETWORK, BATCH = "networking.k8s.io/v1", "batch/v1"


def urn(kind: str, name: str) -> str:
    return f"urn:pulumi:{STACK}::wecity::wecity:tenant:App$kubernetes:{kind}::{name}"


FENCE = urn(f"{NETWORK}:NetworkPolicy", "health-internet/web-from-entry")
JOB = urn(f"{BATCH}:Job", "provision-health-web-db")


def found(api_version: str, kind: str, name: str, of: str) -> Finding:
    manager = derive(of, CLUSTER.identifier)[0]
    return Finding("home", "", api_version, kind, "health-internet", name, "undeclared", (manager,))


@pytest.mark.parametrize(
    ("item", "stack"),
    [
        (found(NETWORK, "NetworkPolicy", "web-from-entry", FENCE), STACK),
        # Somebody has written under the manager of another object.
        (found(NETWORK, "NetworkPolicy", "open-all", FENCE), ""),
        (found(NETWORK, "NetworkPolicy", "web-from-entry-2", FENCE), ""),
        (replace(found(NETWORK, "NetworkPolicy", "web-from-entry", FENCE), namespace="other"), ""),
        # A Job is called by a digest of what it does.
        (found(BATCH, "Job", "provision-health-web-db-0123456789", JOB), STACK),
        (found(BATCH, "Job", "miner", JOB), ""),
    ],
    ids=lambda value: value.name if isinstance(value, Finding) else str(value),
)
def test_an_object_is_a_stacks_by_manager_and_name(item: Finding, stack: str) -> None:
    (told,) = with_their_stacks([item], CLUSTER, lambda: [FENCE, JOB], lambda _: ())
    assert told.of_stack == stack


def test_what_a_resource_has_left_that_the_state_has_is_not_adopted() -> None:
    """The entry of another cloud, or a Job of other input: the resource of the state has another object."""
    jobs = [found(BATCH, "Job", f"provision-health-web-db-{digest}", JOB) for digest in ("0123456789", "1123456789")]
    told = with_their_stacks(jobs, CLUSTER, lambda: [FENCE, JOB], lambda stack: {STACK: (JOB,)}[stack])
    assert [item.of_stack for item in told] == ["", ""]
    assert not any("`up`" in str(item) for item in told)
    (lost,) = with_their_stacks(jobs[:1], CLUSTER, lambda: [FENCE, JOB], lambda stack: {STACK: (FENCE,)}[stack])
    assert str(lost).endswith("is not in its state; `up` makes it again")
