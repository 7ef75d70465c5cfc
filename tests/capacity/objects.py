"""Nodes, pods, claims and clouds as the API server and the files have them, for the tests of this directory."""

from __future__ import annotations

from typing import Any

from wecityctl.model.city import Cloud, LocalSettings, Pool, Prices

Object = dict[str, Any]


def pool(name: str = "general", **more: Any) -> Pool:
    shape = {"architecture": "amd64", "nodes": 2, "cpu": "8", "memory": "32Gi", "storage": "100Gi"}
    return Pool(name=name, **{**shape, **more})


def cloud(*pools: Pool, **more: Any) -> Cloud:
    settings = {
        "name": "main",
        "provider": "local",
        "zones": ("internet", "extranet"),
        "local": LocalSettings("simulated"),
        "prices": Prices("CNY", "0.10", "0.02", "0.73"),
    }
    return Cloud(**{**settings, "pools": pools, **more})


def node(
    name: str = "n0",
    *,
    architecture: str = "amd64",
    cpu: str = "8",
    memory: str = "32Gi",
    labels: dict[str, str] | None = None,
    ready: str = "True",
    cordoned: bool = False,
    taints: tuple[Object, ...] = (),
    conditions: tuple[Object, ...] = (),
    more: dict[str, str] | None = None,
) -> Object:
    status = {
        "allocatable": {"cpu": cpu, "memory": memory, "ephemeral-storage": "100Gi", "pods": "110", **(more or {})},
        "conditions": [{"type": "Ready", "status": ready, "reason": "Kubelet"}, *conditions],
        "nodeInfo": {"architecture": architecture},
    }
    spec: Object = {"taints": list(taints)}
    if cordoned:
        spec["unschedulable"] = True
    return {"metadata": {"name": name, "labels": {"kubernetes.io/arch": architecture, **(labels or {})}}} | {
        "spec": spec,
        "status": status,
    }


def container(cpu: str = "", memory: str = "", *, sidecar: bool = False, name: str = "c", **more: str) -> Object:
    requests = {key: value for key, value in {"cpu": cpu, "memory": memory, **more}.items() if value}
    found: Object = {"name": name, "resources": {"requests": requests} if requests else {}}
    return found | ({"restartPolicy": "Always"} if sidecar else {})


def pod(
    *containers: Object,
    on: str = "n0",
    name: str = "p",
    phase: str = "Running",
    init: tuple[Object, ...] = (),
    claim: str = "",
    spec: Object | None = None,
    status: Object | None = None,
) -> Object:
    volumes = [{"name": "v", "persistentVolumeClaim": {"claimName": claim}}] if claim else []
    return {
        "metadata": {"name": name, "namespace": "ns"},
        "spec": {
            "containers": list(containers),
            "initContainers": list(init),
            "volumes": volumes,
            **({"nodeName": on} if on else {}),
            **(spec or {}),
        },
        "status": {"phase": phase, **(status or {})},
    }


def claim(name: str, asked: str, bound: str = "") -> Object:
    status = {"capacity": {"storage": bound}} if bound else {}
    spec = {"resources": {"requests": {"storage": asked}}}
    return {"metadata": {"name": name, "namespace": "ns"}, "spec": spec, "status": status}
