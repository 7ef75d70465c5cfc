"""The shapes of City and Cloud documents."""

from __future__ import annotations

from wecityctl.model import city as model
from wecityctl.spec.shapes import amounts, names
from wecityctl.spec.shapes.base import Architecture, Labels, Shape, options


class Residency(Shape):
    """Where data may lie."""

    regions: list[names.Word] = options("Regions that data must not leave.", ["cn-hunan"], default_factory=list)


class Compliance(Shape):
    """What the city must obey."""

    mlps: amounts.Level = options("Level of the Multi-Level Protection Scheme 等保 (GB/T 22239).", 3, default=2)
    sm: bool = options("Whether commercial cryptography 国密 (SM2, SM3, SM4) is required.", default=False)
    residency: Residency = options("Where data may lie.", default_factory=Residency)
    log_retention_days: amounts.RetentionDays = options("Days for which logs are kept.", 180, default=180)


class Zone(Shape):
    """A security zone of the city's network."""

    name: names.ZoneName = options("The zone's name; a tenant's namespaces end with it.", "internet")
    kind: model.ZoneKind = options("Internet zone 互联网区, government extranet 政务外网 or data exchange.", "internet")


class Flow(Shape):
    """Traffic between two zones that somebody approved; everything else between zones is denied."""

    from_: names.ZoneName = options("The zone that connects.", "internet", alias="from")
    to: names.ZoneName = options("The zone that is connected to.", "exchange")
    ports: list[amounts.Port] = options("TCP ports.", [443], min_length=1)
    approved_by: names.Title = options("Who approved it.", "data-bureau")
    reason: names.Title = options("What it is for.", "one-stop service")


class Images(Shape):
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


class State(Shape):
    """Where the state of the city's stacks is kept."""

    backend: names.Backend = options("URL of Pulumi's back end; empty: the local default.", "s3://bucket", default="")
    secrets_provider: names.SecretsProvider = options("What encrypts secrets in the state.", default="passphrase")


class Engine(Shape):
    """How the engine works on this city."""

    kubernetes_provider: model.KubernetesProvider = options(
        "The official Kubernetes plug-in, the built-in one, or whichever can be had.", default="auto"
    )


class CitySpec(Shape):
    """What the city is as a whole."""

    domain: names.Domain = options("Suffix of the host names of the single entry point.", "xingcheng.gov.example")
    compliance: Compliance = options("What the city must obey.", default_factory=Compliance)
    zones: list[Zone] = options("Security zones.", min_length=1)
    flows: list[Flow] = options("Approved traffic between zones.", default_factory=list)
    images: Images = options("Where container images come from.", default_factory=Images)
    state: State = options("Where state is kept.", default_factory=State)
    engine: Engine = options("How the engine works.", default_factory=Engine)


class LocalSettings(Shape):
    """Settings of the embedded cloud."""

    nodes: model.NodeKind = options("A real node (root on Linux), or simulated nodes as pools say.", default="real")


class KubernetesSettings(Shape):
    """Settings of an existing Kubernetes cluster."""

    kubeconfig: str = options("A kubeconfig file; empty: as kubectl finds it.", "~/.kube/config", default="")
    context: str = options("A context of the kubeconfig; empty: its current one.", "prod", default="")
    ingress_class: str = options("An ingress class to use instead of our gateway.", "nginx", default="")
    storage_class: str = options("The storage class for volumes; empty: the default one.", "ssd", default="")


class Pool(Shape):
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


class Prices(Shape):
    """A rate card in one currency."""

    currency: names.Currency = options("ISO 4217 code.", "CNY", default="CNY")
    cpu_hour: amounts.Price = options("Price of a CPU for an hour.", "0.10", default="0")
    memory_gib_hour: amounts.Price = options(
        "Price of a GiB of memory for an hour.", "0.02", default="0", alias="memoryGiBHour"
    )
    storage_gib_month: amounts.Price = options(
        "Price of a GiB of storage for a month.", "0.50", default="0", alias="storageGiBMonth"
    )


class CloudSpec(Shape):
    """An underlying cloud 底层云."""

    provider: model.ProviderKind = options("What kind of cloud; its settings are in the block of that name.", "local")
    local: LocalSettings | None = options("Settings where provider is local.", default=None)
    kubernetes: KubernetesSettings | None = options("Settings where provider is kubernetes.", default=None)
    zones: list[names.ZoneName] = options("The zones that the cloud serves.", ["internet"], min_length=1)
    pools: list[Pool] = options("Its nodes.", default_factory=list)
    prices: Prices | None = options("What it costs.", default=None)
