"""The metadata of capability types that checks, placement, plan, policy and stacks share.

Programs and provisioners are given as `module:attribute` and are imported only by the stack that runs them, so that
`validate` does not load Pulumi. The `repr` of all values is the same in every process, because it is hashed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields, replace
from types import MappingProxyType
from typing import Literal

from wecityctl.model import naming
from wecityctl.model.city import PlatformName, Size, Use
from wecityctl.model.quantity import format_bytes, format_cpu, parse_quantity

# Multiplies the requests of size `small`.
SIZE_FACTORS: Mapping[Size, int] = MappingProxyType({"small": 1, "medium": 4, "large": 16})


@dataclass(frozen=True, slots=True)
class UseLimits:
    """The limits of one use of an instance. Empty and 0: the capability does not support this limit.

    `connections`: open at a time; `storage` and `memory`: quantities of bytes; `statement_seconds`: duration of one
    statement.
    """

    connections: int = 0
    storage: str = ""
    memory: str = ""
    statement_seconds: int = 0


Protocol = Literal["tcp", "http", "https", "grpc"]


@dataclass(frozen=True, slots=True)
class Port:
    """A TCP port of the capability's Service and pods. The first port of a type is the one that apps connect to.

    `protocol` is what is spoken on it: `http`, `https` and `grpc`, or `tcp` for anything else. `ui`: people use it in a
    browser; `metrics`: it serves metrics in the Prometheus format, at `metrics_path`.
    """

    name: str
    number: int
    protocol: Protocol = "tcp"
    ui: bool = False
    metrics: bool = False
    metrics_path: str = "/metrics"


@dataclass(frozen=True, slots=True)
class Sidecar:
    """A container beside the main one of a pod, with requests that are the same at every size, as quantities."""

    name: str
    cpu: str
    memory: str

    @property
    def requests(self) -> dict[str, str]:
        """CPU and memory in the form of a container's requests."""
        return {"cpu": self.cpu, "memory": self.memory}


@dataclass(frozen=True, slots=True)
class Pods:
    """A kind of pod of a capability type.

    `cpu` and `memory` are the requests of a replica at size `small`, as quantities. `sidecars` are added to them.

    `name` distinguishes several kinds; the first kind has none. `storage` is the size of each replica's volume at every
    size, unless the files give another; empty for no volume. `replicas` is the minimum and default, `max_replicas` the
    most that the files may ask for. `each_node`: there is one on each node of the cloud that can run it, as of a
    DaemonSet, whatever `replicas` says.
    """

    name: str = ""
    cpu: str = "100m"
    memory: str = "128Mi"
    storage: str = ""
    replicas: int = 1
    max_replicas: int = 1
    sidecars: tuple[Sidecar, ...] = ()
    each_node: bool = False


@dataclass(frozen=True, slots=True)
class Workload:
    """A kind of pod of one instance: the number of replicas, and the requests of each as quantities.

    `cpu` and `memory` are those of all containers but the `sidecars`. `each_node` is that of `Pods`.
    """

    name: str
    replicas: int
    cpu: str
    memory: str
    storage: str
    sidecars: tuple[Sidecar, ...] = ()
    each_node: bool = False

    @property
    def requests(self) -> dict[str, str]:
        """CPU and memory in the form of a container's requests, without those of the sidecars."""
        return {"cpu": self.cpu, "memory": self.memory}

    @property
    def total(self) -> dict[str, str]:
        """CPU and memory of a whole pod, sidecars included, as the scheduler counts it."""
        if not self.sidecars:
            return self.requests
        cpu = sum((parse_quantity(item.cpu) for item in self.sidecars), parse_quantity(self.cpu))
        memory = sum((parse_quantity(item.memory) for item in self.sidecars), parse_quantity(self.memory))
        return {"cpu": format_cpu(cpu), "memory": format_bytes(memory)}

    def sidecar(self, name: str) -> Sidecar:
        """The sidecar called `name`."""
        return next(item for item in self.sidecars if item.name == name)


@dataclass(frozen=True, slots=True)
class Binding:
    """What a user of the capability receives, in the form of the Service Binding specification.

    `type` is the binding's type; `keys` are its entries besides `type`, `provider`, `host`, `port` and, with TLS,
    `ca.crt`. `credentials` are the entries that are generated in the city's secret store for each use.
    `provisioner` is the `module:attribute` of the `Provisioner` that creates an account for each use; empty if a use
    needs no account. `separator` joins the parts of the account's name (`naming.account_name`). `stores_data`: the
    capability stores data of its users. `docker_config` is the entry with a Docker configuration, if the capability
    serves images: nodes pull the images of the user's pods with it.
    """

    type: str
    keys: tuple[str, ...] = ()
    credentials: tuple[str, ...] = ()
    provisioner: str = ""
    separator: str = "."
    stores_data: bool = False
    # Not in the `repr`: stacks of the other types do not depend on it.
    docker_config: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class Right:
    """What an account may do with `resources` of one API group; reading, unless `verbs` say otherwise."""

    group: str
    resources: tuple[str, ...]
    verbs: tuple[str, ...] = ("get", "list", "watch")


