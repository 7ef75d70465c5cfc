"""The city as the rest of the program sees it: frozen values, no I/O, already checked by `spec`.

Collections are tuples in file order or read-only mappings; quantities stay in the user's own writing
and are read by `model.quantity` where a sum is needed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Literal, TypeVar

from wecityctl.model.vendors import Architecture, Vendor, VendorSettings, vendors

ZoneKind = Literal["internet", "government-extranet", "data-exchange"]
ImageSource = Literal["upstream", "built"]
# `local`, `kubernetes`, or a vendor: `wecityctl.model.vendors.providers()` has them all.
ProviderKind = str
KubernetesProvider = Literal["auto", "builtin", "official"]
NodeKind = Literal["real", "simulated"]
PlatformName = Literal["application", "data", "ai", "operations"]
Area = Literal["digital-government", "city-governance", "city-decision-making", "industry-internet"]
Stage = Literal["draft", "reviewed", "published", "suspended", "retired"]
DataClass = Literal["L1", "L2", "L3", "L4"]
Size = Literal["small", "medium", "large"]
TenantType = Literal["department", "partner"]
Settings = TypeVar("Settings", bound=VendorSettings)


@dataclass(frozen=True, slots=True)
class DataRule:
    """Where data of one class may lie. Empty tuples set no limit of their own; `partners`: whether a partner's app may
    hold it; `dedicated`: whether its stores must be one tenant's alone."""

    zones: tuple[str, ...] = ()
    regions: tuple[str, ...] = ()
    partners: bool = True
    dedicated: bool = False


@dataclass(frozen=True, slots=True)
class Backup:
    """Where backups go: a URL and the region it lies in. Empty: nowhere."""

    target: str = ""
    region: str = ""


@dataclass(frozen=True, slots=True)
class Administrators:
    """Who the three separate administrators 三员 are, as e-mail addresses; nobody may be two of them."""

    system: tuple[str, ...] = ()
    security: tuple[str, ...] = ()
    audit: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Compliance:
    """What the city must obey. `mlps` is the level of GB/T 22239 (1–4), `sm` asks for SM2/SM3/SM4.

    `registries` are the only ones that images may come from (empty: any); with `image_digests` images are named by
    digest; `data_classes` tightens what the policy rules say of a class anyway.
    """

    mlps: int = 2
    sm: bool = False
    regions: tuple[str, ...] = ()
    log_retention_days: int = 180
    registries: tuple[str, ...] = ()
    image_digests: bool = False
    data_classes: Mapping[DataClass, DataRule] = field(default_factory=dict)
    backup: Backup = Backup()
    administrators: Administrators = Administrators()


@dataclass(frozen=True, slots=True)
class Waiver:
    """An exemption from a rule: by whom, why and until when (an ISO date, that day included).

    `subjects` are glob patterns of what the rule's findings name; a rule with a veto cannot be waived.
    """

    name: str
    rule: str
    subjects: tuple[str, ...]
    owner: str
    reason: str
    expires: str


@dataclass(frozen=True, slots=True)
class Zone:
    """`egress`: whether what runs in the zone may reach the world outside, through its landing zone's NAT."""

    name: str
    kind: ZoneKind
    egress: bool = False


@dataclass(frozen=True, slots=True)
class Flow:
    """Traffic between two zones that somebody approved; everything else between zones is denied."""

    source: str
    target: str
    ports: tuple[int, ...]
    approved_by: str
    reason: str


@dataclass(frozen=True, slots=True)
class EntryTLS:
    """HTTPS at the entry points. Where `enabled` is `None`, the cloud decides (`model.entries.speaks_tls`).

    `certificates` are secrets of tenants, `<tenant>/<name>`, by zone; the city's own authority issues the others.
    """

    enabled: bool | None = None
    certificates: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Entry:
    """The entry points. `shared_hosts` names the tenants that may have routes on one host; any other host is one
    tenant's."""

    shared_hosts: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    tls: EntryTLS = field(default_factory=EntryTLS)


@dataclass(frozen=True, slots=True)
class Images:
    """Where the city's own services' images come from; `digests` by catalogue name, of those in a registry."""

    source: ImageSource = "upstream"
    registry: str = ""
    architectures: tuple[str, ...] = ("amd64",)
    digests: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class State:
    """Pulumi's back end URL (`""` = the local default), secrets provider, and how many updates of a stack are kept."""

    backend: str = ""
    secrets_provider: str = "passphrase"
    keep_updates: int = 20


