"""The shapes of City and Cloud documents."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wecityctl.model import city as model
from wecityctl.model.environments import PRODUCTION
from wecityctl.model.vendors import Architecture
from wecityctl.spec.schema import amounts, names, schedules, vendors, watching
from wecityctl.spec.schema.base import Labels, Schema, options
from wecityctl.spec.schema.notification import Notification


class Residency(Schema):
    """Where data may lie."""

    regions: list[names.Word] = options("Regions that data must not leave.", ["cn-hunan"], default_factory=list)


class DataRule(Schema):
    """Where data of one class may lie, beside what the policy rules say of it anyway."""

    zones: list[names.ZoneName] = options("The only zones it may be in.", ["extranet"], default_factory=list)
    regions: list[names.Word] = options("The only regions it may be in.", ["cn-hunan"], default_factory=list)
    partners: bool = options("Whether partners' apps may hold it.", default=True)
    dedicated: bool = options("Whether its stores must be dedicated to the tenant.", default=False)


class Keep(Schema):
    """How many backups of each app's data stay."""

    daily: amounts.KeptBackups = options("The last of so many days.", 7, default=7)
    weekly: amounts.KeptBackups = options("The last of so many weeks.", 5, default=5)
    monthly: amounts.KeptBackups = options("The last of so many months.", 12, default=12)


class Backup(Schema):
    """Where backups go, and when. With `endpoint` they are taken; without it the target is only declared."""

    target: names.Backend = options("URL of an object store: bucket and prefix.", "s3://backup")
    region: names.Word = options("The region it lies in.", "cn-hunan")
    endpoint: names.Endpoint | None = options(
        "URL of the target's S3 server; from then on backups are taken.", "https://s3.hunan.example", default=None
    )
    addresses: list[names.Source] = options(
        "Ranges in which that server answers; backups alone may connect to them.",
        ["203.0.113.0/28"],
        default_factory=list,
    )
    credentials: names.CredentialName | None = options(
        "Secret of the city with ACCESS-KEY:SECRET-KEY of the target.", "backup-keys", default=None
    )
    password: names.CredentialName | None = options(
        "Secret of the city with the password that encrypts backups; whoever loses it has no backups.",
        "backup-password",
        default=None,
    )
    authority: names.CredentialName | None = options(
        "Secret of the city with certificates that verify the server, in PEM; without it the public ones do.",
        "backup-authority",
        default=None,
    )
    schedule: schedules.Schedule = options(
        "When backups are taken, as minute, hour, day, month and weekday.", "30 2 * * *", default="30 2 * * *"
    )
    time_zone: schedules.TimeZone = options("The time zone of `schedule`.", "Asia/Shanghai", default="Etc/UTC")
    keep: Keep = options("How many backups of each app's data stay.", default_factory=Keep)
    states: bool = options(
        "Whether each `up` copies the city's states there, from the machine that runs it.", default=True
    )


class Administrators(Schema):
    """The three separate administrators 三员; nobody may be two of them."""

    system: list[names.Email] = options("Run the platform.", ["ops@xingcheng.gov.example"], default_factory=list)
    security: list[names.Email] = options("Set its rules.", ["sec@xingcheng.gov.example"], default_factory=list)
    audit: list[names.Email] = options("Look at what both do.", ["audit@xingcheng.gov.example"], default_factory=list)


class Compliance(Schema):
    """What the city must obey."""

    mlps: amounts.Level = options("Level of the Multi-Level Protection Scheme 等保 (GB/T 22239).", 3, default=2)
    sm: bool = options("Whether commercial cryptography 国密 (SM2, SM3, SM4) is required.", default=False)
    residency: Residency = options("Where data may lie.", default_factory=Residency)
    log_retention_days: amounts.RetentionDays = options("Days for which logs are kept.", 180, default=180)
    registries: list[names.Registry] = options(
        "The only registries that images may come from; none: any.", ["registry.example"], default_factory=list
    )
    image_digests: bool = options("Whether images must be named by digest.", default=False)
    reviewed_apps: bool = options(
        "Whether apps are deployed only as they were reviewed with `wecityctl app`.", default=False
    )
    data_classes: dict[model.DataClass, DataRule] = options(
        "Tighter rules by class of data.", {"L4": {"zones": ["extranet"]}}, default_factory=dict
    )
    backup: Backup | None = options("Where backups go.", default=None)
    administrators: Administrators = options("The three separate administrators 三员.", default_factory=Administrators)


