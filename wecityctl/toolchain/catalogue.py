"""The catalogue of parts of the engine and of the embedded cloud: pinned versions, programs and download URLs.

The versions are also in the go.mod files under toolchain/modules; a test compares them.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from types import MappingProxyType

from wecityctl.errors import ConfigurationError
from wecityctl.guesses import nearest
from wecityctl.model.vendors import vendors
from wecityctl.toolchain.model import Artifact, Binary, CBuild, Part, Platform, SystemPart, VersionRange

PULUMI_VERSION = "v3.259.0"
KUBERNETES_VERSION = "v1.36.3"
ETCD_VERSION = "v3.6.16"
KWOK_VERSION = "v0.8.0"
CONTAINERD_VERSION = "v2.2.0"
RUNC_VERSION = "v1.4.3"
COREDNS_VERSION = "v1.14.7"
METRICS_SERVER_VERSION = "v0.7.2"
KUBERNETES_PLUGIN_VERSION = "v4.34.2"

KUBERNETES_PLUGIN = "kubernetes-plugin"
KUBERNETES_PLUGIN_BINARY = "pulumi-resource-kubernetes"
KUBERNETES_PLUGIN_RANGE = VersionRange("4.28.0", "5")
# A plug-in must have the version of its SDK, which the extra of the vendor's name installs.
VENDOR_VERSIONS = MappingProxyType({name: f"v{vendor.sdk.version}" for name, vendor in vendors().items()})


def _github(repository: str, version: str, file: str) -> str:
    return f"https://github.com/{repository}/releases/download/{version}/{file}"


def _pulumi(target: Platform) -> tuple[Artifact, ...]:
    # Pulumi's file names say x64 for amd64, for the engine but not for its plug-ins.
    arch = {"amd64": "x64"}.get(target.arch, target.arch)
    url = f"https://get.pulumi.com/releases/sdk/pulumi-{PULUMI_VERSION}-{target.os}-{arch}.tar.gz"
    return (Artifact(url, {"pulumi": "pulumi/pulumi"}),)


def _kubernetes_plugin(target: Platform) -> tuple[Artifact, ...]:
    file = f"{KUBERNETES_PLUGIN_BINARY}-{KUBERNETES_PLUGIN_VERSION}-{target.os}-{target.arch}.tar.gz"
    return (
        Artifact(
            f"https://get.pulumi.com/releases/plugins/{file}", {KUBERNETES_PLUGIN_BINARY: KUBERNETES_PLUGIN_BINARY}
        ),
    )


def vendor_part_name(package: str) -> str:
    """The name of the part with the plug-in of a vendor's Pulumi package."""
    return f"{package}-plugin"


def _vendor_plugin(target: Platform, package: str) -> tuple[Artifact, ...]:
    version, program = VENDOR_VERSIONS[package], f"pulumi-resource-{package}"
    file = f"{program}-{version}-{target.os}-{target.arch}.tar.gz"
    owner = vendors()[package].sdk.publisher
    url = (
        _github(f"{owner}/pulumi-{package}", version, file)
        if owner
        else f"https://get.pulumi.com/releases/plugins/{file}"
    )
    return (Artifact(url, {program: program}),)


def _kubernetes(target: Platform, names: tuple[str, ...] = ()) -> tuple[Artifact, ...]:
    # The vendor publishes servers for Linux only; on other systems they have to be built.
    if target.os != "linux":
        return ()
    base = f"https://dl.k8s.io/release/{KUBERNETES_VERSION}/bin/{target.os}/{target.arch}"
    return tuple(Artifact(f"{base}/{name}", {name: ""}) for name in names)


def _etcd(target: Platform) -> tuple[Artifact, ...]:
    if target.os != "linux":  # elsewhere the vendor packs zip files
        return ()
    directory = f"etcd-{ETCD_VERSION}-{target.os}-{target.arch}"
    return (Artifact(_github("etcd-io/etcd", ETCD_VERSION, f"{directory}.tar.gz"), {"etcd": f"{directory}/etcd"}),)


def _kwok(target: Platform) -> tuple[Artifact, ...]:
    return (Artifact(_github("kubernetes-sigs/kwok", KWOK_VERSION, f"kwok-{target.os}-{target.arch}"), {"kwok": ""}),)


