"""The city as an immutable value, already validated by `spec`. No I/O.

Collections are tuples in file order or read-only mappings. Quantities keep the text of the files; `model.quantity`
parses them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from itertools import count
from typing import Any, Literal, TypeVar

from wecityctl.model.environments import PRODUCTION
from wecityctl.model.lifecycle import Lifecycle, Stage
from wecityctl.model.notification import Notification
from wecityctl.model.vendors import Architecture, Vendor, VendorSettings, vendors

ZoneKind = Literal["internet", "government-extranet", "data-exchange"]
ImageSource = Literal["upstream", "built"]
# `local`, `kubernetes`, or a vendor. `wecityctl.model.vendors.providers()` lists all of them.
ProviderKind = str
KubernetesProvider = Literal["auto", "builtin", "official"]
NodeKind = Literal["real", "simulated"]
PlatformName = Literal["application", "data", "ai", "operations"]
Area = Literal["digital-government", "city-governance", "city-decision-making", "industry-internet"]
DataClass = Literal["L1", "L2", "L3", "L4"]
Size = Literal["small", "medium", "large"]
TenantType = Literal["department", "partner"]
Concurrency = Literal["allow", "forbid", "replace"]
StrategyType = Literal["rolling", "recreate", "canary"]
JobRun = Literal["before-release"]
SignIn = Literal["required", "optional", "none"]
Settings = TypeVar("Settings", bound=VendorSettings)


@dataclass(frozen=True, slots=True)
class DataRule:
    """Where data of one class may be stored. Empty tuples set no limit.

    `partners`: whether apps of partners may store it. `dedicated`: whether its stores must be dedicated to one tenant.
    """

    zones: tuple[str, ...] = ()
    regions: tuple[str, ...] = ()
    partners: bool = True
    dedicated: bool = False


@dataclass(frozen=True, slots=True)
class Keep:
    """How many backups of each account stay: the last of so many days, weeks and months."""

    daily: int = 7
    weekly: int = 5
    monthly: int = 12


@dataclass(frozen=True, slots=True)
class Backup:
    """The target of backups: a URL and its region. Empty: there is none.

    `endpoint` is the URL of the S3 server of the target; without it the target is only declared, and nothing takes
    backups. `addresses` are the ranges (CIDR) in which the server answers. `credentials`, `password` and `authority`
    name secrets of the city: ACCESS-KEY:SECRET-KEY, the password of the encryption, and certificates (PEM) with which
    the server is verified instead of the public ones. `schedule` is a cron expression in `time_zone`. With `states`,
    each `up` copies the city's states there.
    """

    target: str = ""
    region: str = ""
    endpoint: str = ""
    addresses: tuple[str, ...] = ()
    credentials: str = ""
    password: str = ""
    authority: str = ""
    schedule: str = "30 2 * * *"
    time_zone: str = "Etc/UTC"
    keep: Keep = Keep()
    states: bool = True

    @property
    def is_taken(self) -> bool:
        """Whether the city takes backups: the files say all that is needed to reach the target."""
        return bool(self.endpoint)

    @property
    def secrets(self) -> tuple[str, ...]:
        """The names of the secrets that backups need."""
        return tuple(name for name in (self.credentials, self.password, self.authority) if name)

    @property
    def host_and_port(self) -> tuple[str, int]:
        """Host and port of the endpoint."""
        scheme, _, rest = self.endpoint.partition("://")
        host, _, port = rest.partition(":")
        return host, int(port or (443 if scheme == "https" else 80))

    @property
    def bucket(self) -> str:
        """Bucket and prefix of the target."""
        return self.target.removeprefix("s3://").strip("/")


@dataclass(frozen=True, slots=True)
class Administrators:
    """The three separate administrators (三员), as e-mail addresses. Nobody may have two of these roles."""

    system: tuple[str, ...] = ()
    security: tuple[str, ...] = ()
    audit: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Compliance:
    """The city's compliance settings. `mlps` is the level of GB/T 22239 (1–4); `sm` requires SM2/SM3/SM4.

    `registries` are the only ones that images may come from (empty: any). `image_digests` requires images to be named
    by digest. With `reviewed_apps`, apps are deployed only as they were reviewed. `data_classes` adds to the
    restrictions that the policy rules set for a class anyway.
    """

    mlps: int = 2
    sm: bool = False
    regions: tuple[str, ...] = ()
    log_retention_days: int = 180
    registries: tuple[str, ...] = ()
    image_digests: bool = False
    reviewed_apps: bool = False
    data_classes: Mapping[DataClass, DataRule] = field(default_factory=dict)
    backup: Backup = Backup()
    administrators: Administrators = Administrators()


@dataclass(frozen=True, slots=True)
class Waiver:
    """An exemption from a rule: its owner, its reason and its last day (ISO date, inclusive).

    `subjects` are glob patterns for the subjects of the rule's findings. A rule with a veto cannot be waived.
    """

    name: str
    rule: str
    subjects: tuple[str, ...]
    owner: str
    reason: str
    expires: str


@dataclass(frozen=True, slots=True)
class Zone:
    """A network zone. `egress`: whether its workloads may reach the internet through the NAT of the landing zone."""

    name: str
    kind: ZoneKind
    egress: bool = False


@dataclass(frozen=True, slots=True)
class Flow:
    """Approved traffic between two zones. All other traffic between zones is denied."""

    source: str
    target: str
    ports: tuple[int, ...]
    approved_by: str
    reason: str


@dataclass(frozen=True, slots=True)
class EntryTLS:
    """HTTPS at the entry points. If `enabled` is `None`, the cloud decides (`model.entries.speaks_tls`).

    `certificates` maps a zone to a tenant's secret (`<tenant>/<name>`). The city's own CA issues all others.
    """

    enabled: bool | None = None
    certificates: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Entry:
    """Settings of the entry points.

    `shared_hosts` names the tenants that may have routes on a host. Any other host belongs to one tenant. `port` is the
    one at which people reach the main entry point; 0: its node port, or 443 behind a load balancer. `trusted_proxies`
    maps a zone to the ranges of the proxies in front of its entry point, which say who the client is.
    """

    shared_hosts: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    tls: EntryTLS = field(default_factory=EntryTLS)
    port: int = 0
    trusted_proxies: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Images:
    """The source of the images of the city's services. `digests`, by catalogue name, apply to images in a registry.

    `credentials` maps a registry (`host` or `host:port`) to the name of the city's secret with its `USER:PASSWORD`.
    """

    source: ImageSource = "upstream"
    registry: str = ""
    architectures: tuple[str, ...] = ("amd64",)
    digests: Mapping[str, str] = field(default_factory=dict)
    credentials: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class State:
    """Pulumi's back-end URL (`""`: the local default), secrets provider, and number of updates kept in a stack's
    history.
    """

    backend: str = ""
    secrets_provider: str = "passphrase"
    keep_updates: int = 20


@dataclass(frozen=True, slots=True)
class Pool:
    """Nodes of one kind. `cpu`, `memory`, `storage` and `accelerators` are per node.

    `zones` are those of the cloud's zones that the pool serves (empty: all). `domestic` marks 信创 hardware.
    `instance_types` are the vendor's machine types for the nodes.
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
    """The address ranges (CIDR) of a landing zone.

    `subnets` is by zone. A zone without an entry gets a share of `cidr` (`model.addresses`).
    """

    cidr: str = "10.0.0.0/16"
    pods: str = "172.20.0.0/16"
    services: str = "172.21.0.0/20"
    subnets: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Existing:
    """Identifiers, in the vendor's form, of existing resources, which are read and never changed."""

    network: str = ""
    subnets: Mapping[str, str] = field(default_factory=dict)
    cluster: str = ""


