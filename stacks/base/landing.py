"""Vendor-independent parts of landing zones: the plan (subnets, firewall rules, node pools, names) and SDK helpers.

A vendor's module creates the planned resources in the vendor's terms. It reads like this::

    with landing.needs_sdk("alicloud"):
        from pulumi_alicloud.vpc.network import Network

    def run(inputs: StackInputs) -> dict[str, Any]:
        zone = landing.plan_landing(inputs.city, inputs.stack.cloud, inputs.balancers)
        provider = Provider("cloud", region=zone.cloud.region)
        network = Network("network", vpc_name=zone.name, ..., opts=landing.options(provider, protect=True))
        return landing.outputs(zone, kubeconfig=..., network=network.id, subnets={...}, cluster=cluster.id)
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from ipaddress import IPv4Network
from types import MappingProxyType
from typing import Any, Literal

import pulumi

from wecityctl.errors import ConfigurationError
from wecityctl.interconnects import STATIC_PORTS
from wecityctl.model import naming
from wecityctl.model.addresses import subnet_ranges
from wecityctl.model.balancers import Balancer
from wecityctl.model.city import City, Cloud, Flow, Pool, Zone
from wecityctl.model.naming import DOMESTIC_LABEL, POOL_LABEL, SIMULATED_LABEL, ZONE_LABEL
from wecityctl.model.outputs import LandingOutputs, to_json
from wecityctl.model.vendors import vendors
from wecityctl.placement.interconnect import is_closed

ANYWHERE = "0.0.0.0/0"
# The ports of entry points at a load balancer: plain HTTP and HTTPS.
ENTRY_PORTS = (80, 443)
# Kubernetes' default range of node ports.
NODE_PORTS = (30000, 32767)
_DESCRIPTION = 100

Direction = Literal["ingress", "egress"]


@dataclass(frozen=True, slots=True)
class Subnet:
    """A planned subnet of a zone.

    `name` is the logical name: the zone's for the first availability zone, then `<zone>-<availability zone>`.
    `existing` is the identifier of a subnet that is only read; empty: it is to be created. `egress`: it may reach the
    internet.
    """

    name: str
    zone: str
    availability_zone: str
    cidr: str
    existing: str = ""
    egress: bool = False


@dataclass(frozen=True, slots=True)
class Rule:
    """Traffic that a zone's security group allows. Everything else is denied.

    The other side is `peer`, the group of a zone of this cloud, or otherwise the range `cidr`. `port` 0 with protocol
    `any` means all traffic; with `last_port`, `port` is the first of a range. `name` is unique in the landing zone and
    stable.
    """

    name: str
    zone: str
    direction: Direction
    description: str
    peer: str = ""
    cidr: str = ""
    protocol: Literal["tcp", "any"] = "tcp"
    port: int = 0
    last_port: int = 0

    @property
    def ports(self) -> tuple[int, int]:
        """The first and the last port; zeros for all ports."""
        return self.port, self.last_port or self.port


@dataclass(frozen=True, slots=True)
class NodePool:
    """A planned node pool.

    `zones` are the zones that it serves, whose security groups its nodes get. `subnets` are the logical names of its
    nodes' subnets. `labels` are node labels in addition to those that Kubernetes sets itself.
    """

    name: str
    physical_name: str
    pool: Pool
    zones: tuple[str, ...]
    subnets: tuple[str, ...]
    labels: Mapping[str, str]

    @property
    def is_arm(self) -> bool:
        return self.pool.architecture == "arm64"


@dataclass(frozen=True, slots=True)
class MadeBalancer:
    """A load balancer of an entry point: the vendor's identifier, and its address."""

    id: pulumi.Input[str]
    address: pulumi.Input[str]


