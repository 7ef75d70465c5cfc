"""What a vendor of clouds is to the rest of the program, and the registry of the vendors that there are.

A vendor is a folder of `stacks/clouds`; its name is the provider's name in a Cloud document. The folder's `__init__`
has the `VENDOR`, a value that is read without any SDK. Its other modules are imported when they are needed:

- `landing`: the program of the landing zone, `run(StackInputs)`; the only one that imports the SDK;
- `discovery`: a `DISCOVERY` (`wecityctl.model.discovery`), what `import` and `doctor` ask the vendor's plug-in;
- `audit`: an `AUDIT` (`wecityctl.policy.vendors`), what the policies read in the landing zone's resources.
"""

from __future__ import annotations

import pkgutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib import import_module
from ipaddress import IPv4Network
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from wecityctl.model.city import City, Cloud

# The package whose folders are the vendors. It is imported by name: the model is below the stacks.
PACKAGE = "stacks.clouds"

Architecture = Literal["amd64", "arm64", "loong64"]


def setting(description: str, *examples: Any, **options: Any) -> Any:
    """A field of a vendor's settings, with the text and the examples that the schema and the reference show. `options`
    are the default, as `dataclasses.field` takes it: every setting has one."""
    return field(**options, metadata={"description": description, "examples": examples})


def zones_setting(*examples: str) -> Any:
    """The setting `availability_zones`, with examples of the vendor's."""
    text = "Availability zones, the first for what needs one only."
    return setting(text, *([list(examples)] if examples else []), default=())


def version_setting(*examples: str) -> Any:
    """The setting `kubernetes_version`, with examples of the vendor's."""
    return setting("Version of the managed Kubernetes; empty: the vendor's default.", *examples, default="")


@dataclass(frozen=True, slots=True)
class VendorSettings:
    """The settings of a landing zone: the block of a Cloud document that has the vendor's name.

    A subclass has a field for each setting, made by `setting`; the file's schema follows from it. Types are `str` (a
    vendor's word), `bool`, `int` (1 to 1000), `tuple[str, ...]` and `Mapping[Architecture, str]`. Empty texts mean the
    vendor's default, or that the landing zone leaves the part out.
    """

    @property
    def places(self) -> tuple[str, ...]:
        """The availability zones that the settings name, the first for what needs one only."""
        return ()

    @property
    def version(self) -> str:
        """The version of the managed Kubernetes; empty: the vendor's default, or one that is not chosen here."""
        return ""


@dataclass(frozen=True, slots=True)
class ManagedSettings(VendorSettings):
    """What the settings of managed clusters begin with. A vendor writes both again, with examples of its own."""

    availability_zones: tuple[str, ...] = zones_setting()
    kubernetes_version: str = version_setting()

    @property
    def places(self) -> tuple[str, ...]:
        return self.availability_zones

    @property
    def version(self) -> str:
        return self.kubernetes_version


@dataclass(frozen=True, slots=True)
class Sdk:
    """The vendor's Pulumi SDK, an extra of this package that has the vendor's name.

    `distribution` is its name for pip, `module` for Python; `version` is the one that the extra installs, and its
    plug-in's. `publisher` is the owner of the GitHub repository that releases the plug-in; empty: Pulumi itself.
    """

    distribution: str
    module: str
    version: str
    publisher: str = ""


@dataclass(frozen=True, slots=True)
class Credentials:
    """How the plug-in finds credentials. `variables` are the ways to give them in the environment, each a set of
    variables; `files` are where the plug-in looks without any. `hint` is what people are told, in one line.

    `named_files` are further files for a cloud whose settings name an entry of one of them; `in_named_file` says
    whether the settings do.
    """

    variables: tuple[tuple[str, ...], ...]
    hint: str
    files: tuple[str, ...] = ()
    named_files: Callable[[], tuple[str, ...]] = tuple
    in_named_file: Callable[[Cloud], bool] = lambda _: False


