"""Computes a pod's effective resource requests, as the scheduler and `kubectl describe node` do. Pure.

Source: PodRequests of k8s.io/component-helpers/resource. The result is the sum over containers and sidecars, or the
maximum during initialisation if that is larger. Pod-level requests replace both. The runtime class's overhead is added.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from wecityctl.kube.resource import Object
from wecityctl.model.quantity import parse_quantity

Requests = dict[str, int]
_CPU = "cpu"
_ENDED = ("Succeeded", "Failed")


def has_ended(pod: Object) -> bool:
    """Whether the pod has ended and uses no resources any more."""
    return (pod.get("status") or {}).get("phase") in _ENDED


def pod_requests(pod: Object) -> Requests:
    """The effective requests by resource: CPU in millicores, everything else in its base unit, rounded up."""
    spec, status = pod.get("spec") or {}, pod.get("status") or {}
    running = _statuses(status, "containerStatuses")
    wanted: Requests = {}
    for container in spec.get("containers") or ():
        _add(wanted, _requests(container, running, status))
    _raise_to(wanted, _initialisation(spec, status, wanted))
    own = (spec.get("resources") or {}).get("requests") or {}
    wanted |= {name: amount(name, value) for name, value in own.items() if name in (_CPU, "memory") or _is_huge(name)}
    _add(wanted, amounts(spec.get("overhead") or {}))
    return wanted


def amounts(quantities: Mapping[str, Any]) -> Requests:
    """A resource list as whole numbers; see `amount` for the units."""
    return {name: amount(name, value) for name, value in quantities.items()}


def amount(resource: str, quantity: Any) -> int:
    """One quantity, rounded up: millicores for CPU, otherwise the base unit."""
    return _whole(str(quantity), 1000 if resource == _CPU else 1)


def _initialisation(spec: Mapping[str, Any], status: Mapping[str, Any], wanted: Requests) -> Requests:
    """The maximum during initialisation. Sidecars among the init containers keep running and are added to `wanted`."""
    running = _statuses(status, "initContainerStatuses")
    sidecars: Requests = {}
    largest: Requests = {}
    for container in spec.get("initContainers") or ():
        asked = _requests(container, running, status)
        if container.get("restartPolicy") == "Always":
            _add(wanted, asked)
            _add(sidecars, asked)
            _raise_to(largest, sidecars)
        else:
            moment = dict(sidecars)
            _add(moment, asked)
            _raise_to(largest, moment)
    return largest


def _requests(container: Mapping[str, Any], running: Mapping[str, Any], status: Mapping[str, Any]) -> Requests:
    """A container's requests; during an in-place resize, the larger of the requested and the allocated resources."""
    asked = amounts((container.get("resources") or {}).get("requests") or {})
    held = running.get(str(container.get("name"))) or {}
    actual = (held.get("resources") or {}).get("requests")
    if actual is None:
        return asked
    if _resize_is_infeasible(status):
        return amounts(actual)
    _raise_to(asked, amounts(actual))
    _raise_to(asked, amounts(held.get("allocatedResources") or {}))
    return asked


def _resize_is_infeasible(status: Mapping[str, Any]) -> bool:
    return any(
        each.get("type") == "PodResizePending" and each.get("reason") == "Infeasible"
        for each in status.get("conditions") or ()
    )


def _statuses(status: Mapping[str, Any], field: str) -> Mapping[str, Any]:
    return {str(each.get("name")): each for each in status.get(field) or ()}


def _add(target: Requests, more: Requests) -> None:
    for name, value in more.items():
        target[name] = target.get(name, 0) + value


def _raise_to(target: Requests, least: Requests) -> None:
    for name, value in least.items():
        target[name] = max(target.get(name, 0), value)


def _is_huge(resource: str) -> bool:
    return resource.startswith("hugepages-")


# A city's pods have few distinct sizes, each in few spellings.
@lru_cache(maxsize=4096)
def _whole(quantity: str, scale: int) -> int:
    return int((parse_quantity(quantity) * scale).to_integral_value(rounding="ROUND_CEILING"))
