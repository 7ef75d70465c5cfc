"""The city as the rest of the program sees it: frozen values, no I/O, already checked by `spec`.

Collections are tuples in file order or read-only mappings; quantities stay in the user's own writing
and are read by `model.quantity` where a sum is needed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

ZoneKind = Literal["internet", "government-extranet", "data-exchange"]
ImageSource = Literal["upstream", "built"]
ProviderKind = Literal["local", "kubernetes", "openstack", "alicloud", "tencentcloud", "huaweicloud"]
KubernetesProvider = Literal["auto", "builtin", "official"]
NodeKind = Literal["real", "simulated"]
PlatformName = Literal["application", "data", "ai", "operations"]
Domain = Literal["digital-government", "city-governance", "city-decision-making", "industry-internet"]
Stage = Literal["draft", "reviewed", "published", "suspended", "retired"]
DataClass = Literal["L1", "L2", "L3", "L4"]
Size = Literal["small", "medium", "large"]


@dataclass(frozen=True, slots=True)
class Compliance:
    """What the city must obey. `mlps` is the level of GB/T 22239 (1–4), `sm` asks for SM2/SM3/SM4."""

    mlps: int = 2
    sm: bool = False
    regions: tuple[str, ...] = ()
    log_retention_days: int = 180


@dataclass(frozen=True, slots=True)
class Zone:
    name: str
    kind: ZoneKind


@dataclass(frozen=True, slots=True)
class Flow:
    """Traffic between two zones that somebody approved; everything else between zones is denied."""

    source: str
    target: str
    ports: tuple[int, ...]
    approved_by: str
    reason: str


@dataclass(frozen=True, slots=True)
class Images:
    source: ImageSource = "upstream"
    registry: str = ""
    architectures: tuple[str, ...] = ("amd64",)


@dataclass(frozen=True, slots=True)
class State:
    """Pulumi's back end URL (`""` = the local default) and secrets provider."""

    backend: str = ""
    secrets_provider: str = "passphrase"


@dataclass(frozen=True, slots=True)
class Pool:
    """Nodes of one kind; `cpu`, `memory`, `storage` and `accelerators` are per node."""

    name: str
    architecture: str
    nodes: int
    cpu: str
    memory: str
    storage: str
    labels: Mapping[str, str] = field(default_factory=dict)
    accelerators: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Prices:
    """A rate card in one currency, as decimal strings."""

    currency: str = "CNY"
    cpu_hour: str = "0"
    memory_gib_hour: str = "0"
    storage_gib_month: str = "0"


@dataclass(frozen=True, slots=True)
class LocalSettings:
    nodes: NodeKind = "real"


@dataclass(frozen=True, slots=True)
class KubernetesSettings:
    """An existing cluster: a kubeconfig file (empty: kubectl's own search) and a context (empty: current)."""

    kubeconfig: str = ""
    context: str = ""
    ingress_class: str = ""
    storage_class: str = ""


@dataclass(frozen=True, slots=True)
class Cloud:
    name: str
    provider: ProviderKind
    zones: tuple[str, ...]
    pools: tuple[Pool, ...] = ()
    prices: Prices | None = None
    local: LocalSettings = LocalSettings()
    kubernetes: KubernetesSettings = KubernetesSettings()
    labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Capability:
    """An instance of a capability type on a middle platform. Unset optionals are `None`: the type's defaults apply."""

    platform: PlatformName
    name: str
    type: str
    engine: str = ""
    size: Size = "small"
    replicas: int | None = None
    storage: str = ""
    zone: str = ""
    cloud: str = ""


@dataclass(frozen=True, slots=True)
class Platform:
    name: PlatformName
    capabilities: tuple[Capability, ...]


@dataclass(frozen=True, slots=True)
class Quota:
    cpu: str
    memory: str
    storage: str


@dataclass(frozen=True, slots=True)
class Tenant:
    name: str
    title: str
    domain: Domain
    quota: Quota
    admins: tuple[str, ...] = ()
    budget_monthly: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Autoscale:
    """Bounds of a HorizontalPodAutoscaler; `cpu` is the target utilisation in percent."""

    min: int
    max: int
    cpu: int


@dataclass(frozen=True, slots=True)
class Resources:
    cpu: str = "100m"
    memory: str = "128Mi"


@dataclass(frozen=True, slots=True)
class Component:
    """A container that an app runs. `image` may be `catalogue:<name>` for an image of our own recipes."""

    name: str
    image: str
    replicas: int = 1
    port: int | None = None
    resources: Resources = Resources()
    health_path: str = ""
    autoscale: Autoscale | None = None
    env: Mapping[str, str] = field(default_factory=dict)
    secrets: tuple[str, ...] = ()
    files: Mapping[str, str] = field(default_factory=dict)
    command: tuple[str, ...] = ()
    architectures: tuple[str, ...] = ("amd64",)


@dataclass(frozen=True, slots=True)
class Use:
    """One capability that an app calls; `alias` names the binding."""

    capability: str
    alias: str
    storage: str = ""


@dataclass(frozen=True, slots=True)
class Route:
    """Where the single entry point serves the app: `<host>.<city domain><path>`."""

    host: str
    path: str = "/"


@dataclass(frozen=True, slots=True)
class App:
    name: str
    tenant: str
    stage: Stage
    zone: str
    data_class: DataClass
    components: tuple[Component, ...]
    uses: tuple[Use, ...] = ()
    channels: tuple[str, ...] = ()
    route: Route | None = None
    cloud: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)

    @property
    def runs(self) -> bool:
        """Whether the app has workloads: a draft is not yet deployed, a retired app no longer."""
        return self.stage in ("reviewed", "published", "suspended")

    @property
    def is_routed(self) -> bool:
        """Whether citizens reach the app through the entry point."""
        return self.stage == "published" and self.route is not None

    @property
    def web_component(self) -> Component | None:
        """The component that the route leads to: the first one with a port."""
        return next((component for component in self.components if component.port is not None), None)


@dataclass(frozen=True, slots=True)
class City:
    name: str
    domain: str
    zones: tuple[Zone, ...]
    clouds: tuple[Cloud, ...]
    platforms: tuple[Platform, ...] = ()
    tenants: tuple[Tenant, ...] = ()
    apps: tuple[App, ...] = ()
    compliance: Compliance = Compliance()
    flows: tuple[Flow, ...] = ()
    images: Images = Images()
    state: State = State()
    kubernetes_provider: KubernetesProvider = "auto"
    labels: Mapping[str, str] = field(default_factory=dict)

    def cloud(self, name: str) -> Cloud:
        return next(cloud for cloud in self.clouds if cloud.name == name)

    def tenant(self, name: str) -> Tenant:
        return next(tenant for tenant in self.tenants if tenant.name == name)

    def apps_of(self, tenant: str) -> tuple[App, ...]:
        return tuple(app for app in self.apps if app.tenant == tenant)

    @property
    def capabilities(self) -> tuple[Capability, ...]:
        return tuple(capability for platform in self.platforms for capability in platform.capabilities)

    def capability(self, name: str) -> Capability:
        return next(capability for capability in self.capabilities if capability.name == name)
