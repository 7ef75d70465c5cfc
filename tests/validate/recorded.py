"""A generated city on the path of `validate` and `render`: files, checks, plan, recorded stacks, manifests."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from tests.validate.generator import Generator
from wecityctl.engine.process.home import SDK_VERSION
from wecityctl.engine.sdk.recorder import record
from wecityctl.engine.sdk.render import manifest_of
from wecityctl.errors import ConfigurationError
from wecityctl.inputs import Cluster
from wecityctl.model.outputs import BaseOutputs, Outputs
from wecityctl.plan import Stack
from wecityctl.resource_graph import SECRET
from wecityctl.session import Session, open_session

# The namespace that stands for all of a city's: a dry run makes none.
NAMESPACE = "validated"
# The base stack is half of a small city's objects and depends on the City alone.
BASE_EVERY = 8

Manifest = dict[str, Any]


@dataclass(frozen=True)
class RecordedCity:
    """What became of one city. `refused` has the problems of one that `validate` does not pass."""

    name: str
    manifests: tuple[Manifest, ...] = ()
    refused: tuple[str, ...] = ()
    wrong: tuple[str, ...] = ()


def record_city(seed: int) -> RecordedCity:
    """The manifests of the city of this seed, or why it is refused."""
    with TemporaryDirectory() as directory:
        path = Path(directory) / "city.yaml"
        path.write_text(Generator(seed).text(), encoding="utf-8")
        return record_files(path, f"seed {seed}", with_base=seed % BASE_EVERY == 0)


def record_files(path: Path, name: str, *, with_base: bool = True) -> RecordedCity:
    """The manifests of the city at `path`, or why it is refused."""
    try:
        session = open_session(path)
    except ConfigurationError as error:
        problems = getattr(error, "problems", ())
        return RecordedCity(name, refused=tuple(map(str, problems)) or (f"{error.message}: {error.details}",))
    try:
        found = list(_manifests(session, with_base=with_base))
    except Exception as error:
        return RecordedCity(name, wrong=(f"recording fails: {type(error).__name__}: {error}",))
    counts = Counter((cloud, *identity(manifest)) for cloud, manifest in found)
    wrong = tuple(f"{' '.join(name)} is declared {count} times" for name, count in counts.items() if count > 1)
    return RecordedCity(name, tuple(manifest for _, manifest in found), wrong=wrong)


def identity(manifest: Manifest) -> tuple[str, str, str]:
    """What an object is to the API server: kind, namespace and name."""
    metadata = manifest["metadata"]
    return manifest["kind"], str(metadata.get("namespace", "")), str(metadata["name"])


def _manifests(session: Session, *, with_base: bool) -> Iterator[tuple[str, Manifest]]:
    """Every manifest with its cloud."""
    clusters = {cloud.name: Cluster.offline(cloud) for cloud in session.city.clouds}
    known: dict[str, Outputs | None] = {}
    for stack in session.plan.stacks:
        if stack.layer == "secrets":
            continue
        if stack.layer == "base" and not with_base:
            known[stack.name] = _base_outputs(session, stack)
            continue
        secrets = dict.fromkeys(stack.secrets, "redacted")
        upstream = {name: known.get(name) for name in stack.depends_on}
        recording = record(session.inputs(stack, clusters, upstream, secrets, SDK_VERSION))
        known[stack.name] = recording.outputs
        for resource in recording.resources:
            if resource.is_kubernetes_object:
                yield stack.cloud, manifest_of(resource)


def _base_outputs(session: Session, stack: Stack) -> BaseOutputs:
    cloud = session.city.cloud(stack.cloud)
    settings = cloud.kubernetes
    return BaseOutputs(cloud.name, cloud.provider, cloud.zones, settings.storage_class, settings.ingress_class, False)


def sendable(manifest: Manifest) -> Manifest:
    """The manifest in the namespace that there is; marks of secrets are replaced by a value of the field's type."""
    metadata = manifest["metadata"]
    if "namespace" in metadata:
        manifest = {**manifest, "metadata": {**metadata, "namespace": NAMESPACE}}
    if manifest["kind"] == "Secret":
        data = manifest.pop("stringData", None)
        manifest["stringData"] = {"redacted": "redacted"} if data is None or data == SECRET else data
    return manifest


def pod_of(manifest: Manifest) -> Manifest | None:
    """A pod as a controller would make it of a workload's template; `None` for what makes no pods.

    Its account and its priority class are objects that a dry run has not made.
    """
    template = manifest.get("spec", {}).get("template")
    if not isinstance(template, dict):
        return None
    spec = {
        key: value for key, value in template["spec"].items() if key not in ("serviceAccountName", "priorityClassName")
    }
    metadata = {**template["metadata"], "name": "pod", "namespace": NAMESPACE}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}
