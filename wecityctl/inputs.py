"""The values that a run and a stack's program receive.

A program gets everything as values, so that it reads no files and calls no services.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from wecityctl.errors import WecityError
from wecityctl.interconnects import Interconnects
from wecityctl.model.balancers import Balancer, balancers_of
from wecityctl.model.catalogue import Catalogue
from wecityctl.model.city import City, Cloud, Component
from wecityctl.model.outputs import LandingOutputs, Outputs
from wecityctl.model.served import led_to
from wecityctl.placement import Placement
from wecityctl.plan import Stack


@dataclass(frozen=True, slots=True)
class Cluster:
    """How to reach a cloud's cluster. `kubeconfig` is its text and secret; `identifier` is the UID of kube-system.

    `address` is where node ports answer from the host (empty if none can be reached, as on simulated nodes); `sources`
    are the CIDR ranges from which the pods of an embedded cloud reach other clouds; an empty `storage_class` stands for
    the cluster's default, an empty `ingress_class` for no ingress controller. `api_servers` are the addresses behind
    the Service `kubernetes`, as `host:port`; empty if they cannot be read. `networks` are the ranges of pods, Services
    and nodes, as far as they are known.
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
    api_servers: tuple[str, ...] = ()
    networks: tuple[str, ...] = ()

    @classmethod
    def offline(cls, cloud: Cloud) -> Cluster:
        """Return what the files alone say about a cloud's cluster, for programs whose resources are only recorded."""
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
    """The reachable clusters by cloud name, and for each unreachable cloud the error that says why.

    `stopped` has the embedded clouds that are not running, as they were when last running; `up` starts them.
    `provisioned` has the outputs of landing zones that the state holds.
    """

    found: Mapping[str, Cluster] = field(default_factory=dict)
    failed: Mapping[str, WecityError] = field(default_factory=dict)
    stopped: Mapping[str, Cluster] = field(default_factory=dict)
    provisioned: Mapping[str, LandingOutputs] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Reach:
    """The network addresses by which clouds reach each other: where node ports answer, and the source ranges of the
    pods.

    An unknown value is empty, and then no traffic is allowed.
    """

    address: str = ""
    sources: tuple[str, ...] = ()


# Simulated nodes have no network. They get an address of the range that RFC 5737 reserves for documentation.
_NOBODY = Reach("192.0.2.1", ("192.0.2.0/24",))


def reach_of(cloud: Cloud, cluster: Cluster | None) -> Reach:
    """Return the addresses that the Cloud declares; where it declares none, those known of its embedded cluster."""
    said = cloud.interconnect
    found = Reach(cluster.address, cluster.sources) if cluster is not None else Reach()
    if cloud.provider == "local" and cluster is not None and (cluster.simulated or not cluster.identifier):
        found = _NOBODY
    return Reach(said.address or found.address, said.sources or found.sources)


def reaches(city: City, interconnects: Interconnects, cloud: str, clusters: Mapping[str, Cluster]) -> dict[str, Reach]:
    """Return the reach of `cloud` and of each cloud that it has an interconnect with; empty if it has none."""
    pairs = ((item.source, item.target) for item in interconnects)
    names = {name for pair in pairs if cloud in pair for name in pair}
    return {name: reach_of(city.cloud(name), clusters.get(name)) for name in sorted(names)}


@dataclass(frozen=True, slots=True)
class StackInputs:
    """Everything that the program of one stack may use.

    `upstream` has an entry for each stack that this one depends on: its typed outputs, or `None` while that stack does
    not exist yet (first preview), in which case values derived from it are unknown. `secrets` holds only the values
    that this stack names. `images` maps catalogue image names to references. `provider_version` is the version of the
    provider plug-in that resources ask for. `interconnects` are those of the whole city; `reach` covers the clouds that
    this stack's cloud has an interconnect with. `balancers` are the load balancers of a landing zone and empty for all
    other stacks. `held` are apps of a tenant's stack that this run leaves as they are, and `last` are the outputs that
    the stack had before.
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
    held: frozenset[str] = frozenset()
    last: Outputs | None = None


def narrowed(inputs: StackInputs) -> StackInputs:
    """Reduce the inputs to what the program of a landing zone needs: its own cloud, the networks of the other clouds,
    the city-wide settings, and the entry points that get a load balancer.

    The program sees nothing else, so no change to an app can change a landing zone. An `up` without the vendor's
    credentials therefore does not need to contact the vendor.
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


def without_workloads(inputs: StackInputs) -> StackInputs:
    """Reduce the inputs to what the programs of the base and of the platforms need: of an app's components and
    manifests only names and ports, which routes and uses lead to, where metrics are, and when components run.

    A change to an app's containers then changes no stack that other tenants share, so runs for several tenants do not
    have to wait for each other.
    """
    apps = tuple(
        replace(
            app,
            manifests=led_to(app),
            components=tuple(
                Component(item.name, "", ports=item.ports, schedule=item.schedule, run=item.run, metrics=item.metrics)
                for item in app.components
                if item.canary is None
            ),
        )
        for app in inputs.city.apps
    )
    return replace(inputs, city=replace(inputs.city, apps=apps))


def without_manifests_of_platforms(inputs: StackInputs) -> StackInputs:
    """Leave out the platforms' manifests, so that a change to them runs the platforms' stacks alone."""
    if not any(item.manifests for item in inputs.city.platforms):
        return inputs
    platforms = tuple(replace(item, manifests=()) for item in inputs.city.platforms)
    return replace(inputs, city=replace(inputs.city, platforms=platforms))


def city_of_landing(city: City, cloud: str) -> City:
    """Return the city without its platforms, tenants, apps and waivers, and without node pools, prices and labels of
    the other clouds.
    """
    clouds = tuple(
        item if item.name == cloud else replace(item, pools=(), prices=None, labels={}) for item in city.clouds
    )
    return replace(city, clouds=clouds, platforms=(), tenants=(), apps=(), waivers=())
