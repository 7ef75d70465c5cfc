"""What a run and a stack's program are given: values only, so that a program reads no file and asks nobody."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from wecityctl.errors import WecityError
from wecityctl.interconnects import Interconnects
from wecityctl.model.balancers import Balancer, balancers_of
from wecityctl.model.catalogue import Catalogue
from wecityctl.model.city import City, Cloud
from wecityctl.model.outputs import LandingOutputs, Outputs
from wecityctl.placement import Placement
from wecityctl.plan import Stack


@dataclass(frozen=True, slots=True)
class Cluster:
    """How to reach a cloud's cluster. `kubeconfig` is text and secret; `identifier` is the UID of kube-system.

    `address` is where node ports answer from the host (empty when nothing is reachable, as on simulated nodes);
    `sources` are the ranges from which an embedded cloud's pods reach other clouds;
    `storage_class` and `ingress_class` are empty for the cluster's default and for none.
    """

    cloud: str
    kubeconfig: str = field(repr=False)
    context: str
    identifier: str
    simulated: bool = False
    address: str = ""
    storage_class: str = ""
    ingress_class: str = ""
    kubernetes_version: str = ""
    sources: tuple[str, ...] = ()

    @classmethod
    def offline(cls, cloud: Cloud) -> Cluster:
        """What is known of a cloud's cluster from the files alone, for programs that are only recorded."""
        return cls(
            cloud=cloud.name,
            kubeconfig="",
            context="",
            identifier="",
            simulated=cloud.provider == "local" and cloud.local.nodes == "simulated",
            storage_class=cloud.kubernetes.storage_class,
            ingress_class=cloud.kubernetes.ingress_class,
        )


@dataclass(frozen=True, slots=True)
class Clusters:
    """The clusters that answer, by cloud name, and for each other cloud the error that says why it does not.

    `stopped` are embedded clouds that do not run, as they were when they last did: `up` starts them.
    `landed` is what landing zones have put out, as the state has it.
    """

    found: Mapping[str, Cluster] = field(default_factory=dict)
    failed: Mapping[str, WecityError] = field(default_factory=dict)
    stopped: Mapping[str, Cluster] = field(default_factory=dict)
    provisioned: Mapping[str, LandingOutputs] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Reach:
    """How a cloud and others reach each other: the address of its node ports and the ranges that it comes from.

    Empty where it is not known, which lets nobody through.
    """

    address: str = ""
    sources: tuple[str, ...] = ()


# Where nothing is real, nothing answers: the range that RFC 5737 keeps for examples.
_NOBODY = Reach("192.0.2.1", ("192.0.2.0/24",))


def reach_of(cloud: Cloud, cluster: Cluster | None) -> Reach:
    """What the Cloud says of itself, else what is known of an embedded one."""
    said = cloud.interconnect
    found = Reach(cluster.address, cluster.sources) if cluster is not None else Reach()
    if cloud.provider == "local" and cluster is not None and (cluster.simulated or not cluster.identifier):
        found = _NOBODY
    return Reach(said.address or found.address, said.sources or found.sources)


def reaches(city: City, interconnects: Interconnects, cloud: str, clusters: Mapping[str, Cluster]) -> dict[str, Reach]:
    """The reach of `cloud` and of those that it has to do with; nothing where it has to do with none."""
    pairs = ((item.source, item.target) for item in interconnects)
    names = {name for pair in pairs if cloud in pair for name in pair}
    return {name: reach_of(city.cloud(name), clusters.get(name)) for name in sorted(names)}


@dataclass(frozen=True, slots=True)
class StackInputs:
    """Everything one stack's program may use.

    `upstream` has an entry for each stack it depends on: its typed outputs, or `None` while that stack does not exist
    yet (first preview): values derived from it are then unknown. `secrets` holds just the values this stack names.
    `images` maps catalogue image names to references. `provider_version` is the plug-in version resources ask for.
    `interconnects` are the city's, `reach` is that of the clouds which this stack's has to do with. `balancers` are
    those that a landing zone makes; only its program is given them.
    """

    city: City
    stack: Stack
    placement: Placement
    catalogue: Catalogue
    cluster: Cluster | None
    upstream: Mapping[str, Outputs | None]
    images: Mapping[str, str]
    provider_version: str
    secrets: Mapping[str, str] = field(repr=False, default_factory=dict)
    interconnects: Interconnects = field(default_factory=Interconnects)
    reach: Mapping[str, Reach] = field(default_factory=dict)
    balancers: tuple[Balancer, ...] = ()


def narrowed(inputs: StackInputs) -> StackInputs:
    """What a landing zone's program is given: its own cloud, the networks of the others, what holds for all, and which
    entry points get a load balancer.

    Nothing else is in reach of the program, so no change of an app can change a landing zone, nor send an `up` that
    has no credentials of the vendor at hand to the vendor.
    """
    placement = Placement({}, {}, "")
    return replace(
        inputs,
        city=city_of_landing(inputs.city, inputs.stack.cloud),
        placement=placement,
        catalogue={},
        images={},
        interconnects=Interconnects(),
        reach={},
        balancers=balancers_of(inputs.city, inputs.stack.cloud, inputs.placement.entry),
    )


def city_of_landing(city: City, cloud: str) -> City:
    """The city without what runs on it, nor the nodes and prices of its other clouds."""
    clouds = tuple(
        item if item.name == cloud else replace(item, pools=(), prices=None, labels={}) for item in city.clouds
    )
    return replace(city, clouds=clouds, platforms=(), tenants=(), apps=(), waivers=())
