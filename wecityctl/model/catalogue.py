"""The contract of a capability type: metadata that checks, placement, plan, policy and stacks share.

Programs and provisioners are named by `module:attribute` and imported only by the stack that runs them, so that
`validate` loads no Pulumi. All values print the same in every process: digests are made of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from types import MappingProxyType

from wecityctl.model import naming
from wecityctl.model.city import PlatformName, Size, Use

# How many times the requests of size `small` a pod has.
SIZE_FACTORS: Mapping[Size, int] = MappingProxyType({"small": 1, "medium": 4, "large": 16})


@dataclass(frozen=True, slots=True)
class UseLimits:
    """The most that one use may take of an instance. Empty and 0: the capability has no such limit.

    `connections` open at a time; bytes of `storage` and `memory` as quantities; `statement_seconds` for one statement.
    """

    connections: int = 0
    storage: str = ""
    memory: str = ""
    statement_seconds: int = 0


@dataclass(frozen=True, slots=True)
class Port:
    """A TCP port of the capability's Service and pods. The first of a type is the one that a use opens.

    `ui`: people use it in a browser; `metrics`: it serves metrics in the Prometheus format.
    """

    name: str
    number: int
    ui: bool = False
    metrics: bool = False


@dataclass(frozen=True, slots=True)
class Pods:
    """One kind of pod of a capability: what each of its replicas requests at size `small`, as quantities.

    `name` distinguishes several kinds; the first kind has none. `storage` is the size of each replica's volume at every
    size, unless the files give another; empty for none. At least `replicas` of them run; the files may ask for up to
    `max_replicas`.
    """

    name: str = ""
    cpu: str = "100m"
    memory: str = "128Mi"
    storage: str = ""
    replicas: int = 1
    max_replicas: int = 1


@dataclass(frozen=True, slots=True)
class Workload:
    """One kind of pod of an instance: the number of replicas, and what each requests, as quantities."""

    name: str
    replicas: int
    cpu: str
    memory: str
    storage: str

    @property
    def requests(self) -> dict[str, str]:
        """CPU and memory as a container's requests."""
        return {"cpu": self.cpu, "memory": self.memory}


@dataclass(frozen=True, slots=True)
class Binding:
    """What a user of the capability receives, in the shape of the Service Binding specification.

    `type` is the binding's type; `keys` are its entries beside `type`, `provider`, `host`, `port` and, with TLS,
    `ca.crt`. `credentials` are the entries that are generated in the city's secret store, one for each use.
    `provisioner` is `module:attribute` of the `Provisioner` that makes an account for each use, empty where a use needs
    none; `separator` joins the parts of the account's name (`naming.account_name`). `stores_data`: the capability keeps
    data of its users.
    """

    type: str
    keys: tuple[str, ...] = ()
    credentials: tuple[str, ...] = ()
    provisioner: str = ""
    separator: str = "."
    stores_data: bool = False


@dataclass(frozen=True, slots=True)
class CapabilityUse:
    """Another capability that a type needs, as an app says it: its type and the binding's name, with its own limits.

    Every instance of the using type has an account of its own there, and a Secret `<instance>-binding-<alias>`.
    """

    type: str
    alias: str
    limits: UseLimits = UseLimits()

    def of(self, capability: str, stated: Use | None = None) -> Use:
        """The same as a use of the instance `capability`; limits that the files state in `stated` come first."""
        limits = {item.name: getattr(self.limits, item.name) for item in fields(UseLimits)}
        own = {name: getattr(stated, name) for name in limits if stated is not None and getattr(stated, name)}
        return Use(capability, self.alias, **{**limits, **own})


@dataclass(frozen=True, slots=True)
class CapabilityType:
    """A service that a middle platform can offer.

    `title` is in English and Chinese; the first of `engines` is the default; `program` is `module:attribute` of the
    component resource; `images` names recipes. `ports`, `pods`, `binding` and `uses` are described at their classes.
    `provides` names other types that it can take the place of. `entry`: it is the city's entry point, of which there is
    one, with copies for zones that have an entry point of their own. `health` describes an end-to-end probe in words.
    `encrypted` says that its protocol is, always; `tls` that its server takes a certificate of the city's own and
    refuses plain connections; `sm` that it offers SM2, SM3 and SM4 for what it stores and sends; `limits` are those of
    a use that states none; `connections` is how many an instance has for all users together, by size (empty: they are
    not counted).
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
    entry: bool = False
    health: str = ""
    encrypted: bool = False
    tls: bool = False
    sm: bool = False
    limits: UseLimits = UseLimits()
    connections: Mapping[Size, int] = field(default_factory=dict)

    @property
    def port(self) -> int:
        """The number of the port that a use opens."""
        return self.ports[0].number

    @property
    def storage(self) -> str:
        """The size of an instance's volume where the files give none; empty for a type without volumes."""
        return next((item.storage for item in self.pods if item.storage), "")

    @property
    def max_replicas(self) -> int:
        """The most replicas that the files may ask for."""
        return max(item.max_replicas for item in self.pods)

    @property
    def stores_data(self) -> bool:
        """Whether it keeps data of those who use it: by its binding's word, or in a volume behind a binding."""
        return self.binding is not None and (self.binding.stores_data or bool(self.storage))

    def workloads(self, size: Size, replicas: int | None = None, storage: str = "") -> tuple[Workload, ...]:
        """The pods of an instance, for placement and for its program.

        `replicas` and `storage` are those that the files give; without them, and for kinds of pods that do not scale or
        have no volume, the type's own hold.
        """
        factor = SIZE_FACTORS[size]
        return tuple(
            Workload(
                item.name,
                (replicas or item.replicas) if item.max_replicas > 1 else item.replicas,
                _times(item.cpu, factor),
                _times(item.memory, factor),
                (storage or item.storage) if item.storage else "",
            )
            for item in self.pods
        )

    def limits_of(self, use: Use) -> UseLimits:
        """The limits that hold for `use`: its own where it states them and the type has them, else the type's."""
        stated = {item.name: getattr(use, item.name) for item in fields(UseLimits) if getattr(self.limits, item.name)}
        return replace(self.limits, **{name: value for name, value in stated.items() if value})

    def credential_keys(self, *owner: str) -> tuple[str, ...]:
        """The names in the city's secret store of what is generated for one use; `owner` as of `Consumer.parts`."""
        names = self.binding.credentials if self.binding is not None else ()
        return tuple(credential_key(name, *owner) for name in names)


def credential_key(credential: str, *owner: str) -> str:
    """The name of one generated credential in the city's secret store; the password's is that of the use itself."""
    return naming.secret_key("binding", *owner, *(() if credential == "password" else (credential,)))


Catalogue = Mapping[str, CapabilityType]


def _times(quantity: str, factor: int) -> str:
    digits = quantity.rstrip("mKMGTi")
    return f"{int(digits) * factor}{quantity[len(digits) :]}"