@dataclass(frozen=True, slots=True)
class LandingZone:
    """The plan of one landing zone. `name` is the prefix of physical names; `tags` are set on all resources."""

    city: City
    cloud: Cloud
    name: str
    tags: Mapping[str, str]
    zones: tuple[Zone, ...]
    availability_zones: tuple[str, ...]
    subnets: tuple[Subnet, ...]
    cluster_subnets: tuple[str, ...]
    rules: tuple[Rule, ...]
    pools: tuple[NodePool, ...]
    balancers: tuple[Balancer, ...] = ()

    @property
    def makes_network(self) -> bool:
        return not self.cloud.existing.network

    @property
    def makes_cluster(self) -> bool:
        return not self.cloud.existing.cluster

    @property
    def egress_subnets(self) -> tuple[Subnet, ...]:
        """The subnets that get egress. Egress of an existing network is the responsibility of its owner."""
        return tuple(subnet for subnet in self.subnets if subnet.egress and not subnet.existing and self.makes_network)

    @property
    def has_public_api(self) -> bool:
        """Whether the cluster's API gets a public address, restricted by its access list.

        The file requests it. It is never granted if the cloud serves a government extranet zone.
        """
        kinds = {zone.kind for zone in self.zones}
        return bool(self.cloud.public_api.allow_from) and "government-extranet" not in kinds

    @property
    def wants_sm(self) -> bool:
        """Whether keys must use SM algorithms. A vendor without them refuses with `refuse_sm`."""
        return self.city.compliance.sm

    @property
    def bucket_name(self) -> str:
        """The name of the bucket, with a digest, because all customers of a vendor share one namespace for buckets."""
        return naming.fit(f"{self.name}-{naming.digest(self.city.domain, self.city.name, self.cloud.name)}", 50)

    def tags_of(self, **more: str) -> dict[str, str]:
        """The common tags and further ones; `zone="internet"` becomes the tag `wecity-zone`."""
        return {**self.tags, **{f"wecity-{key}": value for key, value in more.items()}}

    def physical_name(self, *parts: str, limit: int = 63) -> str:
        """The physical name of a resource of the landing zone."""
        return naming.fit("-".join((self.name, *parts)), limit)

    def rules_of(self, zone: str) -> tuple[Rule, ...]:
        return tuple(rule for rule in self.rules if rule.zone == zone)


def plan_landing(city: City, cloud_name: str, balancers: tuple[Balancer, ...] = ()) -> LandingZone:
    """Plan the landing zone of a cloud. `balancers` are the load balancers of the entry points on this cloud."""
    cloud = city.cloud(cloud_name)
    zones = tuple(city.zone(name) for name in cloud.zones)
    subnets = plan_subnets(city, cloud)
    return LandingZone(
        city=city,
        cloud=cloud,
        name=naming.fit(f"{city.name}-{cloud.name}", 40),
        # Tag keys that all vendors accept: some refuse a slash, some a dot.
        tags={"wecity-city": city.name, "wecity-cloud": cloud.name, "managed-by": naming.MANAGED_BY},
        zones=zones,
        availability_zones=cloud.settings.places,
        subnets=subnets,
        cluster_subnets=_subnets_in(subnets, home_zones(zones)),
        rules=_once((*plan_rules(city, cloud), *interconnect_rules(city, cloud))),
        pools=tuple(_node_pool(city, cloud, pool, subnets) for pool in cloud.pools),
        balancers=balancers,
    )


def may_leave(zone: Zone) -> bool:
    """Whether a zone may have egress. A government extranet never has, whatever its `egress` says."""
    return zone.egress and zone.kind != "government-extranet"


def plan_subnets(city: City, cloud: Cloud) -> tuple[Subnet, ...]:
    """The cloud's subnets, zones in file order. A zone with an existing subnet has only this one."""
    existing = cloud.existing.subnets
    first: set[str] = set()
    subnets: list[Subnet] = []
    for item in subnet_ranges(cloud):
        if item.zone in first and item.zone in existing:
            continue
        name = f"{item.zone}-{item.availability_zone}" if item.zone in first else item.zone
        first.add(item.zone)
        egress = may_leave(city.zone(item.zone))
        subnets.append(Subnet(name, item.zone, item.availability_zone, item.cidr, existing.get(item.zone, ""), egress))
    return tuple(subnets)


def home_zones(zones: Sequence[Zone]) -> tuple[str, ...]:
    """The zones whose subnets hold nodes that serve all of `zones`: the strictest ones.

    A pod of an extranet zone therefore never runs on a node with egress.
    """
    strictest = (
        [zone for zone in zones if zone.kind == "government-extranet"]
        or [zone for zone in zones if not may_leave(zone)]
        or zones
    )
    return tuple(zone.name for zone in strictest)


def plan_rules(city: City, cloud: Cloud) -> Iterator[Rule]:
    """Yield the rules of the zones' security groups: the declared flows, and egress of the zones that may have it."""
    for flow in city.flows:
        here = (flow.source in cloud.zones, flow.target in cloud.zones)
        why = _why(f"{flow.source} to {flow.target}", flow)
        for port in flow.ports:
            if all(here):
                yield Rule(
                    f"{flow.target}-from-{flow.source}-{port}", flow.target, "ingress", why, peer=flow.source, port=port
                )
                yield Rule(
                    f"{flow.source}-to-{flow.target}-{port}", flow.source, "egress", why, peer=flow.target, port=port
                )
            if here[1]:
                yield from _from_elsewhere(city, cloud, flow.source, flow.target, "ingress", port, why)
            if here[0]:
                yield from _from_elsewhere(city, cloud, flow.target, flow.source, "egress", port, why)
    for name in cloud.zones:
        if may_leave(city.zone(name)):
            yield Rule(f"{name}-out", name, "egress", f"the way out of {name}", cidr=ANYWHERE, protocol="any")