def _containerd(target: Platform) -> tuple[Artifact, ...]:
    file = f"containerd-{CONTAINERD_VERSION.removeprefix('v')}-{target.os}-{target.arch}.tar.gz"
    members = {name: f"bin/{name}" for name in ("containerd", "containerd-shim-runc-v2", "ctr")}
    return (Artifact(_github("containerd/containerd", CONTAINERD_VERSION, file), members),)


def _runc(target: Platform) -> tuple[Artifact, ...]:
    if target.os != "linux":
        return ()
    return (Artifact(_github("opencontainers/runc", RUNC_VERSION, f"runc.{target.arch}"), {"runc": ""}),)


def _coredns(target: Platform) -> tuple[Artifact, ...]:
    file = f"coredns_{COREDNS_VERSION.removeprefix('v')}_{target.os}_{target.arch}.tgz"
    return (Artifact(_github("coredns/coredns", COREDNS_VERSION, file), {"coredns": "coredns"}),)


_KUBERNETES_NAMES = (
    "kube-apiserver",
    "kube-controller-manager",
    "kube-scheduler",
    "kubectl",
    "kubelet",
    "kube-proxy",
)


def _kubernetes_binary(name: str) -> Binary:
    arguments = ("version", "--client") if name == "kubectl" else ("--version",)
    package = f"k8s.io/kubernetes/cmd/{name}"
    return Binary(name, package, arguments, linux_only=name in {"kubelet", "kube-proxy"})


def _kubernetes_stamps() -> dict[str, str]:
    major, minor, _ = KUBERNETES_VERSION.removeprefix("v").split(".")
    values = {"gitVersion": KUBERNETES_VERSION, "gitMajor": major, "gitMinor": minor, "gitTreeState": "clean"}
    packages = ("k8s.io/component-base/version", "k8s.io/client-go/pkg/version")
    return {f"{package}.{name}": value for package in packages for name, value in values.items()}


_CONTAINERD = "github.com/containerd/containerd/v2"

PARTS: tuple[Part, ...] = (
    Part(
        "pulumi",
        PULUMI_VERSION,
        (Binary("pulumi", "github.com/pulumi/pulumi/pkg/v3/cmd/pulumi", ("version",)),),
        accepts=VersionRange("3.259.0", "4"),
        # Without its version, the engine's preview fails on an empty string.
        linker_values=MappingProxyType({"github.com/pulumi/pulumi/sdk/v3/go/common/version.Version": PULUMI_VERSION}),
        artifacts=_pulumi,
        revision=1,  # built without the dictionaries of a password strength library
    ),
    Part(
        "kubernetes",
        KUBERNETES_VERSION,
        tuple(_kubernetes_binary(name) for name in _KUBERNETES_NAMES),
        accepts=VersionRange("1.36.0", "1.37"),
        linker_values=MappingProxyType(_kubernetes_stamps()),
        artifacts=partial(_kubernetes, names=_KUBERNETES_NAMES),
    ),
    Part(
        "etcd",
        ETCD_VERSION,
        (Binary("etcd", "go.etcd.io/etcd/server/v3"),),
        accepts=VersionRange("3.6.0", "3.7"),
        artifacts=_etcd,
    ),
    Part(
        "kwok",
        KWOK_VERSION,
        (Binary("kwok", "sigs.k8s.io/kwok/cmd/kwok"),),
        accepts=VersionRange("0.8.0", "0.9"),
        linker_values=MappingProxyType({"sigs.k8s.io/kwok/pkg/consts.Version": KWOK_VERSION}),
        artifacts=_kwok,
    ),
    Part(
        "containerd",
        CONTAINERD_VERSION,
        (
            Binary("containerd", f"{_CONTAINERD}/cmd/containerd"),
            Binary("containerd-shim-runc-v2", f"{_CONTAINERD}/cmd/containerd-shim-runc-v2", ("-v",)),
            Binary("ctr", f"{_CONTAINERD}/cmd/ctr"),
        ),
        # Debian's 1.6 does not support the CRI version that the kubelet requires.
        accepts=VersionRange("2.2.0", "3"),
        linker_values=MappingProxyType({f"{_CONTAINERD}/version.Version": CONTAINERD_VERSION}),
        artifacts=_containerd,
        linux_only=True,
    ),
    Part(
        "runc",
        RUNC_VERSION,
        (Binary("runc", "github.com/opencontainers/runc"),),
        # User namespaces for pods need at least 1.2; Debian 12 has 1.1.5.
        accepts=VersionRange("1.4.0", "1.5"),
        artifacts=_runc,
        linux_only=True,
        c_build=CBuild(
            # `seccomp` is required for the seccomp profiles of pods. The last two disable glibc's lookups of users and
            # host names, which a static program cannot use. The static build of upstream has the same four tags.
            tags=("seccomp", "urfave_cli_no_docs", "netgo", "osusergo"),
            libraries=("libseccomp",),
            packages=("gcc", "libc6-dev", "pkg-config", "libseccomp-dev"),
        ),
    ),
    Part(
        "coredns",
        COREDNS_VERSION,
        (Binary("coredns", "github.com/coredns/coredns", ("-version",)),),
        accepts=VersionRange("1.14.0", "1.15"),
        artifacts=_coredns,
    ),
    Part(
        "metrics-server",
        METRICS_SERVER_VERSION,
        (Binary("metrics-server", "sigs.k8s.io/metrics-server/cmd/metrics-server"),),
        accepts=VersionRange("0.7.0", "0.9"),
        linker_values=MappingProxyType({"k8s.io/client-go/pkg/version.gitVersion": METRICS_SERVER_VERSION}),
    ),
    Part(
        KUBERNETES_PLUGIN,
        KUBERNETES_PLUGIN_VERSION,
        # The plug-in's command line is reserved for the engine's protocol: it has no version flag. Its directory names
        # it.
        (Binary(KUBERNETES_PLUGIN_BINARY, version_arguments=()),),
        artifacts=_kubernetes_plugin,
        buildable=False,
        optional=True,
    ),
)