@dataclass(frozen=True, slots=True)
class Pool:
    """Nodes of one kind; `cpu`, `memory`, `storage` and `accelerators` are per node.

    `zones` are those of the cloud's that the pool serves (empty: all); `domestic` marks 信创 hardware;
    `instance_types` are the vendor's names of the nodes to make.
    """

    name: str
    architecture: Architecture
    nodes: int
    cpu: str
    memory: str
    storage: str
    labels: Mapping[str, str] = field(default_factory=dict)
    accelerators: Mapping[str, int] = field(default_factory=dict)
    zones: tuple[str, ...] = ()
    domestic: bool = False
    instance_types: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Network:
    """Address ranges of a landing zone in CIDR writing. `subnets` by zone; a zone without one is given a share of
    `cidr`."""

    cidr: str = "10.0.0.0/16"
    pods: str = "172.20.0.0/16"
    services: str = "172.21.0.0/20"
    subnets: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Existing:
    """Identifiers, in the vendor's own form, of what is there already: it is read and never changed."""

    network: str = ""
    subnets: Mapping[str, str] = field(default_factory=dict)
    cluster: str = ""


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
    """An existing cluster: a kubeconfig file (empty: kubectl's own search) and a context (empty: current).

    `named_in` is the directory of the document that says so.
    `ingress_class` serves the zones of the main entry point, `zone_ingress_classes` each other zone by name.
    """

    kubeconfig: str = ""
    context: str = ""
    ingress_class: str = ""
    storage_class: str = ""
    named_in: str = ""
    zone_ingress_classes: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Interconnect:
    """How a cloud and the other clouds reach each other; an embedded cloud's addresses are known without being written.

    `address` leads to its node ports as the others see them; `sources` are the CIDR ranges that it comes from; `ports`
    fixes node ports by capability, or by `<tenant>/<app>`; `encrypted` says that what leaves and enters the cloud on
    this way is encrypted below us.
    """

    address: str = ""
    sources: tuple[str, ...] = ()
    ports: Mapping[str, int] = field(default_factory=dict)
    encrypted: bool = False


@dataclass(frozen=True, slots=True)
class PublicApi:
    """Who may reach a cluster's API from the internet, as CIDR ranges; nobody: the API has no public address."""

    allow_from: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Expected:
    """What a cloud's owner puts there by himself: objects of a kind (`group` is empty for the core group) whose names
    match a pattern, in which `*` stands for any characters."""

    kind: str
    group: str
    name: str

    def matches(self, group: str, kind: str, name: str) -> bool:
        """Whether an object is meant."""
        return (self.group, self.kind) == (group, kind) and fnmatchcase(name, self.name)


@dataclass(frozen=True, slots=True)
class Cloud:
    """An underlying cloud. `region` is where its data lies; a vendor's cloud begins with a landing zone. `balancers`
    names the zones whose entry points get a load balancer; `None`: those that people reach. `settings` are the
    vendor's, by default those of an empty block; they mean nothing on a cloud that is no vendor's."""

    name: str
    provider: ProviderKind
    zones: tuple[str, ...]
    pools: tuple[Pool, ...] = ()
    prices: Prices | None = None
    local: LocalSettings = LocalSettings()
    kubernetes: KubernetesSettings = KubernetesSettings()
    labels: Mapping[str, str] = field(default_factory=dict)
    region: str = ""
    network: Network = Network()
    existing: Existing = Existing()
    interconnect: Interconnect = field(default_factory=Interconnect)
    public_api: PublicApi = PublicApi()
    balancers: tuple[str, ...] | None = None
    expected: tuple[Expected, ...] = ()
    settings: VendorSettings = field(default_factory=VendorSettings)

    def __post_init__(self) -> None:
        vendor = self.vendor
        if vendor is not None and type(self.settings) is VendorSettings:
            object.__setattr__(self, "settings", vendor.settings())
        elif vendor is not None and not isinstance(self.settings, vendor.settings):
            raise TypeError(f"{type(self.settings).__name__} are no settings of {self.provider}")

    @property
    def vendor(self) -> Vendor | None:
        """The vendor of the cloud; `None` for an embedded cloud and for an existing cluster."""
        return vendors().get(self.provider)

    @property
    def has_landing_zone(self) -> bool:
        """Whether the cloud's cluster is made, or found, by a landing zone of a vendor."""
        return self.provider in vendors()

    def settings_as(self, kind: type[Settings]) -> Settings:
        """The settings as those of a vendor. Raises `TypeError` on another vendor's cloud."""
        if not isinstance(self.settings, kind):
            raise TypeError(f"cloud {self.name} has no {kind.__name__}")
        return self.settings