class Zone(Schema):
    """A security zone of the city's network."""

    name: names.ZoneName = options("The zone's name; a tenant's namespaces end with it.", "internet")
    kind: model.ZoneKind = options("Internet zone 互联网区, government extranet 政务外网 or data exchange.", "internet")
    egress: bool = options("Whether what runs here may reach the world outside.", default=False)


class Flow(Schema):
    """Traffic between two zones that somebody approved; everything else between zones is denied."""

    from_: names.ZoneName = options("The zone that connects.", "internet", alias="from")
    to: names.ZoneName = options("The zone that is connected to.", "exchange")
    ports: list[amounts.Port] = options("TCP ports.", [443], min_length=1)
    approved_by: names.Title = options("Who approved it.", "data-bureau")
    reason: names.Title = options("What it is for.", "one-stop service")


class EntryTLS(Schema):
    """HTTPS at the entry points."""

    enabled: bool | None = options(
        "Whether they speak HTTPS; by default on an embedded cloud, and where a certificate is named.", default=None
    )
    certificates: dict[names.ZoneName, names.Subject] = options(
        "Secrets <tenant>/<name> with a certificate, its chain and its key in PEM, by zone; "
        "the city's own authority issues the others.",
        {"internet": "data-bureau/entry-tls"},
        default_factory=dict,
    )


class Entry(Schema):
    """The entry points: one for each zone that has routes."""

    shared_hosts: dict[names.RouteHost, list[names.TenantName]] = options(
        "Tenants that may all have routes on a host; any other host is one tenant's.",
        {"services": ["health-commission", "transport-bureau"]},
        default_factory=dict,
    )
    tls: EntryTLS = options("HTTPS at the entry points.", default_factory=EntryTLS)
    port: amounts.Port | None = options(
        "The port at which people reach the main entry point, for addresses to which sign-in returns; by default its "
        "node port, or 443 behind a load balancer.",
        443,
        default=None,
    )
    trusted_proxies: dict[names.ZoneName, list[names.Source]] = options(
        "Ranges of the proxies in front of a zone's entry point, whose X-Forwarded-For says who the client is; that of "
        "anybody else is ignored.",
        {"internet": ["10.8.4.0/24"]},
        default_factory=dict,
    )


class Images(Schema):
    """Where the container images of the city's own services come from."""

    source: model.ImageSource = options("Public images, or built here from package registries.", default="upstream")
    registry: names.Registry = options(
        "A registry that replaces every image's own; empty: none.", "registry.example:5000/base", default=""
    )
    architectures: list[Architecture] = options(
        "CPU architectures that images are needed for.",
        ["amd64", "arm64"],
        default_factory=lambda: ["amd64"],
        min_length=1,
    )
    digests: dict[names.Word, names.Digest] = options(
        "Digests of the catalogue's images as the registry has them, by name.",
        {"postgresql": "sha256:" + 64 * "0"},
        default_factory=dict,
    )
    credentials: dict[names.RegistryHost, names.CredentialName] = options(
        "Secrets of the city with USER:PASSWORD, by the registry that asks for it.",
        {"registry.example": "harbor"},
        default_factory=dict,
    )


class State(Schema):
    """Where the state of the city's stacks is kept."""

    backend: names.Backend = options("URL of Pulumi's back end; empty: the local default.", "s3://bucket", default="")
    secrets_provider: names.SecretsProvider = options("What encrypts secrets in the state.", default="passphrase")
    keep_updates: amounts.Updates = options(
        "How many updates of each stack a directory keeps, for `history` and to go back to; older ones are removed.",
        default=model.State().keep_updates,
    )