@dataclass(frozen=True, slots=True)
class Observer:
    """What pods of a capability may see of their cluster, by a service account of their own.

    `inside` holds in each of the city's namespaces on that cloud, and nowhere else. `cluster` is for resources that
    are in no namespace, such as nodes. Everything is bound by `stacks.observers`; the pods may reach the API server.
    `scrapes`: they also read metrics, so that whatever serves some lets them in.
    """

    inside: tuple[Right, ...] = ()
    cluster: tuple[Right, ...] = ()
    scrapes: bool = False


Severity = Literal["critical", "warning"]


@dataclass(frozen=True, slots=True)
class AlertRule:
    """A rule for an alert about an instance of a capability, in the query language of the metrics platform.

    `expression` has `$capability` in the place of the instance's name; it holds for `seconds` before the alert fires,
    which goes on for `keep` seconds after it has held for the last time.
    `summary` says what is wrong, and may have `{{ $value }}` and `{{ $labels.NAME }}`.
    """

    name: str
    expression: str
    summary: str
    seconds: int = 60
    severity: Severity = "warning"
    keep: int = 0


Unit = Literal["count", "per second", "cores", "bytes", "seconds", "share"]


@dataclass(frozen=True, slots=True)
class Panel:
    """A chart of a dashboard: the lines that `query` gives over a span of time, in the metrics platform's language.

    The store shows a query only the series of what the dashboard is about, so that it names no app, tenant or instance
    itself. `whole_store` lifts that: its series have no such labels, as those of the store about itself. `unit` is that
    of the values; a `share` is of 1. `by` are the labels that tell the lines apart. `limit` is a query for what the
    values should stay below, drawn dashed, with the same labels.
    """

    title: str
    query: str
    unit: Unit = "count"
    by: tuple[str, ...] = ()
    limit: str = ""
    whole_store: bool = False


# Of types whose servers say how full their volumes are.
VOLUME = Panel("Volume in use and size", "wecity_volume_bytes_used", "bytes", limit="wecity_volume_bytes_size")


@dataclass(frozen=True, slots=True)
class UsageCounter:
    """What is counted of the use of an instance, for `wecityctl usage`.

    `name` says what, in the plural. `counter` selects counters in the metrics platform, by a query with `$capability`
    in the place of the instance's name. They have the labels `tenant` and `app` of who used it, or of what was asked.
    """

    name: str
    counter: str


@dataclass(frozen=True, slots=True)
class CapabilityUse:
    """A dependency of a capability type on another type: the type, the alias of the binding, and default limits.

    Every instance of the dependent type has an account of its own there, and a Secret `<instance>-binding-<alias>`.
    """

    type: str
    alias: str
    limits: UseLimits = UseLimits()

    def of(self, capability: str, stated: Use | None = None) -> Use:
        """This dependency as a use of the instance `capability`. Limits in `stated`, which come from the files, win."""
        limits = {item.name: getattr(self.limits, item.name) for item in fields(UseLimits)}
        own = {name: getattr(stated, name) for name in limits if stated is not None and getattr(stated, name)}
        return Use(capability, self.alias, **{**limits, **own})


