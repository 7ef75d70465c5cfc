"""The probes of an app's container, from `health` or `probes` of the files."""

from __future__ import annotations

from typing import Any

from stacks.objects import Manifest
from wecityctl.model.city import Component, Probe


def probes_of(component: Component, *, tls: bool) -> dict[str, Any]:
    """The arguments `readiness`, `liveness` and `startup` of `pods.container`; none for a job or without a port."""
    if component.port is None or component.is_job:
        return {}
    if component.probes is not None:
        return _stated(component, tls=tls)
    port = next(iter(component.ports))
    if not component.health_path:
        return {"readiness": {"tcpSocket": {"port": port}, "periodSeconds": 2}}
    check = _check(component, component.health_path, port, tls=tls)
    return {
        "readiness": {**check, "periodSeconds": 2},
        "liveness": {**check, "periodSeconds": 10},
        "startup": {**check, "periodSeconds": 1, "failureThreshold": 120},
    }


def _stated(component: Component, *, tls: bool) -> dict[str, Any]:
    probes = component.probes
    assert probes is not None
    ready = _probe(component, probes.ready or Probe(every=2), tls=tls)
    if probes.live is None:
        return {"readiness": ready}
    live = _probe(component, probes.live, tls=tls)
    startup = {**live, "periodSeconds": 1, "failureThreshold": probes.start_seconds}
    return {"readiness": ready, "liveness": live, "startup": startup}


def _probe(component: Component, probe: Probe, *, tls: bool) -> Manifest:
    port = probe.port or next(iter(component.ports))
    return {
        **_check(component, probe.path, port, tls=tls),
        "periodSeconds": probe.every,
        "timeoutSeconds": probe.timeout,
        "failureThreshold": probe.failures,
    }


def _check(component: Component, path: str, port: str, *, tls: bool) -> Manifest:
    if not path:
        return {"tcpSocket": {"port": port}}
    # The kubelet does not verify certificates. Source: "HTTP probes" in the Kubernetes documentation.
    scheme = {"scheme": "HTTPS"} if tls else {}
    return {"httpGet": {"path": path, "port": port, **scheme}}
