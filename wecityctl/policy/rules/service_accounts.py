"""Pods have a service account of their own, or none that the API server would take."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from wecityctl.model.city import City
from wecityctl.policy.admission import SPEC_CHANGED, WORKLOADS, Validation, policy
from wecityctl.policy.findings import about
from wecityctl.policy.model import Finding, Manifest, PolicyInput, Rule
from wecityctl.policy.objects import workloads

NAME = "service-accounts"

WHY = """\
Every namespace has an account that every pod gets if it asks for none. Rights given to it for one app are rights of
all the others beside it, and an audit log that names it names nobody. A pod that needs the API server has an account
of its own; every other has no token to lose."""

VALIDATIONS = (
    Validation(
        "!(variables.spec.?serviceAccountName.orValue('') in ['', 'default'])"
        " || !variables.spec.?automountServiceAccountToken.orValue(true)",
        "a pod carries the token of the namespace's default service account; name an account of its own, or set"
        " automountServiceAccountToken: false",
    ),
    Validation(
        "!(variables.spec.?serviceAccountName.orValue('') in ['', 'default'])"
        " || !variables.spec.?volumes.orValue([]).exists(v, v.?projected.?sources.orValue([])"
        ".exists(s, has(s.serviceAccountToken)))",
        "a volume has a token of the namespace's default service account; name an account of its own",
    ),
)


def check(policy_input: PolicyInput) -> Iterable[Finding]:
    """Recorded pods with a token of the default account."""
    for workload in workloads(policy_input):
        shared = workload.pod.get("serviceAccountName") in (None, "", "default")
        if shared and workload.pod.get("automountServiceAccountToken", True):
            yield about(
                policy_input,
                workload.stack,
                workload.resource,
                "its pods carry the token of the default service account",
                "name an account of its own, or set automountServiceAccountToken: false",
            )
        elif shared and _projects_a_token(workload.pod):
            yield about(
                policy_input,
                workload.stack,
                workload.resource,
                "a volume of its pods has a token of the default service account",
                "name an account of its own, or take the volume out",
            )


def _projects_a_token(pod: Mapping[str, Any]) -> bool:
    sources = (
        source for volume in pod.get("volumes") or () for source in (volume.get("projected") or {}).get("sources") or ()
    )
    return any("serviceAccountToken" in source for source in sources)


def admission(city: City, _: Mapping[str, str]) -> Iterator[Manifest]:
    """The same in the cluster."""
    return policy(city, NAME, WORKLOADS, VALIDATIONS, variables=("spec",), conditions=(SPEC_CHANGED,))


RULE = Rule(
    name=NAME,
    title="No default service accounts 禁用默认服务账号",
    why=WHY,
    check=check,
    controls=("8.1.4.1 身份鉴别", "8.1.4.2 访问控制"),
    admission=admission,
    of_objects=True,
)