def _from_elsewhere(
    city: City, cloud: Cloud, peer: str, zone: str, direction: Direction, port: int, why: str
) -> Iterator[Rule]:
    """Yield rules for a zone's ranges on other vendors' clouds.

    Ranges that overlap ours are skipped, because they would open our own zones.
    """
    word = "from" if direction == "ingress" else "to"
    for other in city.clouds:
        if other.name == cloud.name or not other.has_landing_zone or peer not in other.zones:
            continue
        for item in subnet_ranges(other):
            if item.zone == peer and not _overlaps(item.cidr, cloud):
                place = f"-{item.availability_zone}" if item.availability_zone else ""
                name = f"{zone}-{word}-{peer}-{port}-{other.name}{place}"
                yield Rule(name, zone, direction, why, cidr=item.cidr, port=port)


def _why(what: str, flow: Flow) -> str:
    """The description of a rule, truncated to the limit of the strictest vendor."""
    return f"{what}, approved by {flow.approved_by}"[:_DESCRIPTION]


def _once(rules: Sequence[Rule]) -> tuple[Rule, ...]:
    """The rules without duplicates: two flows may declare the same port."""
    return tuple({rule.name: rule for rule in reversed(rules)}.values())[::-1]


def interconnect_rules(city: City, cloud: Cloud) -> Iterator[Rule]:
    """Yield the rules for the node ports through which clouds reach each other, for each declared flow between them.

    The ports in use depend on the apps, and a landing zone must not change with every app. Therefore the whole range of
    possible ports is allowed between the two clouds; network policies in each namespace restrict access further.
    """
    first, last = STATIC_PORTS[0], STATIC_PORTS[-1]
    for flow in city.flows:
        if is_closed(city, flow.target):
            continue
        for other in city.clouds:
            if other.name == cloud.name:
                continue
            if flow.target in cloud.zones and flow.source in other.zones:
                why = _why(f"cloud {other.name} to {cloud.name}", flow)
                for number, cidr in enumerate(other.interconnect.sources):
                    name = f"{flow.target}-from-cloud-{other.name}" + (f"-{number}" if number else "")
                    yield Rule(name, flow.target, "ingress", why, cidr=cidr, port=first, last_port=last)
            if flow.source in cloud.zones and flow.target in other.zones and other.interconnect.address:
                why = _why(f"cloud {cloud.name} to {other.name}", flow)
                name = f"{flow.source}-to-cloud-{other.name}"
                yield Rule(
                    name,
                    flow.source,
                    "egress",
                    why,
                    cidr=f"{other.interconnect.address}/32",
                    port=first,
                    last_port=last,
                )


def ports_text(rule: Rule) -> str:
    """The rule's ports as `443` or `30000-30085`; empty for all ports."""
    first, last = rule.ports
    return "" if not first else f"{first}" if first == last else f"{first}-{last}"


def _overlaps(cidr: str, cloud: Cloud) -> bool:
    ours = (cloud.network.cidr, *cloud.network.subnets.values())
    return any(IPv4Network(cidr).overlaps(IPv4Network(own)) for own in ours)


def _node_pool(city: City, cloud: Cloud, pool: Pool, subnets: Sequence[Subnet]) -> NodePool:
    zones = pool.zones or cloud.zones
    homes = home_zones([city.zone(name) for name in zones])
    return NodePool(
        name=pool.name,
        physical_name=naming.fit(f"{city.name}-{cloud.name}-{pool.name}", 50),
        pool=pool,
        zones=zones,
        subnets=_subnets_in(subnets, homes),
        labels=node_labels(pool, zones),
    )


def _subnets_in(subnets: Sequence[Subnet], zones: Sequence[str]) -> tuple[str, ...]:
    return tuple(subnet.name for subnet in subnets if subnet.zone in zones)


def node_labels(pool: Pool, zones: Sequence[str]) -> dict[str, str]:
    """The labels of a pool's nodes, the same as on nodes of the embedded cloud.

    Labels of Kubernetes itself, such as the architecture, are set by the kubelet.
    """
    ours = {POOL_LABEL: pool.name, SIMULATED_LABEL: "false", **{f"{ZONE_LABEL}.{zone}": "true" for zone in zones}}
    if len(zones) == 1:
        ours[ZONE_LABEL] = zones[0]
    if pool.domestic:
        ours[DOMESTIC_LABEL] = "true"
    return {**pool.labels, **ours}


