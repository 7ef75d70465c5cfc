"""Finds RBAC rights that give indirect access to the Secrets of a namespace. Pure.

Source: the privilege escalation risks of Kubernetes' good practices for RBAC.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

_READ = ("get", "list", "watch")
_WRITE = ("create", "update", "patch")
_CONNECT = ("get", "create")


def _of(group: str, *resources: str) -> tuple[tuple[str, str], ...]:
    return tuple((group, resource) for resource in resources)


_RBAC = "rbac.authorization.k8s.io"
# The name, the verbs (one is enough), and the resources with their groups.
_WAYS: Sequence[tuple[str, tuple[str, ...], tuple[tuple[str, str], ...]]] = (
    ("reads Secrets", _READ, _of("", "secrets")),
    (
        "writes pods or what makes them",
        _WRITE,
        (
            *_of("", "pods", "pods/ephemeralcontainers", "replicationcontrollers"),
            *_of("apps", "deployments", "statefulsets", "daemonsets", "replicasets"),
            *_of("batch", "jobs", "cronjobs"),
        ),
    ),
    ("enters pods", _CONNECT, _of("", "pods/exec", "pods/attach", "pods/portforward", "pods/proxy", "nodes/proxy")),
    ("gets the tokens of service accounts", ("create",), _of("", "serviceaccounts/token")),
    ("acts as others", ("impersonate",), _of("", "users", "groups", "serviceaccounts")),
    ("gives rights that it has not", ("bind", "escalate"), _of(_RBAC, "roles", "clusterroles")),
)


def ways(rule: Mapping[str, Any]) -> Iterator[str]:
    """The ways in which an RBAC rule gives access to Secrets, in words."""
    groups, resources, verbs = (set(rule.get(key) or ()) for key in ("apiGroups", "resources", "verbs"))
    for words, needed, targets in _WAYS:
        if verbs & {"*", *needed} and any(groups & {"*", group} and _names(resources, name) for group, name in targets):
            yield words


def _names(resources: set[str], name: str) -> bool:
    """Whether a rule's resources include that one; `*` is every resource, `*/x` is subresource x of every resource."""
    _, slash, part = name.partition("/")
    return bool(resources & {"*", name, *({f"*/{part}"} if slash else ())})
