"""API objects in tests: short forms for pods and namespaces, and the agent's state made from them by its own parser."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from wecityctl.local.netpol import parse
from wecityctl.local.netpol.model import State

Object = dict[str, Any]
POD_CIDR = "10.99.0.0/16"


def namespace(name: str, **labels: str) -> Object:
    """With the label that the API server gives every namespace."""
    return {"kind": "Namespace", "metadata": {"name": name, "labels": {"kubernetes.io/metadata.name": name, **labels}}}


def pod(place: str, address: str, labels: dict[str, str] | None = None, **more: Any) -> Object:
    """`place` is namespace/name; `ports` maps names to numbers or (protocol, number); `phase`, `hostNetwork`, …"""
    space, name = place.split("/")
    ports = [
        {"name": key, "protocol": value[0], "containerPort": value[1]}
        if isinstance(value, list | tuple)
        else {"name": key, "containerPort": value}
        for key, value in more.get("ports", {}).items()
    ]
    metadata: Object = {"namespace": space, "name": name, "uid": f"uid-{space}-{name}", "labels": labels or {}}
    if more.get("leaving"):
        metadata["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    return {
        "kind": "Pod",
        "metadata": metadata,
        "spec": {"hostNetwork": more.get("hostNetwork", False), "containers": [{"name": "main", "ports": ports}]},
        "status": {"phase": more.get("phase", "Running"), "podIP": address, "podIPs": [{"ip": address}]},
    }


def policy(place: str, **spec: Any) -> Object:
    """`place` is namespace/name."""
    space, name = place.split("/")
    return {"kind": "NetworkPolicy", "metadata": {"namespace": space, "name": name}, "spec": spec}


def key(obj: Object) -> tuple[str, str]:
    """Namespace and name."""
    return obj["metadata"].get("namespace", ""), obj["metadata"]["name"]


def state(objects: Iterable[Object], pod_cidr: str = POD_CIDR) -> State:
    """What the agent would know after listing these."""
    objects = list(objects)
    pods = {key(each): parse.pod(each) for each in objects if each["kind"] == "Pod"}
    return State(
        pod_cidr=pod_cidr,
        namespaces={key(each)[1]: parse.labels(each) for each in objects if each["kind"] == "Namespace"},
        pods={place: each for place, each in pods.items() if each is not None},
        policies={key(each): parse.policy(each) for each in objects if each["kind"] == "NetworkPolicy"},
    )
