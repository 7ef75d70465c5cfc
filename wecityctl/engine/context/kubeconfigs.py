"""Decides which kubeconfigs a stack's run may use.

A kubeconfig can name a program to execute, and files whose content is sent to a server that it also names. Those of the
city's clouds come from the user. Those in a state come from anybody who may write that state.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from functools import lru_cache
from typing import Any

import yaml

from wecityctl.engine.state.backend import Backend
from wecityctl.engine.state.checkpoint import KUBERNETES_PROVIDER, StackState
from wecityctl.inputs import Cluster
from wecityctl.provider.settings import digest

# Fields that execute a program on this machine or read a file of it.
_OF_USERS = ("exec", "auth-provider", "tokenFile", "client-certificate", "client-key")
_OF_CLUSTERS = ("certificate-authority",)


def known_kubeconfigs(backend: Backend, state: StackState | None, clusters: Iterable[Cluster]) -> frozenset[str]:
    """Return the digests of the kubeconfigs that a stack's run may use: those of its clouds, and harmless ones in its
    state.
    """
    today = [cluster.kubeconfig for cluster in clusters]
    found = {digest(text) for text in today}
    for resource in state.resources if state is not None else ():
        if resource.type == KUBERNETES_PROVIDER and state is not None and state.deployment is not None:
            for values in (resource.inputs, resource.outputs):
                text = as_text(backend.reveal(state.deployment, values.get("kubeconfig")))
                if is_harmless(text, today):
                    found.add(digest(text))
    return frozenset(found)


def as_text(kubeconfig: Any) -> str:
    """Return a kubeconfig as text, as the provider does; it may be given as an object."""
    return kubeconfig if isinstance(kubeconfig, str) else json.dumps(kubeconfig)


def is_harmless(kubeconfig: str, known: Iterable[str]) -> bool:
    """Whether a kubeconfig executes and reads nothing on this machine beyond what a `known` one does for the same
    servers.
    """
    theirs, servers = of_machine(kubeconfig)
    if theirs is None:
        return False
    if not theirs:
        return True
    for each in known:
        ours, also = of_machine(each)
        if ours is not None and all(part in ours for part in theirs) and servers <= also:
            return True
    return False


@lru_cache(maxsize=64)
def of_machine(kubeconfig: str) -> tuple[list[Any] | None, set[str]]:
    """Return what a kubeconfig executes or reads on this machine, and its servers; `None` if it is not a kubeconfig."""
    try:
        found = yaml.safe_load(kubeconfig)
        users = [item["user"] or {} for item in found.get("users") or ()]
        clusters = [item["cluster"] for item in found.get("clusters") or ()]
        parts = [[name, user[name]] for user in users for name in _OF_USERS if user.get(name)]
        parts += [[name, each[name]] for each in clusters for name in _OF_CLUSTERS if each.get(name)]
        return parts, {str(each.get("server")) for each in clusters}
    except (yaml.YAMLError, AttributeError, TypeError, KeyError, ValueError, RecursionError):
        return None, set()