@dataclass(frozen=True, slots=True)
class Prices:
    """Prices in one currency, as decimal strings."""

    currency: str = "CNY"
    cpu_hour: str = "0"
    memory_gib_hour: str = "0"
    storage_gib_month: str = "0"


@dataclass(frozen=True, slots=True)
class LocalSettings:
    nodes: NodeKind = "real"


@dataclass(frozen=True, slots=True)
class KubernetesSettings:
    """An existing cluster: a kubeconfig file (empty: kubectl's search path) and a context (empty: the current one).

    `named_in` is the directory of the document that names the file. `ingress_class` serves the zones of the main entry
    point; `zone_ingress_classes` maps each other zone to its class.
    """

    kubeconfig: str = ""
    context: str = ""
    ingress_class: str = ""
    storage_class: str = ""
    named_in: str = ""
    zone_ingress_classes: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Interconnect:
    """How a cloud and the other clouds reach each other. Embedded clouds need no such settings.

    `address` is where other clouds reach its node ports. `sources` are the CIDR ranges of its outgoing connections.
    `ports` fixes node ports by capability, or by `<tenant>/<app>`. `encrypted`: the connection between the clouds is
    encrypted at a lower layer.
    """

    address: str = ""
    sources: tuple[str, ...] = ()
    ports: Mapping[str, int] = field(default_factory=dict)
    encrypted: bool = False


