"""The interface that a cloud vendor implements, and the registry of vendors.

A vendor is a folder of `stacks/clouds`. Its name is the provider's name in a Cloud document. The folder's `__init__`
defines `VENDOR`, a value that needs no SDK. The other modules are imported when they are needed:
- `landing`: the program of the landing zone, `run(StackInputs)`; the only module that imports the SDK;
- `discovery`: a `DISCOVERY` (`wecityctl.model.discovery`), what `import` and `doctor` ask the vendor's plug-in;
- `audit`: an `AUDIT` (`wecityctl.policy.vendors`), what the policy rules read from the landing zone's resources.
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

# The package with a folder for each vendor. It is imported by name, because the model must not depend on the stacks.
PACKAGE = "stacks.clouds"

Architecture = Literal["amd64", "arm64", "loong64"]


def setting(description: str, *examples: Any, **options: Any) -> Any:
    """Define a field of a vendor's settings with its description and examples for the schema and the reference page.

    `options` is the default, as `dataclasses.field` takes it. Every setting has a default.
    """
    return field(**options, metadata={"description": description, "examples": examples})


def zones_setting(*examples: str) -> Any:
    """The setting `availability_zones`, with the vendor's examples."""
    text = "Availability zones, the first for what needs one only."
    return setting(text, *([list(examples)] if examples else []), default=())


def version_setting(*examples: str) -> Any:
    """The setting `kubernetes_version`, with the vendor's examples."""
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
        """The availability zones in the settings. The first is used for resources that need only one."""
        return ()

    @property
    def version(self) -> str:
        """The version of the managed Kubernetes; empty: the vendor's default, or the version cannot be chosen."""
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
    """The vendor's Pulumi SDK, which is an optional extra of wecityctl named after the vendor.

    `distribution` is its name for pip, `module` that for Python. `version` is that of the SDK and of its plug-in.
    `publisher` is the owner of the GitHub repository that releases the plug-in; empty: Pulumi itself.
    """

    distribution: str
    module: str
    version: str
    publisher: str = ""


@dataclass(frozen=True, slots=True)
class Credentials:
    """How the plug-in finds credentials.

    `variables` are alternative sets of environment variables. `files` are where the plug-in looks without them. `hint`
    is one line for the user. `named_files` are further files, for a cloud whose settings name an entry in one of them;
    `in_named_file` tells whether the settings do.
    """

    variables: tuple[tuple[str, ...], ...]
    hint: str
    files: tuple[str, ...] = ()
    named_files: Callable[[], tuple[str, ...]] = tuple
    in_named_file: Callable[[Cloud], bool] = lambda _: False


@dataclass(frozen=True, slots=True)
class Limits:
    """The vendor's limits. Zeros and empty tuples set no limit.

    `architectures`: those of nodes; `security_groups`: the most for one node; `disk_gib`: the largest data disk of a
    node in GiB; `network_prefixes`: the shortest and the longest prefix of a network; `subnet_prefix`: the shortest
    prefix of a subnet.
    """

    architectures: tuple[str, ...] = ()
    security_groups: int = 0
    disk_gib: int = 0
    network_prefixes: tuple[int, int] = (0, 32)
    subnet_prefix: int = 0


@dataclass(frozen=True, slots=True)
class Reserved:
    """A range that no part of a landing zone may overlap: its purpose on the vendor's cloud, and the source."""

    range: IPv4Network
    what: str
    source: str


@dataclass(frozen=True, slots=True)
class Balancers:
    """How a Service uses a load balancer that the landing zone created.

    `annotation` is the annotation that names it. `annotations` returns further ones, so that the cloud controller uses
    the balancer unchanged; its argument is whether the balancer is public. `controller_labels` are labels that the
    controller writes on the Service.
    """

    annotation: str
    annotations: Callable[[bool], Mapping[str, str]] = lambda _public: {}
    controller_labels: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Volumes:
    """The storage class of a cluster that a landing zone created: its CSI driver and the driver's parameters.

    `parameters` takes the cloud, whether SM cryptography is required, and the identifier of the landing zone's key (a
    `pulumi.Input`). `encrypted_by` names a parameter whose presence means that volumes are encrypted; empty: a
    parameter says so explicitly.
    """

    driver: str
    parameters: Callable[[Cloud, bool, Any], dict[str, Any]]
    encrypted_by: str = ""


@dataclass(frozen=True, slots=True)
class Fault:
    """A problem in a Cloud document: its path, message and expected value; `on_key`: it is about the field's name."""

    path: tuple[str | int, ...]
    message: str
    expected: str
    on_key: bool = False


def _no_faults(_city: City | None, _cloud: Cloud) -> Iterator[Fault]:
    return iter(())


@dataclass(frozen=True, slots=True)
class Vendor:
    """A vendor. `provider` is the folder's name, the provider in a Cloud document, and the name of the Pulumi package.

    `title` is the name for people. `zonal_subnets`: a subnet belongs to one availability zone. `pod_subnets`: pods have
    subnets of their own in the pod range. `sm_keys` is the specification of SM keys, empty if there are none.
    `no_access_list` says why a landing zone cannot restrict a public API by an access list; empty: it can. `check`
    yields the problems of a Cloud document that make a landing zone impossible; the city may be missing. `pool_label`
    is the node label with the name of the vendor's node pool; empty: there is none. `import_examples` are arguments of
    `wecityctl import PROVIDER`.
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
        """The full name of a module in the vendor's folder."""
        return f"{PACKAGE}.{self.provider}.{name}"


@cache
def vendors() -> Mapping[str, Vendor]:
    """All vendors by provider, sorted by name. Imports the `__init__` of each folder, but no SDK."""
    folders = import_module(PACKAGE).__path__
    names = sorted(item.name for item in pkgutil.iter_modules(folders) if item.ispkg)
    return MappingProxyType({name: import_module(f"{PACKAGE}.{name}").VENDOR for name in names})


def providers() -> tuple[str, ...]:
    """All values that `provider` of a Cloud document may have."""
    return ("local", "kubernetes", *vendors())