@dataclass(frozen=True, slots=True)
class PlacementRules:
    """What the placement of an app or capability must obey, beside its zone and pin.

    `affinity` and `anti_affinity` name apps (`<tenant>/<app>`, or `<app>` of the same tenant) and capabilities: on the
    same cloud, or on another. Members of one `spread` group are dealt out over the clouds as evenly as can be.
    """

    domestic: bool = False
    affinity: tuple[str, ...] = ()
    anti_affinity: tuple[str, ...] = ()
    spread: str = ""


@dataclass(frozen=True, slots=True)
class Dedicated:
    """Whose alone an instance is: a tenant's, or one app's of a tenant."""

    tenant: str
    app: str = ""

    def admits(self, app: App) -> bool:
        """Whether `app` may use the instance."""
        return app.tenant == self.tenant and self.app in ("", app.name)

    @property
    def owner(self) -> str:
        """`tenant` or `tenant/app`."""
        return f"{self.tenant}/{self.app}" if self.app else self.tenant


@dataclass(frozen=True, slots=True)
class Capability:
    """An instance of a capability type on a middle platform. Unset optionals are `None`: the type's defaults apply.

    Without `dedicated` the instance is shared by all apps that use it. `tls`: whether it
    speaks TLS; `None` where its type can. `uses` names instances for what its type uses, by the binding's
    name; those that are not named are chosen (`requirements.uses_of`). `is_entry`: by its type it is the city's entry
    point.
    """

    platform: PlatformName
    name: str
    type: str
    engine: str = ""
    size: Size = "small"
    replicas: int | None = None
    storage: str = ""
    zone: str = ""
    cloud: str = ""
    placement: PlacementRules = PlacementRules()
    dedicated: Dedicated | None = None
    tls: bool | None = None
    uses: tuple[Use, ...] = ()
    is_entry: bool = False


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
    area: Area
    quota: Quota
    admins: tuple[str, ...] = ()
    budget_monthly: str = ""
    type: TenantType = "department"
    labels: Mapping[str, str] = field(default_factory=dict)
    deployers: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Autoscale:
    """Bounds of a HorizontalPodAutoscaler; `cpu` is the target utilisation in percent."""

    min: int
    max: int
    cpu: int


@dataclass(frozen=True, slots=True)
class Resources:
    """What one replica asks for; `accelerators` by extended resource, such as `nvidia.com/gpu`."""

    cpu: str = "100m"
    memory: str = "128Mi"
    accelerators: Mapping[str, int] = field(default_factory=dict)


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
    """One capability that an app, or another capability, calls; `alias` names the binding.

    The others are the most that it may take, in the units of `catalogue.UseLimits`. Empty and 0: the type's own limit.
    """

    capability: str
    alias: str
    storage: str = ""
    connections: int = 0
    memory: str = ""
    statement_seconds: int = 0


@dataclass(frozen=True, slots=True)
class Route:
    """Where the single entry point serves the app: `<host>.<city domain><path>`. `tls`: the app speaks TLS itself."""

    host: str
    path: str = "/"
    tls: bool = False


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
    placement: PlacementRules = PlacementRules()
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
    def serves_tls(self) -> bool:
        """Whether the routed component has a certificate, with which the entry point knows it."""
        return self.is_routed and self.route is not None and self.route.tls and self.web_component is not None

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
    images: Images = field(default_factory=Images)
    state: State = State()
    kubernetes_provider: KubernetesProvider = "auto"
    take_over: bool = False
    waivers: tuple[Waiver, ...] = ()
    labels: Mapping[str, str] = field(default_factory=dict)
    entry: Entry = field(default_factory=Entry)

    def cloud(self, name: str) -> Cloud:
        return next(cloud for cloud in self.clouds if cloud.name == name)

    def zone(self, name: str) -> Zone:
        return next(zone for zone in self.zones if zone.name == name)

    def tenant(self, name: str) -> Tenant:
        return next(tenant for tenant in self.tenants if tenant.name == name)

    def apps_of(self, tenant: str) -> tuple[App, ...]:
        return tuple(app for app in self.apps if app.tenant == tenant)

    @property
    def capabilities(self) -> tuple[Capability, ...]:
        return tuple(capability for platform in self.platforms for capability in platform.capabilities)

    def capability(self, name: str) -> Capability:
        return next(capability for capability in self.capabilities if capability.name == name)