@dataclass(frozen=True, slots=True)
class PublicApi:
    """The CIDR ranges that may reach a cluster's API from the internet. Empty: the API has no public address."""

    allow_from: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Expected:
    """Objects that a cloud's owner may put into namespaces, by kind and name.

    `group` is empty for the core group. `name` is a pattern in which `*` stands for any characters.
    """

    kind: str
    group: str
    name: str

    def matches(self, group: str, kind: str, name: str) -> bool:
        """Whether the object is among the expected ones."""
        return (self.group, self.kind) == (group, kind) and fnmatchcase(name, self.name)


@dataclass(frozen=True, slots=True)
class Cloud:
    """An underlying cloud. `region` is where its data is stored. A vendor's cloud has a landing zone.

    `balancers` names the zones whose entry points get a load balancer; `None`: those of kind `internet` and
    `government-extranet`. `settings` are those of the vendor, by default those of an empty block; without meaning for
    other providers.
    """

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
        """Whether a vendor's landing zone creates or looks up the cloud's cluster."""
        return self.provider in vendors()

    def settings_as(self, kind: type[Settings]) -> Settings:
        """The settings as those of the vendor `kind`. Raises `TypeError` if the cloud has another vendor."""
        if not isinstance(self.settings, kind):
            raise TypeError(f"cloud {self.name} has no {kind.__name__}")
        return self.settings


@dataclass(frozen=True, slots=True)
class PlacementRules:
    """Placement constraints of an app or capability, besides its zone and its `cloud` pin.

    `affinity` and `anti_affinity` name apps (`<tenant>/<app>`, or `<app>` of the same tenant) and capabilities, which
    must be on the same cloud or on another one. Members of a `spread` group are distributed evenly over the clouds.
    """

    domestic: bool = False
    affinity: tuple[str, ...] = ()
    anti_affinity: tuple[str, ...] = ()
    spread: str = ""


@dataclass(frozen=True, slots=True)
class Dedicated:
    """The owner of a dedicated instance: a tenant, or one app of it."""

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
    """An instance of a capability type on a middle platform. `None` or empty: the default of the type applies.

    `cpu` is what its main pods ask for in place of what the size says, as a quantity.
    Without `dedicated`, the instance is shared by all apps that use it. `tls`: whether it speaks TLS; `None`: if its
    type can. `uses` names the instances for the dependencies of its type, by alias; the others are selected
    (`requirements.uses_of`). `is_entry`: its type makes it the city's entry point.
    """

    platform: PlatformName
    name: str
    type: str
    engine: str = ""
    size: Size = "small"
    cpu: str = ""
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
    manifests: tuple[KubernetesManifest, ...] = ()


@dataclass(frozen=True, slots=True)
class Quota:
    cpu: str
    memory: str
    storage: str


@dataclass(frozen=True, slots=True)
class Alerts:
    """Where alerts are sent: a webhook's URL. `addresses` are ranges (CIDR) in which its name may be found."""

    webhook: str
    addresses: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Moved:
    """An app's renaming, from its old name to its new one."""

    source: str
    target: str


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
    moved: tuple[Moved, ...] = ()
    alerts: Alerts | None = None


@dataclass(frozen=True, slots=True)
class Autoscale:
    """Bounds of a HorizontalPodAutoscaler; `cpu` is the target utilisation in percent."""

    min: int
    max: int
    cpu: int


@dataclass(frozen=True, slots=True)
class Resources:
    """The requests of one replica. `accelerators` is by extended resource, such as `nvidia.com/gpu`."""

    cpu: str = "100m"
    memory: str = "128Mi"
    accelerators: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Volume:
    """Storage of a component that outlives its pods; `size` is a quantity, `path` where the container has it."""

    name: str
    path: str
    size: str


@dataclass(frozen=True, slots=True)
class Probe:
    """A check of a container: `GET path`, or only a connection if `path` is empty.

    `port` names a port of the component (empty: its first one). `every` and `timeout` are seconds; the check has failed
    after `failures` failures in a row.
    """

    path: str = ""
    port: str = ""
    every: int = 10
    timeout: int = 1
    failures: int = 3


@dataclass(frozen=True, slots=True)
class Probes:
    """The checks of a container: whether it gets requests (`ready`), and whether it is restarted (`live`).

    `start_seconds` is how long it may take until the first success; meanwhile `live` is not asked.
    """

    ready: Probe | None = None
    live: Probe | None = None
    start_seconds: int = 120