class Engine(Schema):
    """How the engine works on this city."""

    kubernetes_provider: model.KubernetesProvider = options(
        "The official Kubernetes plug-in, the built-in one, or whichever can be had.", default="auto"
    )
    take_over: bool = options(
        "Whether every `up` changes back what others have changed on the clouds, as with --take-over.", default=False
    )


class CitySpec(Schema):
    """What the city is as a whole."""

    domain: names.Domain = options("Suffix of the host names of the single entry point.", "xingcheng.gov.example")
    compliance: Compliance = options("What the city must obey.", default_factory=Compliance)
    zones: list[Zone] = options("Security zones.", min_length=1)
    flows: list[Flow] = options("Approved traffic between zones.", default_factory=list)
    entry: Entry = options("The entry points.", default_factory=Entry)
    images: Images = options("Where container images come from.", default_factory=Images)
    alerts: watching.Alerts | None = options(
        "Where alerts about everything in the city are sent; by default nowhere.", default=None
    )
    notification: Notification | None = options(
        "The channels that apps may send messages to people by; by default none.", default=None
    )
    state: State = options("Where state is kept.", default_factory=State)
    engine: Engine = options("How the engine works.", default_factory=Engine)
    environment: names.EnvironmentName = options(
        "The environment that is meant where none is chosen; others are in the files below `environments`.",
        "production",
        default=PRODUCTION,
    )


class LocalSettings(Schema):
    """Settings of the embedded cloud."""

    nodes: model.NodeKind = options(
        "A real node (root on Linux), or simulated nodes as pools say; three where there are none.", default="real"
    )


class KubernetesSettings(Schema):
    """Settings of an existing Kubernetes cluster."""

    kubeconfig: str = options(
        "A kubeconfig file, relative to this file; empty: as kubectl finds it.", "~/.kube/config", default=""
    )
    context: str = options("A context of the kubeconfig; empty: its current one.", "prod", default="")
    ingress_class: names.ClassName = options("An ingress class to use instead of our gateway.", "nginx", default="")
    storage_class: names.ClassName = options(
        "The storage class for volumes; empty: the default one.", "ssd", default=""
    )
    zone_ingress_classes: dict[names.ZoneName, names.ClassName] = options(
        "Beside ingressClass: the class of each zone that is not the internet's.",
        {"extranet": "nginx-inner"},
        default_factory=dict,
    )


class Pool(Schema):
    """Nodes of one kind; amounts are per node."""

    name: names.PoolName = options("The pool's name.", "general")
    architecture: Architecture = options("CPU architecture.", "amd64")
    nodes: amounts.NodeCount = options("How many nodes.", 3)
    cpu: amounts.CpuQuantity = options("CPUs of a node.", "64")
    memory: amounts.BytesQuantity = options("Memory of a node.", "256Gi")
    storage: amounts.BytesQuantity = options("Storage of a node.", "2Ti")
    labels: Labels = options("Labels on the nodes.", {"disk": "ssd"}, default_factory=dict)
    accelerators: dict[names.AcceleratorName, amounts.DeviceCount] = options(
        "Extended resources of a node.", {"nvidia.com/gpu": 8}, default_factory=dict
    )
    zones: list[names.ZoneName] = options(
        "Those of the cloud's zones that it serves; none: all.", ["internet"], default_factory=list
    )
    domestic: bool = options("Whether it is domestic hardware 信创.", default=False)
    instance_types: list[names.VendorWord] = options(
        "The vendor's names of the nodes to make.", ["ecs.g8y.xlarge"], default_factory=list
    )


class Prices(Schema):
    """A rate card in one currency."""

    currency: names.Currency = options("ISO 4217 code.", "CNY", default="CNY")
    cpu_hour: amounts.Price = options("Price of a CPU for an hour.", "0.10", default="0")
    memory_gib_hour: amounts.Price = options(
        "Price of a GiB of memory for an hour.", "0.02", default="0", alias="memoryGiBHour"
    )
    storage_gib_month: amounts.Price = options(
        "Price of a GiB of storage for a month.", "0.50", default="0", alias="storageGiBMonth"
    )