def refuse_sm(zone: LandingZone, what: str) -> None:
    """Raise `ConfigurationError` if the city requires SM cryptography; for vendors without SM keys.

    Never fall back to AES.
    """
    if zone.wants_sm:
        raise ConfigurationError(
            f"the city requires SM cryptography, and {what} has no SM keys",
            details=f"cloud {zone.cloud.name}, spec.compliance.sm of {zone.city.name}",
            resolution="carry the city on a cloud whose key management has SM4 and SM2 keys, such as "
            + " or ".join(name for name, vendor in vendors().items() if "SM4" in vendor.sm_keys),
        )


@contextmanager
def needs_sdk(extra: str) -> Iterator[None]:
    """Context manager around imports of a vendor's SDK: explains how to install it if it is missing."""
    try:
        yield
    except ModuleNotFoundError as error:
        raise ConfigurationError(
            f"the Pulumi SDK of {extra} is not installed",
            details=str(error),
            resolution=f"pip install 'wecityctl[{extra}]'",
        ) from error


def make_provider(package: str, defaults: pulumi.ResourceOptions, **settings: str) -> pulumi.ProviderResource:
    """The vendor's provider with just these settings. `defaults` are the SDK's: version and URL of the plug-in.

    The SDKs' own provider classes also copy settings from the environment, including credentials, into the state. There
    they would differ for another administrator. The plug-in reads the environment itself.
    """
    return pulumi.ProviderResource(package, "cloud", dict(settings), defaults)


def options(
    provider: pulumi.ProviderResource,
    *,
    protect: bool = False,
    after: Sequence[pulumi.Resource] = (),
    timeout: str = "",
    secret: Sequence[str] = (),
    ignore: Sequence[str] = (),
) -> pulumi.ResourceOptions:
    """Options of a resource.

    `protect` resources that hold state: network, cluster, bucket, key. `after`: dependencies that no input expresses.
    `timeout` applies to create, update and delete. `secret`: outputs to encrypt. `ignore`: inputs that others change
    later.
    """
    return pulumi.ResourceOptions(
        provider=provider,
        protect=protect or None,
        depends_on=list(after),
        custom_timeouts=pulumi.CustomTimeouts(create=timeout, update=timeout, delete=timeout) if timeout else None,
        additional_secret_outputs=list(secret) or None,
        ignore_changes=list(ignore) or None,
    )


def outputs(
    zone: LandingZone,
    *,
    kubeconfig: pulumi.Input[str],
    network: pulumi.Input[str],
    subnets: Mapping[str, pulumi.Input[str]],
    cluster: pulumi.Input[str],
    bucket: pulumi.Input[str] = "",
    key: pulumi.Input[str] = "",
    balancers: Mapping[str, MadeBalancer] = MappingProxyType({}),
) -> dict[str, Any]:
    """The outputs of a landing zone. `subnets` is by logical name; the first of each zone is exported.

    `balancers` is by zone.
    """
    first = {subnet.zone: subnets[subnet.name] for subnet in reversed(zone.subnets)}
    values: dict[str, Any] = {
        "kubeconfig": pulumi.Output.secret(kubeconfig),
        "network": network,
        "subnets": {name: first[name] for name in zone.cloud.zones},
        "cluster": cluster,
        "bucket": bucket,
        "key": key,
        "balancers": {name: made.id for name, made in balancers.items()},
        "addresses": {name: _text(made.address) for name, made in balancers.items()},
        "public_zones": tuple(item.zone for item in zone.balancers if item.public and item.zone in balancers),
    }
    return to_json(LandingOutputs(zone.cloud.name, zone.cloud.provider, zone.cloud.region, **values))


def _text(value: pulumi.Input[str]) -> pulumi.Output[str]:
    """An output of a resource as text; empty if the vendor returns nothing."""
    return pulumi.Output.from_input(value).apply(lambda found: str(found or ""))


def kubeconfig(
    context: str,
    server: pulumi.Input[str | None],
    authority: pulumi.Input[str | None],
    certificate: pulumi.Input[str | None],
    key: pulumi.Input[str | None],
) -> pulumi.Output[str]:
    """A kubeconfig for a cluster's address and base64-encoded certificates; empty while one of them is missing."""
    parts = pulumi.Output.all(server, authority, certificate, key)
    return pulumi.Output.secret(parts.apply(lambda found: kubeconfig_text(context, *found)))


def kubeconfig_text(context: str, server: Any, authority: Any, certificate: Any, key: Any) -> str:
    """The kubeconfig as text. Certificates and key are base64-encoded PEM."""
    if not all((server, authority, certificate, key)):
        return ""
    address = server if "://" in server else f"https://{server}"
    return json.dumps(
        {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": context,
            "clusters": [{"name": context, "cluster": {"server": address, "certificate-authority-data": authority}}],
            "users": [{"name": context, "user": {"client-certificate-data": certificate, "client-key-data": key}}],
            "contexts": [{"name": context, "context": {"cluster": context, "user": context}}],
        }
    )