@dataclass(frozen=True, slots=True)
class Limits:
    """What the vendor makes no more of. Zeros and empty tuples set no limit.

    `architectures` are those of nodes; `security_groups` the most of one node; `disk_gib` the largest data disk of a
    node in GiB; `network_prefixes` the shortest and the longest prefix of a network; `subnet_prefix` the shortest of a
    subnet.
    """

    architectures: tuple[str, ...] = ()
    security_groups: int = 0
    disk_gib: int = 0
    network_prefixes: tuple[int, int] = (0, 32)
    subnet_prefix: int = 0


@dataclass(frozen=True, slots=True)
class Reserved:
    """A range that no part of a landing zone may touch: what it is on the vendor's cloud, and who says so."""

    range: IPv4Network
    what: str
    source: str


@dataclass(frozen=True, slots=True)
class Balancers:
    """How a Service uses a load balancer that the landing zone has made: the annotation that names it, and what else
    the Service says so that the cloud controller uses it as it is, for a public one and for another.
    `controller_labels` are those that the controller itself writes on the Service."""

    annotation: str
    annotations: Callable[[bool], Mapping[str, str]] = lambda _public: {}
    controller_labels: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Volumes:
    """The storage class of a cluster that a landing zone has made: its CSI driver, and the driver's parameters for a
    cloud, given whether SM cryptography is required and the identifier of the landing zone's key (a `pulumi.Input`).

    `encrypted_by` is a parameter that says, by being there, that volumes are encrypted; empty: the parameter says so in
    its own words.
    """

    driver: str
    parameters: Callable[[Cloud, bool, Any], dict[str, Any]]
    encrypted_by: str = ""


@dataclass(frozen=True, slots=True)
class Fault:
    """What is wrong with a Cloud document: where, what, and what was expected; `on_key` points at the field's name."""

    path: tuple[str | int, ...]
    message: str
    expected: str
    on_key: bool = False


def _no_faults(_city: City | None, _cloud: Cloud) -> Iterator[Fault]:
    return iter(())


@dataclass(frozen=True, slots=True)
class Vendor:
    """A vendor. `provider` is its folder's name, the provider in a Cloud document, and the SDK's Pulumi package.

    `title` is its name for people. `zonal_subnets`: a subnet is tied to one availability zone. `pod_subnets`: pods have
    subnets of their own in the network's pod range. `sm_keys` are the specifications of keys of SM algorithms, empty
    where there are none. `no_access_list` says why a landing zone cannot give a public API an access list; empty: it
    can. `check` finds what of a Cloud document the landing zone cannot be made with; the city may be missing.
    `pool_label` is the node label with the name of the vendor's node pool; empty: there is none. `import_examples` are
    arguments of `wecityctl import PROVIDER`.
    """

    provider: str
    title: str
    settings: type[VendorSettings]
    sdk: Sdk
    credentials: Credentials
    balancers: Balancers
    volumes: Volumes
    limits: Limits = Limits()
    reserved: tuple[Reserved, ...] = ()
    zonal_subnets: bool = False
    pod_subnets: bool = False
    sm_keys: str = ""
    no_access_list: str = ""
    check: Callable[[City | None, Cloud], Iterator[Fault]] = _no_faults
    pool_label: str = ""
    import_examples: tuple[str, ...] = ()

    def module(self, name: str) -> str:
        """The full name of a module of the vendor's folder."""
        return f"{PACKAGE}.{self.provider}.{name}"


@cache
def vendors() -> Mapping[str, Vendor]:
    """All vendors by provider, in the order of the names. Imports each folder's `__init__`, and no SDK."""
    folders = import_module(PACKAGE).__path__
    names = sorted(item.name for item in pkgutil.iter_modules(folders) if item.ispkg)
    return MappingProxyType({name: import_module(f"{PACKAGE}.{name}").VENDOR for name in names})


def providers() -> tuple[str, ...]:
    """Everything that a Cloud document may name as its provider."""
    return ("local", "kubernetes", *vendors())
