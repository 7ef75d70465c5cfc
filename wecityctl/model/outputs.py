"""The typed outputs of stacks, which other stacks read from the state as JSON.

`to_json` and `outputs_from_json` are inverses. An unknown or missing field is an error, so that outputs of another
version are never partly understood.
"""

from __future__ import annotations

from dataclasses import MISSING, dataclass, field, fields, is_dataclass
from typing import Any, Literal, TypeAlias, cast

# A field that is left out where it has its default, so that outputs without it stay as they are.
_OMITTED = {"omitted": True}
LayerName = Literal["secrets", "landing", "base", "platform", "crossing", "tenant", "entry"]


@dataclass(frozen=True, slots=True)
class LandingOutputs:
    """The outputs of a vendor's landing zone. `kubeconfig` is secret text; most others are identifiers of the vendor.

    `subnets` is by zone. Empty: the landing zone has no such resource. `balancers` are the load balancers of the entry
    points by zone, `addresses` their addresses, `public_zones` the zones of those that are reachable from the internet.
    """

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
    """The outputs of a base stack: what platforms and tenants on the cloud use."""

    cloud: str
    provider: str
    zones: tuple[str, ...]
    storage_class: str
    ingress_class: str
    simulated: bool


@dataclass(frozen=True, slots=True)
class Endpoint:
    """The address of a capability in its cluster, and what network policies and Jobs need to refer to it.

    `admin_secret` names a Secret in `namespace`; its content never leaves that namespace. `external_host` and
    `external_port` are the address for other clouds; empty and 0 if no user is on another cloud.
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
class CanaryTarget:
    """The Service of a canary, and the percentage of the route's requests that it gets."""

    service: str
    port: int
    weight: int


@dataclass(frozen=True, slots=True)
class LimitsTarget:
    """The limits of a route that differ from the defaults; 0 for no limit of its own.

    `requests_per_second` is of each client, `burst` what is taken at once beyond it, `request_bytes` the longest body.
    """

    requests_per_second: int = 0
    burst: int = 0
    request_bytes: int = 0


@dataclass(frozen=True, slots=True)
class RouteTarget:
    """One route of an entry point: a host and path, and the Service behind it.

    `external_host` and `external_port` are the address for a gateway on another cloud; empty and 0 on the same one.
    `tls`: the Service has a certificate for its name. Without a Service (and with port 0), the app is suspended.
    `pod_port` is the port of the pods if it is not the Service's (0: it is). A canary is in the same namespace, and
    shows the same certificate. `sign_in`: whether people sign in before they reach it (empty: they do not).
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
    pod_port: int = field(default=0, metadata=_OMITTED)
    canary: CanaryTarget | None = field(default=None, metadata=_OMITTED)
    sign_in: Literal["required", "optional", ""] = field(default="", metadata=_OMITTED)
    limits: LimitsTarget = field(default=LimitsTarget(), metadata=_OMITTED)

    @property
    def listens(self) -> int:
        """The port on which the pods behind the Service listen."""
        return self.pod_port or self.port

    @property
    def is_suspended(self) -> bool:
        """Whether the entry point says that the app is suspended."""
        return not self.service


@dataclass(frozen=True, slots=True)
class InterconnectOutputs:
    """What a tenant's apps on other clouds use on this one, as `<app>/<alias>`.

    If `tenant` is the word `capability`, it is what capabilities on other clouds use, as `<capability>/<alias>`.
    """

    tenant: str
    cloud: str
    uses: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ProvidedAddress:
    """Where other apps reach what an app provides under `name`.

    `external_host` and `external_port` are the address for apps on other clouds; empty and 0 if none uses it.
    """

    app: str
    name: str
    host: str
    port: int
    external_host: str = ""
    external_port: int = 0


@dataclass(frozen=True, slots=True)
class UsedAddress:
    """What an app may use under `alias`: `of` is a capability, or `<tenant>/<app>/<name>` for what an app provides."""

    app: str
    alias: str
    of: str
    host: str
    port: int


@dataclass(frozen=True, slots=True)
class TenantOutputs:
    """A tenant on one cloud. `apps` are those that run there; `None` if an earlier version wrote the outputs.

    `provided` and `used` are the addresses of what its apps there provide to other apps, and of what they use.
    """

    tenant: str
    cloud: str
    namespaces: tuple[str, ...]
    routes: tuple[RouteTarget, ...]
    apps: tuple[str, ...] | None = None
    provided: tuple[ProvidedAddress, ...] = ()
    used: tuple[UsedAddress, ...] = ()


@dataclass(frozen=True, slots=True)
class ZoneEntry:
    """The entry point of one zone: the hosts that it serves, and its node port."""

    zone: str
    hosts: tuple[str, ...]
    node_port: int


@dataclass(frozen=True, slots=True)
class EntryOutputs:
    """The outputs of the entry points.

    `hosts` and `node_port` are those of the main one, `others` those of other zones.

    A node port is 0 if an ingress class or a load balancer serves. `tls`: whether they speak HTTPS. `authority` has the
    certificates of the city's own CA in PEM; empty if it has issued none.
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
    """The values of the city's secret store, which are secret in the state."""

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
_ITEMS: dict[str, type[Any]] = {
    "endpoints": Endpoint,
    "routes": RouteTarget,
    "others": ZoneEntry,
    "provided": ProvidedAddress,
    "used": UsedAddress,
}
# Fields that contain a value of another class.
_PARTS: dict[str, type[Any]] = {"canary": CanaryTarget, "limits": LimitsTarget}


def to_json(outputs: Outputs) -> dict[str, Any]:
    """The outputs as JSON values; tuples become lists. Values that are still unknown pass through unchanged."""
    return cast("dict[str, Any]", _plain(outputs))


def outputs_from_json(layer: LayerName, data: dict[str, Any]) -> Outputs:
    """Parse the outputs of a stack of `layer`. Raises `ValueError` if the fields are not those of this version."""
    return cast("Outputs", _build(_LAYERS[layer], data))


def _plain(value: Any) -> Any:
    if is_dataclass(value):
        given = ((item, getattr(value, item.name)) for item in fields(value))
        return {
            item.name: _plain(found)
            for item, found in given
            if not (item.metadata.get("omitted") and found == item.default)
        }
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return value


def _build(kind: type[Any], data: dict[str, Any]) -> Any:
    names = {item.name for item in fields(kind)}
    # A field that was added later has a default for outputs of earlier versions.
    needed = {item.name for item in fields(kind) if item.default is MISSING and item.default_factory is MISSING}
    if not needed <= set(data) <= names:
        raise ValueError(f"outputs have the fields {sorted(data)}, this version expects {sorted(names)}")
    values = dict(data)
    for name, value in data.items():
        if name in _PARTS and isinstance(value, dict):
            values[name] = _build(_PARTS[name], value)
        elif name in _ITEMS:
            values[name] = tuple(_build(_ITEMS[name], item) for item in value)
        elif isinstance(value, list):
            values[name] = tuple(value)
        elif isinstance(value, float) and value.is_integer():
            values[name] = int(value)
    return kind(**values)