@dataclass(frozen=True, slots=True)
class CapabilityType:
    """A service that a middle platform can offer.

    `title` is in English and Chinese; the first of `engines` is the default; `program` is the `module:attribute` of the
    component resource; `images` names recipes. `ports`, `pods`, `binding` and `uses` are described at their classes.
    `provides` names other types that this one can replace. `entry` is the `module:attribute` of an `EntryInterface` of
    a type that is the city's entry point; there is one, with copies for zones that have an entry point of their own.
    `versions` are those of the software in its images, the first that of the image that is built, `architectures` the
    CPU architectures of its images; the contract test compares both with the recipe and its lock.
    `health` describes the end-to-end probe in words, and `probe` is the `module:attribute` of its script
    (`stacks.platforms.probes`); without one nothing is known of an instance but that its pods are ready.
    `rotation` is the `module:attribute` of a script that gives the administrator a new password
    (`stacks.platforms.rotation`), for a server that keeps it itself; others take it from a Secret at every start.
    `encrypted`: its protocol is always encrypted, even if none of its ports says `https`. `tls`: its server can
    have a certificate of the city's CA, and then refuses plain connections. `sm`: it offers SM2, SM3 and SM4 for
    what it stores and sends. `limits` apply to a use that states none. `connections` is the total for all users of
    an instance, by size (empty: not counted). `observes`: what its pods may see of the city's namespaces. `secrets`
    names further generated values of an instance, which are never replaced (`naming.instance_key`). `alerts` are
    rules beside those for every capability, `dashboard` panels beside those of every dashboard. `tells_alerts`: its
    first port tells which alerts there are, as Prometheus does at `/api/v1/alerts`. `backup` is the
    `module:attribute` of the `BackupScripts` (`stacks.platforms.backups`) of a type that keeps data; without them
    its data is in no backup of its own. `tells` is the `module:attribute` of a `Teller`
    (`stacks.platforms.telling`), for a server that says whether it does what the files ask of it. `usage` is what is
    counted of its use. `sign_in` is the `module:attribute` of a `SignInInterface` of a type where people sign in for
    routes of the entry point.
    """

    name: str
    platform: PlatformName
    title: str
    engines: tuple[str, ...]
    licence: str
    program: str
    ports: tuple[Port, ...]
    images: tuple[str, ...]
    pods: tuple[Pods, ...] = (Pods(),)
    binding: Binding | None = None
    uses: tuple[CapabilityUse, ...] = ()
    provides: tuple[str, ...] = ()
    entry: str = ""
    versions: tuple[str, ...] = ()
    architectures: tuple[str, ...] = ("amd64",)
    health: str = ""
    probe: str = ""
    rotation: str = ""
    backup: str = ""
    encrypted: bool = False
    tls: bool = False
    sm: bool = False
    limits: UseLimits = UseLimits()
    connections: Mapping[Size, int] = field(default_factory=dict)
    observes: Observer | None = None
    alerts: tuple[AlertRule, ...] = ()
    # Not in the `repr`: stacks do not depend on it.
    dashboard: tuple[Panel, ...] = field(default=(), repr=False)
    tells_alerts: bool = False
    tells: str = ""
    usage: tuple[UsageCounter, ...] = ()
    secrets: tuple[str, ...] = ()
    # Not in the `repr`: stacks of the other types do not depend on it.
    sign_in: str = field(default="", repr=False)

    @property
    def scrapes(self) -> bool:
        """Whether it is a store of metrics: it scrapes what serves some, and answers queries on its first port."""
        return self.observes is not None and self.observes.scrapes

    @property
    def port(self) -> int:
        """The port that apps connect to."""
        return self.ports[0].number

    @property
    def is_always_encrypted(self) -> bool:
        """Whether what apps speak with it is encrypted, whether or not the city gives it a certificate."""
        return self.encrypted or self.ports[0].protocol == "https"

    @property
    def storage(self) -> str:
        """The default volume size of an instance; empty for a type without volumes."""
        return next((item.storage for item in self.pods if item.storage), "")

    @property
    def max_replicas(self) -> int:
        """The most replicas that the files may ask for."""
        return max(item.max_replicas for item in self.pods)

    @property
    def stores_data(self) -> bool:
        """Whether it stores data of its users: the binding says so, or the type has a binding and a volume."""
        return self.binding is not None and (self.binding.stores_data or bool(self.storage))

    def architectures_in(self, wanted: Iterable[str]) -> tuple[str, ...]:
        """The architectures that pods of the type may run on: those of its images that the city wants images for.

        All of its images' if the city wants none of them, as there is nothing else to run.
        """
        own = tuple(item for item in wanted if item in self.architectures)
        return own or self.architectures

    def workloads(
        self, size: Size, replicas: int | None = None, storage: str = "", cpu: str = ""
    ) -> tuple[Workload, ...]:
        """The pods of an instance, as placement counts them and its program creates them.

        `replicas`, `storage` and `cpu` are the values of the files. The type's own apply if they are not given, and to
        kinds of pods that do not scale or have no volume. `cpu` is of the kind without a name.
        """
        factor = SIZE_FACTORS[size]
        return tuple(
            Workload(
                item.name,
                (replicas or item.replicas) if item.max_replicas > 1 else item.replicas,
                cpu if cpu and not item.name else _times(item.cpu, factor),
                _times(item.memory, factor),
                (storage or item.storage) if item.storage else "",
                item.sidecars,
                item.each_node,
            )
            for item in self.pods
        )

    def limits_of(self, use: Use) -> UseLimits:
        """The limits that apply to `use`: each one that it states and the type supports, otherwise the type's."""
        stated = {item.name: getattr(use, item.name) for item in fields(UseLimits) if getattr(self.limits, item.name)}
        return replace(self.limits, **{name: value for name, value in stated.items() if value})

    def credential_keys(self, *owner: str) -> tuple[str, ...]:
        """The secret store keys of the credentials that are generated for one use; `owner` as in `Consumer.parts`."""
        names = self.binding.credentials if self.binding is not None else ()
        return tuple(credential_key(name, *owner) for name in names)


def credential_key(credential: str, *owner: str) -> str:
    """The secret store key of one generated credential. The password has the key of the use itself."""
    return naming.secret_key("binding", *owner, *(() if credential == "password" else (credential,)))


Catalogue = Mapping[str, CapabilityType]


def _times(quantity: str, factor: int) -> str:
    digits = quantity.rstrip("mKMGTi")
    return f"{int(digits) * factor}{quantity[len(digits) :]}"
