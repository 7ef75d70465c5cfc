"""`local`: starts, stops, describes and resets embedded clouds by their names on this machine."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from wecityctl.errors import ConfigurationError, WecityError
from wecityctl.local.spec import CloudSpec, CloudStatus, LocalEvent, PoolSpec, RunningCloud
from wecityctl.model.events import Diagnostic
from wecityctl.toolchain import PartEvent

if TYPE_CHECKING:
    from wecityctl.oci import ImageEvent

__all__ = ["CloudEvent", "CloudStatus", "LocalEvent", "RunningCloud", "StartOptions"]

DEFAULT_NAME = "default"
CloudEvent = LocalEvent | PartEvent | Diagnostic
Nodes = Literal["auto", "real", "simulated"]


@dataclass(frozen=True, slots=True, kw_only=True)
class StartOptions:
    """`name` is the cloud's; empty for the only one, or for a first one. `nodes` is the kind of a new cloud's nodes;
    `auto`: real where this machine can. `timeout` is in seconds.
    """

    name: str = ""
    nodes: Nodes = "auto"
    timeout: float = 120.0


@dataclass(frozen=True, slots=True)
class ResetCloud:
    """A cloud that was deleted. `context_removed_from` is the kubeconfig that had its context; `problem` says why that
    could not be changed.
    """

    name: str
    context_removed_from: Path | None = None
    problem: str = ""


def start_cloud(options: StartOptions, emit: Callable[[CloudEvent | ImageEvent], None]) -> RunningCloud:
    """Start an embedded cloud with the programs and images that it needs; changes nothing if it runs.

    An existing cloud starts as it was; a new one gets one pool of three nodes. Raises `ConfigurationError` if the name
    is ambiguous or the cloud has nodes of the other kind, and what `wecityctl.local.cloud.start` does.
    """
    from wecityctl.local import cloud

    spec = _spec(options, emit)
    _provide(spec, emit)
    return cloud.start(spec, emit, timeout=options.timeout)


def stop_cloud(name: str, emit: Callable[[LocalEvent], None]) -> bool:
    """Stop an embedded cloud and keep its data; return whether it ran."""
    from wecityctl.local import cloud

    return cloud.stop(name, emit)


def cloud_names() -> tuple[str, ...]:
    """Return the names of this user's embedded clouds."""
    from wecityctl.local import store

    return store.names()


def describe_clouds(name: str = "") -> tuple[CloudStatus, ...]:
    """Return the status of the named embedded cloud, or of all."""
    from wecityctl.local import cloud

    return tuple(cloud.status(each) for each in ((name,) if name else cloud.names()))


def kubeconfig_of(name: str) -> str:
    """Return the admin's kubeconfig of an embedded cloud, which is a secret."""
    from wecityctl.local import cloud

    return cloud.kubeconfig(existing_cloud(name))


def merge_kubeconfig(text: str, file: Path | None) -> tuple[Path, str]:
    """Add the context of a kubeconfig to `file`, by default the user's own; return that file and the context's name."""
    from wecityctl.local import kubeconfig

    target = file or kubeconfig.user_file(os.environ)
    return target, kubeconfig.merge(text, target)


def reset_cloud(name: str, emit: Callable[[LocalEvent], None]) -> ResetCloud:
    """Stop an embedded cloud and delete all its data, and its context in the user's kubeconfig."""
    from wecityctl.local import cloud, kubeconfig

    cloud.reset(name, emit)
    target = kubeconfig.user_file(os.environ)
    try:
        removed = kubeconfig.unmerge(name, target)
    except WecityError as error:
        # The file is the user's; the cloud is gone whatever state that is in.
        return ResetCloud(name, problem=error.message)
    return ResetCloud(name, target if removed else None)


def existing_cloud(name: str, *, damaged: bool = False) -> str:
    """Return `name`, or the name of the only cloud. `damaged`: also accept a cloud whose state cannot be read.

    Raises `ConfigurationError` if there is none or if there are several.
    """
    from wecityctl.local import store

    if name:
        return store.Store.of(name).name
    known = store.names()
    if damaged and not known and store.clouds_dir().is_dir():
        known = tuple(sorted(path.name for path in store.clouds_dir().iterdir() if path.is_dir()))
    if len(known) == 1:
        return known[0]
    if not known:
        raise ConfigurationError("there is no embedded cloud", resolution="wecityctl local start")
    raise ConfigurationError("there are several embedded clouds", details=", ".join(known), resolution="give --name")


def _spec(options: StartOptions, emit: Callable[[CloudEvent], None]) -> CloudSpec:
    """Return the specification of the existing cloud, or that of a new one of the requested kind."""
    from wecityctl.local import store

    known = store.names()
    chosen = options.name or (known[0] if len(known) == 1 else DEFAULT_NAME)
    if not options.name and len(known) > 1:
        existing_cloud("")
    state = store.Store.of(chosen).load()
    if state is not None:
        if options.nodes not in ("auto", state.spec.nodes):
            raise ConfigurationError(
                f"cloud {chosen} was made with {state.spec.nodes} nodes",
                resolution=f"to begin anew: wecityctl local reset --name {chosen} --confirm={chosen}",
            )
        return state.spec
    real = options.nodes == "real" or (options.nodes == "auto" and _can_be_real(emit))
    return CloudSpec(chosen, "real" if real else "simulated", (), (PoolSpec("general"),))


def _can_be_real(emit: Callable[[CloudEvent], None]) -> bool:
    from wecityctl.local.drivers import node_driver

    try:
        node_driver().check()
    except WecityError as error:
        emit(Diagnostic("", "info", f"nodes are simulated: {error.message}"))
        return False
    return True


def _provide(spec: CloudSpec, emit: Callable[[CloudEvent | ImageEvent], None]) -> None:
    """Install the programs and images that the cloud needs; nothing is emitted on programs if all are there."""
    from wecityctl import toolchain
    from wecityctl.clusters import embedded

    kind = embedded.SIMULATED_NODE_PARTS if spec.simulated else embedded.REAL_NODE_PARTS
    wanted = embedded.CONTROL_PLANE_PARTS + kind
    if any(each.part in wanted and each.state != "ok" for each in toolchain.status(hashed=False)):
        toolchain.ensure(wanted, emit)
    if not spec.simulated:
        from wecityctl import oci

        oci.ensure(sorted(embedded.NODE_IMAGES), emit)
