"""The persistent state of an embedded cloud: directories, state file, locks.

State is in `$XDG_STATE_HOME/wecityctl/clouds/<name>`, sockets in a short runtime directory. Starts and stops nothing.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import secrets
import stat
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from wecityctl import paths
from wecityctl.errors import ConfigurationError, WecityError
from wecityctl.filelock import hold
from wecityctl.local.spec import CloudSpec, NodeKind, PoolSpec, check_name

FORMAT_VERSION = 1


class StateError(WecityError):
    """A cloud's state file cannot be read, or was written by a newer wecityctl."""


@dataclass(frozen=True, slots=True)
class CloudState:
    """The content of a cloud's state file. `cloud_id` never changes; `network` is the node driver's own text.

    `directory` is where the file was written. If it is read elsewhere, the cloud was moved or copied.
    """

    spec: CloudSpec
    cloud_id: str
    created: float
    ports: Mapping[str, int] = field(default_factory=dict)
    network: str = ""
    addresses: Mapping[str, str] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)
    server: str = ""
    cluster_uid: str = ""
    directory: str = field(default="", compare=False)

    def to_json(self) -> dict[str, Any]:
        pools = [_pool_json(pool) for pool in self.spec.pools]
        spec = {"name": self.spec.name, "nodes": self.spec.nodes, "zones": self.spec.zones, "pools": pools}
        if self.spec.owner:
            spec["owner"] = self.spec.owner
        return {
            "format_version": FORMAT_VERSION,
            "spec": spec,
            "cloud_id": self.cloud_id,
            "created": self.created,
            "ports": dict(self.ports),
            "network": self.network,
            "addresses": dict(self.addresses),
            "versions": dict(self.versions),
            "server": self.server,
            "cluster_uid": self.cluster_uid,
            "directory": self.directory,
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> CloudState:
        if value["format_version"] != FORMAT_VERSION:
            raise StateError(
                f"the cloud's state has format {value['format_version']}, this wecityctl knows {FORMAT_VERSION}",
                resolution="use the wecityctl that made it, or: wecityctl local reset",
            )
        spec = value["spec"]
        pools = tuple(PoolSpec(**{**pool, "zones": tuple(pool["zones"])}) for pool in spec["pools"])
        nodes: NodeKind = "real" if spec["nodes"] == "real" else "simulated"
        names = ("cloud_id", "created", "ports", "network", "addresses", "versions", "server", "cluster_uid")
        return cls(
            spec=CloudSpec(spec["name"], nodes, tuple(spec["zones"]), pools, owner=str(spec.get("owner", ""))),
            **{name: value[name] for name in names},
            directory=str(value.get("directory", "")),
        )


@dataclass(frozen=True, slots=True)
class Store:
    """The directories of the cloud `name`."""

    name: str
    directory: Path

    @classmethod
    def of(cls, name: str) -> Store:
        """The directories of cloud `name` of this user, whether it exists or not."""
        return cls(check_name(name), clouds_dir() / name)

    @property
    def pki(self) -> Path:
        return self.directory / "pki"

    @property
    def conf(self) -> Path:
        return self.directory / "conf"

    @property
    def logs(self) -> Path:
        return self.directory / "logs"

    @property
    def etcd(self) -> Path:
        return self.directory / "etcd"

    @property
    def kubeconfig(self) -> Path:
        return self.directory / "kubeconfig"

    def create(self) -> None:
        """Create the directories, accessible only to their owner."""
        for path in (self.directory, self.pki, self.conf, self.logs, self.etcd):
            paths.private_dir(path)

    def load(self) -> CloudState | None:
        """The state; `None` if there is no such cloud."""
        path = self.directory / "cloud.json"
        try:
            return CloudState.from_json(json.loads(path.read_text()))
        except FileNotFoundError:
            return None
        except (ValueError, KeyError, TypeError) as error:
            raise StateError(
                f"the state of cloud {self.name} cannot be read",
                details=f"{path}: {error!r}",
                resolution=f"wecityctl local reset --name {self.name} --confirm={self.name}",
            ) from error

    def save(self, state: CloudState) -> None:
        state = replace(state, directory=str(self.directory.resolve()))
        paths.write_private(self.directory / "cloud.json", json.dumps(state.to_json(), indent=2).encode())

    def require_own(self) -> None:
        """Raise `ConfigurationError` if this is a copy of a cloud whose original still exists.

        Both would be the same cluster, with the same ports, certificates and network.
        """
        state = self.load()
        original = Path(state.directory) if state is not None and state.directory else self.directory
        if state is None or not is_elsewhere(original, self.directory):
            return
        there = Store(self.name, original).load()
        if there is None or there.cloud_id != state.cloud_id:
            return
        home = original.parents[2]
        raise ConfigurationError(
            f"cloud {self.name} in {self.directory} is a copy of the one in {original}, which is still there",
            details="both would be the same cluster with the same ports; the original is left alone",
            resolution=f"work with the original: XDG_STATE_HOME={home}; or forget the copy, so that `up` makes a new "
            f"cloud here: wecityctl local reset --name {self.name} --confirm={self.name}",
        )

    def require_owner(self, owner: str) -> None:
        """Raise `ConfigurationError` if the cloud exists and belongs to another than `owner`; empty: to whomever."""
        state = self.load()
        found = state.spec.owner if state is not None else ""
        if owner and found and owner != found:
            raise ConfigurationError(
                f"embedded cloud {self.name} is {found}, and not {owner}",
                resolution="give the City or the Cloud another name",
            )

    @contextlib.contextmanager
    def lock(self, timeout: float, waiting: Any = None) -> Iterator[None]:
        """Hold the cloud's lock against other commands. `waiting` is called once if another process holds it."""
        paths.private_dir(clouds_dir())
        with _locked(clouds_dir() / f".{self.name}.lock", timeout, waiting, f"cloud {self.name}"):
            yield


def _pool_json(pool: PoolSpec) -> dict[str, Any]:
    # Not `asdict`, which cannot copy the read-only mappings of a city's model.
    values = {each.name: getattr(pool, each.name) for each in fields(pool)}
    return {**values, "labels": dict(pool.labels), "accelerators": dict(pool.accelerators)}


def new_state(spec: CloudSpec) -> CloudState:
    """The state of a new cloud."""
    return CloudState(kept(spec), secrets.token_hex(4), time.time())


def kept(spec: CloudSpec) -> CloudSpec:
    """The part of a spec that is kept in the state: all but the images."""
    return replace(spec, images=())


def is_elsewhere(recorded: Path, directory: Path) -> bool:
    """Whether `recorded` exists and is not the same directory as `directory`, comparing identities and not paths."""
    try:
        return recorded.is_dir() and not recorded.samefile(directory)
    except OSError:
        return False


def clouds_dir() -> Path:
    """The directory of this user's clouds."""
    return paths.state_dir() / "clouds"


def names() -> tuple[str, ...]:
    """The names of this user's clouds, running or not."""
    if not clouds_dir().is_dir():
        return ()
    return tuple(sorted(path.name for path in clouds_dir().iterdir() if (path / "cloud.json").is_file()))


@contextlib.contextmanager
def allocation_lock() -> Iterator[None]:
    """Hold the lock for choosing ports and address blocks, so that two clouds never choose the same."""
    paths.private_dir(clouds_dir())
    with _locked(clouds_dir() / ".allocation.lock", 60.0, None, "the list of clouds"):
        yield


def run_path(directory: Path) -> Path:
    """The runtime directory of the cloud in `directory`. It is short, because a socket's path has at most 107 bytes."""
    return _run_base() / hashlib.sha256(str(directory).encode()).hexdigest()[:12]


def run_dir(directory: Path) -> Path:
    """Create the runtime directory of the cloud in `directory` with mode 0700.

    Raises `ConfigurationError` if it belongs to somebody else.
    """
    path = run_path(directory)
    for each in (path.parent, path):
        each.mkdir(mode=0o700, exist_ok=True)
        status = each.lstat()
        if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.getuid():
            raise ConfigurationError(
                f"{each} is not a directory of ours", resolution="remove it, or set XDG_RUNTIME_DIR"
            )
        each.chmod(0o700)
    return path


def _run_base() -> Path:
    if os.getuid() == 0 and os.access("/run", os.W_OK):
        return Path("/run/wecityctl")
    runtime = os.environ.get("XDG_RUNTIME_DIR", "")
    if runtime.startswith("/") and len(runtime) < 50 and os.access(runtime, os.W_OK):
        return Path(runtime) / "wecityctl"
    return Path(tempfile.gettempdir() if len(tempfile.gettempdir()) < 50 else "/tmp") / f"wecityctl-{os.getuid()}"  # noqa: S108 - owner and mode are checked


@contextlib.contextmanager
def _locked(path: Path, timeout: float, waiting: Any, what: str) -> Iterator[None]:
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    told = False

    def tell() -> None:
        nonlocal told
        if not told and waiting is not None:
            waiting()
        told = True

    try:
        hold(descriptor, seconds=timeout, what=what, waiting=tell)
        yield
    finally:
        os.close(descriptor)