@dataclass(frozen=True, slots=True)
class AbortAbove:
    """Which share of a canary's requests may fail in a step, in percent, and of how many requests that can be said.

    A request fails if it is answered with a status of 500 or more.
    """

    error_rate: int = 5
    requests: int = 20


@dataclass(frozen=True, slots=True)
class Strategy:
    """How the pods of a new version replace those of the old one.

    `surge` pods may be there more than the replicas and `unavailable` ones be missing meanwhile; `None`: the defaults.
    A canary gets the percentages of the requests in `steps`, one after the other, each for the duration `pause`.
    `abort_above` is what the files say of it; in a city with metrics, `None` stands for the defaults.
    """

    type: StrategyType = "rolling"
    surge: int | None = None
    unavailable: int | None = None
    steps: tuple[int, ...] = ()
    pause: str = "1m"
    abort_above: AbortAbove | None = None


@dataclass(frozen=True, slots=True)
class Canary:
    """What makes a component the canary of another one: `of` is that one's name.

    `weight` is the percentage of the requests that the entry point sends to it. With 0 it is about to be removed, and
    nobody waits for its pods.
    """

    of: str
    weight: int


@dataclass(frozen=True, slots=True)
class Metrics:
    """Where a component serves metrics in the Prometheus format. `port` is a name (empty: its main port)."""

    port: str = ""
    path: str = "/metrics"


@dataclass(frozen=True, slots=True)
class Component:
    """A container that an app runs, always, at set times, or before each new version.

    `image` may be `catalogue:<name>`, an image that wecityctl builds from a recipe. `ports` are TCP ports by name; the
    first one is the main port. `cpu_limit` is a quantity (empty: no limit), `user` the numeric user (`None`: that of
    the image). Values of `env` may refer to bindings (`model.references`).

    `schedule` is a cron expression in `time_zone`; `run` is when a job runs that has no schedule. `timeout` is the
    longest time of one run, as a duration such as `1h30m`.

    `canary` and `declared` come from a rollout (`model.rollouts`), never from files: `canary` marks the component that
    a rollout adds, and `declared` is what the files say of one that is held at an older release.
    """

    name: str
    image: str
    replicas: int = 1
    ports: Mapping[str, int] = field(default_factory=dict)
    resources: Resources = Resources()
    health_path: str = ""
    autoscale: Autoscale | None = None
    env: Mapping[str, str] = field(default_factory=dict)
    secrets: tuple[str, ...] = ()
    files: Mapping[str, str] = field(default_factory=dict)
    command: tuple[str, ...] = ()
    architectures: tuple[str, ...] = ("amd64",)
    args: tuple[str, ...] = ()
    probes: Probes | None = None
    cpu_limit: str = ""
    user: int | None = None
    read_only_root: bool = True
    schedule: str = ""
    time_zone: str = "Asia/Shanghai"
    concurrency: Concurrency = "forbid"
    run: JobRun | None = None
    timeout: str = "1h"
    volumes: tuple[Volume, ...] = ()
    strategy: Strategy | None = None
    metrics: Metrics | None = None
    canary: Canary | None = None
    declared: Component | None = None

    @property
    def port(self) -> int | None:
        """The main port; `None` for a component that serves none."""
        return next(iter(self.ports.values()), None)

    @property
    def metrics_port(self) -> int | None:
        """The port on which it serves metrics; `None` if it serves none."""
        if self.metrics is None:
            return None
        return self.ports.get(self.metrics.port) if self.metrics.port else self.port

    @property
    def is_job(self) -> bool:
        """Whether its container ends by itself: it has a schedule, or runs before each new version."""
        return bool(self.schedule) or self.run is not None


@dataclass(frozen=True, slots=True)
class Use:
    """The use of a capability by an app or by another capability. `alias` names the binding.

    The other fields are limits, in the units of `catalogue.UseLimits`. Empty and 0: the default of the type.
    """

    capability: str
    alias: str
    storage: str = ""
    connections: int = 0
    memory: str = ""
    statement_seconds: int = 0


@dataclass(frozen=True, slots=True)
class AppUse:
    """The use of a port that another app provides (`model.provided`). `alias` names the binding.

    `tenant` and `app` are those of the provider; `provided` names what it provides (empty: the only one). `index` is
    the position in the App's `uses`.
    """

    tenant: str
    app: str
    alias: str
    provided: str = ""
    index: int = 0