class Network(Schema):
    """Address ranges of a landing zone."""

    cidr: names.Cidr = options("The network's range.", "10.8.0.0/16", default="10.0.0.0/16")
    pods: names.Cidr = options("The range of the pods.", "172.20.0.0/16", default="172.20.0.0/16")
    services: names.Cidr = options("The range of the Services.", "172.21.0.0/20", default="172.21.0.0/20")
    subnets: dict[names.ZoneName, names.Cidr] = options(
        "Ranges by zone; a zone without one is given a share of the network's.",
        {"extranet": "10.8.16.0/20"},
        default_factory=dict,
    )


class Existing(Schema):
    """What is there already: it is read and never changed."""

    network: names.VendorWord = options("Identifier of the network.", "vpc-0a1b", default="")
    subnets: dict[names.ZoneName, names.VendorWord] = options(
        "Identifiers of subnets by zone.", {"extranet": "vsw-0a1b"}, default_factory=dict
    )
    cluster: names.VendorWord = options("Identifier of the cluster.", "c-0a1b", default="")


class Interconnect(Schema):
    """How other clouds and this one reach each other; an embedded cloud needs nothing of it."""

    address: names.Address = options("Where its node ports answer the others.", "10.8.0.9", default="")
    sources: list[names.Source] = options(
        "Where it comes from, as the others see it.", ["10.8.0.0/24"], default_factory=list
    )
    ports: dict[names.PortOwner, amounts.NodePort] = options(
        "Node ports by capability, by tenant/app for its route, or by tenant/app/name for what it provides; others are "
        "chosen.",
        {"postgresql": 30010},
        default_factory=dict,
    )
    encrypted: bool = options("Whether the way is encrypted below us, such as by IPsec.", default=False)


class PublicApi(Schema):
    """The address of the cluster's API on the internet; without this block it has none."""

    allow_from: list[names.Caller] = options("Who may reach it, as ranges.", ["203.0.113.0/24"], min_length=1)


class Expected(Schema):
    """Objects that the cloud's owner puts into namespaces by himself: they are not told as what nobody declared."""

    kind: str = options("The objects' kind.", "RoleBinding")
    group: str | None = options(
        "The kind's API group; left out, the API server's own of that kind.", "rbac.authorization.k8s.io", default=None
    )
    name: names.NamePattern = options("Their names; * stands for any characters.", "owner-*")


class _Provider(Schema):
    provider: vendors.Provider = options("What kind of cloud; its settings are in the block of that name.", "local")
    local: LocalSettings | None = options("Settings where provider is local.", default=None)
    kubernetes: KubernetesSettings | None = options("Settings where provider is kubernetes.", default=None)


if TYPE_CHECKING:
    _Blocks = _Provider
else:
    _Blocks = vendors.with_blocks(_Provider)


class CloudSpec(_Blocks):
    """An underlying cloud 底层云."""

    region: names.VendorWord = options("Where it lies and its data with it.", "cn-hunan", default="")
    network: Network | None = options("Address ranges of its landing zone.", default=None)
    existing: Existing | None = options("What is there already and is only read.", default=None)
    interconnect: Interconnect | None = options("How other clouds and this one reach each other.", default=None)
    public_api: PublicApi | None = options(
        "Who may reach the cluster's API from the internet; left out: nobody.", default=None
    )
    balancers: list[names.ZoneName] | None = options(
        "Zones whose entry points get a load balancer of the vendor's; left out: the internet's and extranets.",
        ["internet"],
        default=None,
    )
    expected: list[Expected] = options(
        "What its owner puts into namespaces by himself.",
        [{"kind": "RoleBinding", "name": "owner-*"}],
        default_factory=list,
    )
    zones: list[names.ZoneName] = options("The zones that the cloud serves.", ["internet"], min_length=1)
    pools: list[Pool] = options("Its nodes.", default_factory=list)
    prices: Prices | None = options("What it costs.", default=None)
