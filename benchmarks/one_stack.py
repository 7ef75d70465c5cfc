"""Many small objects in one stack: ours with the journal, ours on the engine's own back ends, and plain Pulumi.

All three make the same ConfigMaps with the built-in provider on the same control plane, in a namespace of their own.
"""

from __future__ import annotations

import os
import resource
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pulumi

from stacks.objects import KubernetesObject, type_token
from tests.support.postgres_server import postgres_server
from tests.support.s3_server import s3_server
from wecityctl.engine.context.options import RunOptions
from wecityctl.engine.process.home import cli_environment, pulumi_home
from wecityctl.engine.run.execution import run
from wecityctl.engine.state.backend import Backend, open_backend
from wecityctl.engine.state.store_cli import CliStore
from wecityctl.engine.workers.engine import cli_path
from wecityctl.engine.workers.environment import install_launcher
from wecityctl.inputs import Cluster, Clusters, StackInputs
from wecityctl.model.city import City, Cloud, State, Zone
from wecityctl.model.naming import PROJECT
from wecityctl.plan import make_plan
from wecityctl.session import Session
from wecityctl.spec.loaded import Positions

PASSPHRASE = "PULUMI_CONFIG_PASSPHRASE"
SIZES = (300, 1200, 3000)
PARALLEL = 64


@dataclass(frozen=True)
class Measured:
    """A first `up` of one stack: seconds, and the CPU seconds of everything that it started."""

    seconds: float
    cpu: float


def make(cluster: Cluster, name: str, count: int) -> None:
    """Register a namespace and `count` ConfigMaps in it."""
    import pulumi_kubernetes as k8s

    provider = k8s.Provider(
        "cluster",
        k8s.ProviderArgs(
            kubeconfig=pulumi.Output.secret(cluster.kubeconfig),
            cluster_identifier=cluster.identifier,
            context=cluster.context or None,
            enable_config_map_mutable=True,
        ),
    )
    options = pulumi.ResourceOptions(provider=provider)
    manifest: dict[str, Any] = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}
    space = KubernetesObject(type_token(manifest), name, manifest, options)
    below = pulumi.ResourceOptions(provider=provider, depends_on=[space])
    for number in range(count):
        metadata = {"name": f"item-{number}", "namespace": name, "labels": {"app.kubernetes.io/part-of": name}}
        manifest = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {"text": f"text {number}"}}
        KubernetesObject(type_token(manifest), f"item-{number}", manifest, below)


def program(inputs: StackInputs) -> dict[str, Any]:
    """The base stack of a city that is nothing but that one stack."""
    stack = inputs.stack
    if stack.layer != "base":
        return {"domain": inputs.city.domain, "hosts": [], "node_port": 0, "simulated": True}
    assert inputs.cluster is not None
    make(inputs.cluster, inputs.city.name, int(inputs.city.labels["count"]))
    zones = [zone.name for zone in inputs.city.zones]
    names = {"cloud": stack.cloud, "provider": "local", "storage_class": "", "ingress_class": ""}
    return {**names, "zones": zones, "simulated": True}


def ours(directory: Path, cluster: Cluster, name: str, count: int, *, journal: bool, url: str = "") -> Measured:
    """A first `up` of ours, its two other stacks included; without `journal` on the engine's own back end.

    States go to `url`, or into the directory.
    """
    root = directory / name
    root.mkdir()
    city = City(
        name,
        "bench.example",
        (Zone("internet", "internet"),),
        (Cloud(cluster.cloud, "local", ("internet",)),),
        (),
        (),
        (),
        state=State(url or f"file://{root}"),
        labels={"count": str(count)},
    )
    options = RunOptions(
        "up", provider="builtin", program="benchmarks.one_stack:program", resource_parallelism=PARALLEL
    )
    with _passphrase():
        backend = open_backend(city)
        if not journal:
            backend = _without_journal(backend)
        with _measured() as found:
            session = Session(root, city, {}, make_plan(city, {}), {}, Positions({}))
            result = run(session, options, Clusters({cluster.cloud: cluster}), backend, lambda event: None)
    if result.exit_code:
        raise RuntimeError(f"{name}: {[item.errors for item in result.results]}")
    return found[0]


def plain(directory: Path, cluster: Cluster, name: str, count: int) -> Measured:
    """The same stack by Pulumi's Automation API with Pulumi's file back end and the same provider."""
    from pulumi import automation

    install_launcher()
    state = directory / f"{name}-state"
    state.mkdir()
    os.environ["PATH"] = f"{cli_path().parent}{os.pathsep}{os.environ['PATH']}"
    options = automation.LocalWorkspaceOptions(
        pulumi_home=str(pulumi_home()),
        secrets_provider="passphrase",
        env_vars={
            "PULUMI_BACKEND_URL": f"file://{state}",
            PASSPHRASE: "bench",
            "PULUMI_SKIP_UPDATE_CHECK": "true",
            "PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION": "true",
        },
    )
    with _measured() as found:
        stack = automation.create_stack(
            name, project_name=PROJECT, program=lambda: make(cluster, name, count), opts=options
        )
        stack.up(parallel=PARALLEL)
    return found[0]


@contextmanager
def _measured() -> Iterator[list[Measured]]:
    found: list[Measured] = []
    began, before = time.monotonic(), _cpu()
    yield found
    found.append(Measured(time.monotonic() - began, _cpu() - before))


def _cpu() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


@contextmanager
def _passphrase() -> Iterator[None]:
    os.environ[PASSPHRASE] = "bench"
    try:
        yield
    finally:
        del os.environ[PASSPHRASE]


def _without_journal(backend: Backend) -> Backend:
    url = backend.store.url
    environment = cli_environment(url, {PASSPHRASE: "bench"})
    return replace(backend, store=CliStore(cli_path(), url, environment, "passphrase"))


@contextmanager
def servers(directory: Path) -> Iterator[dict[str, str]]:
    """An S3 server and a PostgreSQL server: for each the URL of a state in it."""
    with s3_server(directory / "s3", "states") as s3, postgres_server() as postgres:
        before = dict(os.environ)
        os.environ.update(s3.environment)
        try:
            yield {"S3": s3.url("states"), "PostgreSQL": postgres.url("states")}
        finally:
            os.environ.clear()
            os.environ.update(before)
