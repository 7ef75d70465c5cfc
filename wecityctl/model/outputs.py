"""What stacks tell each other: typed outputs that travel through the state as plain JSON.

`to_json` and `outputs_from_json` are inverse; an unknown field or a missing one is an error, because a stack written
by another version must not be half understood.
"""

from __future__ import annotations

from dataclasses import MISSING, dataclass, field, fields, is_dataclass
from typing import Any, Literal, TypeAlias, cast

LayerName = Literal["secrets", "landing", "base", "platform", "crossing", "tenant", "entry"]


@dataclass(frozen=True, slots=True)
class LandingOutputs:
    """A vendor's landing zone. `kubeconfig` is text and secret; the others are the vendor's identifiers, `subnets` by
    zone; empty where the landing zone has no such thing. `balancers` are the entry points' load balancers by zone,
    `addresses` where they answer, `public_zones` the zones of those that answer on the internet."""

    cloud: str
    provider: str
    region: str
    kubeconfig: str = field(repr=False)
    network: str
    subnets: dict[str, str]
    cluster: str
    bucket: str = ""
    key: str = ""
    balancers: dict[str, str] = field(default_factory=dict)
    addresses: dict[str, str] = field(default_factory=dict)
    public_zones: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class BaseOutputs:
    """A cloud that is ready to carry platforms and tenants."""

    cloud: str
    provider: str
    zones: tuple[str, ...]
    storage_class: str
    ingress_class: str
    simulated: bool


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where a capability answers inside its cluster, and how network policies and Jobs find it.

    `admin_secret` names a Secret in `namespace`; its content never leaves that namespace. `external_host` and
    `external_port` are where it answers other clouds: empty and 0 where nobody on another cloud uses it.
    """

    capability: str
    type: str
    engine: str
    namespace: str
    service: str
    port: int
    pod_labels: dict[str, str]
    admin_secret: str = ""
    image: str = ""
    external_host: str = ""
    external_port: int = 0

    @property
    def host(self) -> str:
        return f"{self.service}.{self.namespace}.svc.cluster.local"


@dataclass(frozen=True, slots=True)
class PlatformOutputs:
    platform: str
    cloud: str
    endpoints: tuple[Endpoint, ...]


@dataclass(frozen=True, slots=True)
class RouteTarget:
    """One line of the entry point: a host and path, and the Service behind it.

    `external_host` and `external_port` are where it answers a gateway on another cloud; empty and 0 on the same one.
    `tls`: it shows a certificate for its Service's name.
    """

    tenant: str
    app: str
    host: str
    path: str
    namespace: str
    service: str
    port: int
    external_host: str = ""
    external_port: int = 0
    tls: bool = False


@dataclass(frozen=True, slots=True)
class InterconnectOutputs:
    """What a tenant's apps on other clouds use on this one, as `<app>/<alias>`."""

    tenant: str
    cloud: str
    uses: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class TenantOutputs:
    """A tenant on one cloud. `apps` are those that run there; `None` where an earlier version did not say."""

    tenant: str
    cloud: str
    namespaces: tuple[str, ...]
    routes: tuple[RouteTarget, ...]
    apps: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class ZoneEntry:
    """A zone's own entry point: the hosts that it serves, on its own node port."""

    zone: str
    hosts: tuple[str, ...]
    node_port: int


@dataclass(frozen=True, slots=True)
class EntryOutputs:
    """The entry points. `hosts` and `node_port` are the main one's, `others` those of zones with one of their own;
    a node port is 0 where an ingress class or a load balancer serves. `tls`: whether they speak HTTPS. `authority` has
    the certificates of the city's own authority in PEM, empty where it has issued none.
    """

    domain: str
    hosts: tuple[str, ...]
    node_port: int
    simulated: bool
    others: tuple[ZoneEntry, ...] = ()
    tls: bool = False
    authority: str = ""

    @property
    def addresses(self) -> tuple[tuple[str, int], ...]:
        """Every host with the node port at which it is served."""
        main = [(host, self.node_port) for host in self.hosts]
        return (*main, *((host, entry.node_port) for entry in self.others for host in entry.hosts))


@dataclass(frozen=True, slots=True)
class SecretsOutputs:
    """The city's secret store; values are secret in the state."""

    values: dict[str, str] = field(default_factory=dict)


Outputs: TypeAlias = (
    LandingOutputs | BaseOutputs | PlatformOutputs | InterconnectOutputs | TenantOutputs | EntryOutputs | SecretsOutputs
)

_LAYERS: dict[str, type[Outputs]] = {
    "secrets": SecretsOutputs,
    "landing": LandingOutputs,
    "base": BaseOutputs,
    "platform": PlatformOutputs,
    "crossing": InterconnectOutputs,
    "tenant": TenantOutputs,
    "entry": EntryOutputs,
}
_ITEMS: dict[str, type[Any]] = {"endpoints": Endpoint, "routes": RouteTarget, "others": ZoneEntry}


def to_json(outputs: Outputs) -> dict[str, Any]:
    """The outputs as JSON values (tuples become lists). What only the engine knows yet passes through untouched."""
    return cast("dict[str, Any]", _plain(outputs))


def outputs_from_json(layer: LayerName, data: dict[str, Any]) -> Outputs:
    """The typed outputs of a stack of `layer`. Raises `ValueError` when the fields are not those of this version."""
    return cast("Outputs", _build(_LAYERS[layer], data))


def _plain(value: Any) -> Any:
    if is_dataclass(value):
        return {item.name: _plain(getattr(value, item.name)) for item in fields(value)}
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return value


def _build(kind: type[Any], data: dict[str, Any]) -> Any:
    names = {item.name for item in fields(kind)}
    # A field that came later has a value for those who did not know it.
    needed = {item.name for item in fields(kind) if item.default is MISSING and item.default_factory is MISSING}
    if not needed <= set(data) <= names:
        raise ValueError(f"outputs have the fields {sorted(data)}, this version expects {sorted(names)}")
    values = dict(data)
    for name, value in data.items():
        if name in _ITEMS:
            values[name] = tuple(_build(_ITEMS[name], item) for item in value)
        elif isinstance(value, list):
            values[name] = tuple(value)
        elif isinstance(value, float) and value.is_integer():
            values[name] = int(value)
    return kind(**values)
