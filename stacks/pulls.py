"""Pull secrets: the credentials of private registries in the namespaces of pods whose images come from them.

A pod names the Secrets of the registries of its own images, and the kubelet uses each for its registry only.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import partial
from typing import TYPE_CHECKING, Any

import pulumi

from wecityctl.model import naming
from wecityctl.model.registries import docker_config, pod_spec, private_registries, pull_secret, with_pod_fields

if TYPE_CHECKING:
    from stacks.objects import Manifest
    from wecityctl.inputs import StackInputs
    from wecityctl.model.city import City


def secrets_for(inputs: StackInputs, namespace: str, references: Iterable[str]) -> Iterator[Manifest]:
    """Yield the Secrets that pods with these images need in a namespace; nothing without private registries."""
    from stacks.objects import secret_value

    images = inputs.city.images
    for registry in private_registries(images, references):
        credential = secret_value(inputs, naming.registry_key(images.credentials[registry]))
        yield {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": pull_secret(registry), "namespace": namespace},
            "type": "kubernetes.io/dockerconfigjson",
            "stringData": {".dockerconfigjson": credential.apply(partial(docker_config, registry))},
        }


def with_pull_secrets(city: City, manifest: Manifest) -> Manifest:
    """The manifest with the names of the pull secrets of its pods' images, after those that it has; unchanged if they
    need none.
    """
    spec = pod_spec(manifest) if city.images.credentials else None
    if spec is None:
        return manifest
    own = list(spec.get("imagePullSecrets", ()))
    images = [item.get("image") for item in (*spec.get("initContainers", ()), *spec["containers"])]
    if all(isinstance(item, str) for item in images):
        named: Any = _named(city, images)
        return with_pod_fields(manifest, {"imagePullSecrets": own + named}) if named else manifest
    later = pulumi.Output.all(*images).apply(lambda found: own + _named(city, found))
    return with_pod_fields(manifest, {"imagePullSecrets": later})


def _named(city: City, references: Iterable[Any]) -> list[Manifest]:
    return [{"name": pull_secret(item)} for item in private_registries(city.images, map(str, references))]