@dataclass(frozen=True, slots=True)
class Provided:
    """A port of an app that other apps may use.

    `component` and `port` are names; empty: the only component with ports, and its only port. `service` names a Service
    of the app's manifests instead. `to` has the apps that may use it, as `<tenant>/<app>` or `<tenant>/*`; those of the
    own tenant always may. `data_class` is that of the data that it gives (`None`: the app's).
    """

    name: str
    component: str = ""
    port: str = ""
    to: tuple[str, ...] = ()
    data_class: DataClass | None = None
    service: str = ""


@dataclass(frozen=True, slots=True)
class RouteLimits:
    """What the entry point takes from callers of a route.

    `requests_per_second` is of each client; `None` for no limit. `burst` is how many requests beyond that are taken at
    once; `None` for those of one second. `request_bytes` is the longest body, as a quantity.
    """

    requests_per_second: int | None = None
    burst: int | None = None
    request_bytes: str = "32Mi"


@dataclass(frozen=True, slots=True)
class Route:
    """Where the entry point serves the app: `<host>.<city domain><path>`. `tls`: the app itself serves TLS.

    `component` and `port` are names; empty: the app's only component with ports, and its first port. `service` names a
    Service of the app's manifests instead. `sign_in`: whether people sign in at the entry point before they reach it.
    `limits`: what callers may send.
    """

    host: str
    path: str = "/"
    tls: bool = False
    component: str = ""
    port: str = ""
    service: str = ""
    sign_in: SignIn = "none"
    limits: RouteLimits = field(default_factory=RouteLimits)


@dataclass(frozen=True, slots=True)
class KubernetesManifest:
    """An object of an app or a platform as Kubernetes takes it, from `file`, a path relative to the file that names it.

    It is checked.
    """

    file: str
    content: Mapping[str, Any]

    @property
    def kind(self) -> str:
        return str(self.content["kind"])

    @property
    def name(self) -> str:
        return str(self.content["metadata"]["name"])


@dataclass(frozen=True, slots=True)
class App:
    """An app of a tenant. `known_as` is its name in the files if it was renamed; `name` is the one that it keeps."""

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
    app_uses: tuple[AppUse, ...] = ()
    provides: tuple[Provided, ...] = ()
    known_as: str = ""
    manifests: tuple[KubernetesManifest, ...] = ()

    def indexed_uses(self) -> Iterator[tuple[int, Use]]:
        """Yield each use of a capability with its position in the files' list, which has uses of apps too."""
        others = {use.index for use in self.app_uses}
        yield from zip((index for index in count() if index not in others), self.uses, strict=False)

    @property
    def called(self) -> str:
        """Its name in the files; in the clusters a renamed one keeps its old name."""
        return self.known_as or self.name

    @property
    def runs(self) -> bool:
        """Whether the app has workloads. A draft is not deployed yet, and a retired app is not deployed any more."""
        return self.stage in ("reviewed", "published", "suspended")

    @property
    def is_routed(self) -> bool:
        """Whether the entry point serves the app."""
        return self.stage == "published" and self.route is not None

    @property
    def holds_route(self) -> bool:
        """Whether the entry point answers at the app's address: it serves the app, or says that it is suspended."""
        return self.stage in ("published", "suspended") and self.route is not None

    @property
    def signs_in(self) -> bool:
        """Whether the entry point serves the app and asks, or may ask, who somebody is."""
        return self.is_routed and self.route is not None and self.route.sign_in != "none"

    @property
    def serves_tls(self) -> bool:
        """Whether what the route leads to serves TLS with a certificate that the entry point verifies."""
        route = self.route if self.is_routed else None
        return route is not None and route.tls and (bool(route.service) or self.web_component is not None)

    @property
    def web_component(self) -> Component | None:
        """The component that the route leads to; `None` without any, and where it leads to a Service of manifests."""
        if self.route is not None and self.route.service:
            return None
        wanted = self.route.component if self.route is not None else ""
        serving = (part for part in self.components if part.ports and part.canary is None)
        return next((part for part in serving if wanted in ("", part.name)), None)

    @property
    def canary(self) -> Component | None:
        """The canary of the routed component; `None` while none runs."""
        web = self.web_component
        found = (part for part in self.components if part.canary is not None)
        return next((part for part in found if web is not None and part.canary.of == web.name), None)  # type: ignore[union-attr]

    @property
    def web_port(self) -> int | None:
        """The component's port that the route leads to; `None` if it leads to no component."""
        web = self.web_component
        wanted = self.route.port if self.route is not None else ""
        ports = web.ports.items() if web is not None else ()
        return next((number for name, number in ports if wanted in ("", name)), None)


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
    environment: str = PRODUCTION
    alerts: Alerts | None = None
    lifecycles: tuple[Lifecycle, ...] = ()
    notification: Notification | None = None

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
