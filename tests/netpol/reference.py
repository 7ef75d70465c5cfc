"""What networking.k8s.io/v1 says about one connection, read straight from the API objects: slow and plain.

Shares no code with the agent. Sources are the API reference and "Network Policies" of the Kubernetes documentation.
"""

from __future__ import annotations

from ipaddress import ip_address, ip_network
from typing import Any

from tests.netpol.interpreter import Packet

Object = dict[str, Any]


def allows(objects: list[Object], pod_cidr: str, packet: Packet) -> bool:
    """Both ends must be pods or lie outside; then the sender's egress and the receiver's ingress must agree."""
    source, destination = _pod_at(objects, packet.source), _pod_at(objects, packet.destination)
    for pod, address in ((source, packet.source), (destination, packet.destination)):
        if pod is None and ip_address(address) in ip_network(pod_cidr):
            return False
    if packet.source == packet.destination:
        return True
    return _direction(objects, packet, "Egress", source, destination) and _direction(
        objects, packet, "Ingress", destination, source
    )


def _direction(objects: list[Object], packet: Packet, kind: str, subject: Object | None, peer: Object | None) -> bool:
    if subject is None:
        return True
    selecting = [
        each
        for each in objects
        if each["kind"] == "NetworkPolicy"
        and each["metadata"]["namespace"] == subject["metadata"]["namespace"]
        and _matches(each["spec"].get("podSelector", {}), subject["metadata"]["labels"])
        and kind in _types(each["spec"])
    ]
    if not selecting:
        return True
    for policy in selecting:
        for rule in policy["spec"].get(kind.lower()) or []:
            peers = rule.get("from" if kind == "Ingress" else "to") or []
            ports = rule.get("ports") or []
            if (not peers or any(_peer(objects, policy, each, kind, packet, peer) for each in peers)) and (
                not ports or any(_port(each, packet, objects) for each in ports)
            ):
                return True
    return False


def _types(spec: Object) -> list[str]:
    if spec.get("policyTypes"):
        return list(spec["policyTypes"])
    return ["Ingress", "Egress"] if spec.get("egress") else ["Ingress"]


def _peer(objects: list[Object], policy: Object, peer: Object, kind: str, packet: Packet, pod: Object | None) -> bool:
    if "ipBlock" in peer:
        address = ip_address(packet.source if kind == "Ingress" else packet.destination)
        block = peer["ipBlock"]
        return address in ip_network(block["cidr"]) and not any(
            address in ip_network(each) for each in block.get("except", [])
        )
    if pod is None:
        return False
    own = pod["metadata"]["namespace"]
    if "namespaceSelector" in peer:
        labels = next((o["metadata"]["labels"] for o in objects if o["kind"] == "Namespace" and _name(o) == own), None)
        if labels is None or not _matches(peer["namespaceSelector"], labels):
            return False
    elif own != policy["metadata"]["namespace"]:
        return False
    return _matches(peer.get("podSelector", {}), pod["metadata"]["labels"])


def _port(port: Object, packet: Packet, objects: list[Object]) -> bool:
    if port.get("protocol", "TCP").lower() != packet.protocol:
        return False
    number = port.get("port")
    if number is None:
        return True
    if isinstance(number, str):
        target = _pod_at(objects, packet.destination)
        return target is not None and any(
            each.get("name") == number
            and each.get("protocol", "TCP").lower() == packet.protocol
            and each["containerPort"] == packet.port
            for container in target["spec"]["containers"]
            for each in container["ports"]
        )
    return bool(number <= packet.port <= port.get("endPort", number))


def _matches(selector: Object, labels: dict[str, str]) -> bool:
    for key, value in selector.get("matchLabels", {}).items():
        if labels.get(key) != value:
            return False
    for each in selector.get("matchExpressions", []):
        key, has = each["key"], each["key"] in labels
        wanted = {
            "In": lambda key=key, has=has, each=each: has and labels[key] in each["values"],
            "NotIn": lambda key=key, has=has, each=each: not has or labels[key] not in each["values"],
            "Exists": lambda has=has: has,
            "DoesNotExist": lambda has=has: not has,
        }[each["operator"]]
        if not wanted():
            return False
    return True


def _pod_at(objects: list[Object], address: str) -> Object | None:
    found = [
        each
        for each in objects
        if each["kind"] == "Pod"
        and each["status"]["podIP"] == address
        and not each["spec"].get("hostNetwork")
        and each["status"]["phase"] not in ("Succeeded", "Failed")
    ]
    return found[0] if len(found) == 1 else None


def _name(obj: Object) -> str:
    return str(obj["metadata"]["name"])
