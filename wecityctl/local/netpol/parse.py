"""Parses API objects into the agent's values. What is not understood is read in the stricter way, with a warning.

Defaults are those of networking.k8s.io/v1; the API server has set most of them already.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from ipaddress import AddressValueError, IPv4Address, IPv4Network, ip_network
from typing import Any

from wecityctl.local.netpol.model import (
    ContainerPort,
    Labels,
    Peer,
    Pod,
    Policy,
    Port,
    Protocol,
    Range,
    Record,
    Requirement,
    Rule,
    Selector,
)
from wecityctl.local.netpol.ranges import subtract

Object = Mapping[str, Any]
Warn = Callable[[str], None]

_PROTOCOLS: dict[str, Protocol] = {"TCP": "tcp", "UDP": "udp", "SCTP": "sctp"}
_OPERATORS = ("In", "NotIn", "Exists", "DoesNotExist")
_HIGHEST_PORT = 65535


def silent(_: str) -> None:
    """Discard warnings."""


def labels(obj: Object) -> Labels:
    """The object's labels."""
    return dict(obj["metadata"].get("labels") or {})


def pod(obj: Object) -> Pod | None:
    """Parse a pod; `None` for one on the host network: policies neither apply to it nor select it as a peer."""
    metadata, spec, status = obj["metadata"], obj.get("spec") or {}, obj.get("status") or {}
    if spec.get("hostNetwork"):
        return None
    texts = [each.get("ip", "") for each in status.get("podIPs") or ()] or [status.get("podIP") or ""]
    return Pod(
        namespace=metadata["namespace"],
        name=metadata["name"],
        uid=metadata.get("uid", ""),
        labels=labels(obj),
        ports=tuple(_container_ports(spec)),
        addresses=addresses(texts),
        finished=status.get("phase") in ("Succeeded", "Failed"),
        leaving="deletionTimestamp" in metadata,
    )


def addresses(texts: Iterable[str]) -> tuple[int, ...]:
    """The IPv4 addresses among the texts, with or without a prefix length."""
    found = []
    for text in texts:
        try:
            found.append(int(IPv4Address(text.partition("/")[0])))
        except AddressValueError:
            continue
    return tuple(found)


def record(obj: Object, written: int) -> Record:
    """Parse a record of the CNI plug-in. Raises KeyError, TypeError or AttributeError if it is invalid."""
    return Record(
        container=obj["container"],
        namespace=obj["namespace"],
        name=obj["name"],
        uid=obj["uid"],
        addresses=addresses(obj["addresses"]),
        written=written,
    )


def policy(obj: Object, warn: Warn = silent) -> Policy:
    """Parse a NetworkPolicy. An invalid one isolates all pods of its namespace and allows nothing."""
    metadata, spec = obj["metadata"], obj.get("spec") or {}
    namespace, name = metadata["namespace"], metadata["name"]

    def say(text: str) -> None:
        warn(f"NetworkPolicy {namespace}/{name}: {text}")

    try:
        return _policy(namespace, name, spec, say)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        say(f"cannot be understood ({error!r}): the whole namespace is cut off")
        return Policy(namespace, name, Selector(), ingress=(), egress=())


def _policy(namespace: str, name: str, spec: Object, warn: Warn) -> Policy:
    types = spec.get("policyTypes") or (["Ingress", "Egress"] if spec.get("egress") else ["Ingress"])

    def rules(kind: str, field: str, peers: str) -> tuple[Rule, ...] | None:
        if kind not in types:
            return None
        return tuple(_rule(each, peers, warn) for each in spec.get(field) or ())

    return Policy(
        namespace,
        name,
        _selector(spec.get("podSelector")),
        ingress=rules("Ingress", "ingress", "from"),
        egress=rules("Egress", "egress", "to"),
    )


def _rule(rule: Object, peers: str, warn: Warn) -> Rule:
    """Parse a rule. A missing and an empty list both mean no restriction."""
    found, ports = rule.get(peers), rule.get("ports")
    return Rule(
        peers=tuple(_peer(each, warn) for each in found) if found else None,
        ports=tuple(_port(each) for each in ports) if ports else None,
    )


def _peer(peer: Object, warn: Warn) -> Peer:
    if peer.get("ipBlock") is not None:
        return Peer(ranges=_ranges(peer["ipBlock"], warn))
    if peer.get("podSelector") is None and peer.get("namespaceSelector") is None:
        raise ValueError("a peer without podSelector, namespaceSelector and ipBlock")
    namespaces = peer.get("namespaceSelector")
    return Peer(_selector(peer.get("podSelector")), None if namespaces is None else _selector(namespaces))


def _ranges(block: Object, warn: Warn) -> tuple[Range, ...]:
    network = ip_network(block["cidr"], strict=False)
    if not isinstance(network, IPv4Network):
        # The node forwards no IPv6, so such a block cannot allow anything.
        warn(f"ipBlock {block['cidr']} is ignored: pods of the embedded cloud have no IPv6")
        return ()
    excepts = [ip_network(text, strict=False) for text in block.get("except") or ()]
    return subtract([_range(network)], [_range(each) for each in excepts if isinstance(each, IPv4Network)])


def _range(network: IPv4Network) -> Range:
    return int(network.network_address), int(network.broadcast_address)


def _port(port: Object) -> Port:
    protocol = _PROTOCOLS[port.get("protocol") or "TCP"]
    number = port.get("port")
    if number is None:
        return Port(protocol)
    if isinstance(number, str):
        return Port(protocol, name=number)
    last = port.get("endPort") or number
    if not 0 < number <= last <= _HIGHEST_PORT:
        raise ValueError(f"ports {number} to {last}")
    return Port(protocol, numbers=(number, last))


def _selector(selector: Object | None) -> Selector:
    selector = selector or {}
    required = [
        Requirement(key, "In", frozenset((value,))) for key, value in (selector.get("matchLabels") or {}).items()
    ]
    for each in selector.get("matchExpressions") or ():
        if each["operator"] not in _OPERATORS:
            raise ValueError(f"operator {each['operator']!r}")
        required.append(Requirement(each["key"], each["operator"], frozenset(each.get("values") or ())))
    # Sorted, so that equal selectors are equal values and are looked up once.
    return Selector(tuple(sorted(required, key=lambda r: (r.key, r.operator, sorted(r.values)))))


def _container_ports(spec: Object) -> Iterable[ContainerPort]:
    sidecars = (each for each in spec.get("initContainers") or () if each.get("restartPolicy") == "Always")
    for container in (*(spec.get("containers") or ()), *sidecars):
        for port in container.get("ports") or ():
            if port.get("name"):
                yield ContainerPort(port["name"], _PROTOCOLS[port.get("protocol") or "TCP"], port["containerPort"])