# Needed only by cities with a cloud of that vendor, so they are not part of a default installation.
VENDOR_PARTS: tuple[Part, ...] = tuple(
    Part(
        vendor_part_name(package),
        version,
        (Binary(f"pulumi-resource-{package}", version_arguments=()),),
        artifacts=partial(_vendor_plugin, package=package),
        buildable=False,
        optional=True,
    )
    for package, version in VENDOR_VERSIONS.items()
)

_SYSTEM_DIRECTORIES = ("/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin")

SYSTEM_PARTS: tuple[SystemPart, ...] = (
    SystemPart(
        "cni-plugins",
        ("containernetworking-plugins",),
        ("bridge", "host-local", "loopback", "portmap", "ptp"),
        ("/usr/lib/cni", "/opt/cni/bin", "/usr/libexec/cni"),
    ),
    SystemPart("nft", ("nftables",), ("nft",), _SYSTEM_DIRECTORIES),
    SystemPart("iptables", ("iptables",), ("iptables",), _SYSTEM_DIRECTORIES),
    SystemPart("conntrack", ("conntrack",), ("conntrack",), _SYSTEM_DIRECTORIES),
)


@dataclass(frozen=True, slots=True)
class Catalogue:
    """All parts, with look-up by name and by program."""

    parts: tuple[Part, ...] = PARTS
    system: tuple[SystemPart, ...] = SYSTEM_PARTS
    vendors: tuple[Part, ...] = VENDOR_PARTS

    def find(self, name: str) -> Part | SystemPart:
        """The part called `name`. Raises `ConfigurationError` with the available names."""
        everything: tuple[Part | SystemPart, ...] = (*self.parts, *self.vendors, *self.system)
        for part in everything:
            if part.name == name:
                return part
        near = nearest(name, self.names())
        raise ConfigurationError(
            f"there is no part called {name!r}",
            details="there are: " + ", ".join(self.names()),
            resolution=f"did you mean {near!r}?" if near else "`wecityctl engine status` shows them",
        )

    def owner(self, binary: str) -> Part | SystemPart:
        """The part that contains the program `binary`."""
        for part in self.parts + self.vendors:
            if any(each.name == binary for each in part.binaries):
                return part
        for system in self.system:
            if binary in system.binaries:
                return system
        raise ConfigurationError(f"no part holds a program called {binary!r}")

    def names(self) -> tuple[str, ...]:
        """The names of all parts, those of the cache first."""
        placed = tuple(part.name for part in self.parts + self.vendors)
        return placed + tuple(part.name for part in self.system)

    def default_names(self, target: Platform) -> tuple[str, ...]:
        """The parts that an installation on `target` needs: all except optional ones and, off Linux, those of the
        node.
        """
        linux = target.os == "linux"
        parts = tuple(part.name for part in self.parts if not part.optional and (linux or not part.linux_only))
        return parts + (tuple(part.name for part in self.system if not part.optional) if linux else ())
