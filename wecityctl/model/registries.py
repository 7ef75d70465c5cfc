"""Image references, the registries that serve them, and what pods need to pull from private ones. Pure functions."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from wecityctl.model import naming

if TYPE_CHECKING:
    from wecityctl.model.catalogue import Catalogue
    from wecityctl.model.city import App, City, Images

CATALOGUE_PREFIX = "catalogue:"
_RECORDED_PREFIX = "recorded:"
DOCKER_HUB = "docker.io"
# The key of Docker Hub in a Docker configuration, by which kubelets find its credential.
_DOCKER_HUB_KEY = "https://index.docker.io/v1/"
# No app, component, use or capability has a dot in its name, so that no other Secret is named like this.
PULL_SECRET_PREFIX = "pull."  # noqa: S105 - a name
# The ends of a pod's fields that refer to a Secret by `name`: secret, secretRef, secretKeyRef, nodePublishSecretRef.
_REFERENCES = ("secret", "secretref", "secretkeyref")
# API version and kind of what runs pods.
POD_KINDS = (
    ("v1", "Pod"),
    ("apps/v1", "Deployment"),
    ("apps/v1", "StatefulSet"),
    ("apps/v1", "DaemonSet"),
    ("batch/v1", "Job"),
    ("batch/v1", "CronJob"),
)
# From an object to the metadata and spec of its pods, where that is not spec.template.
_WAYS_TO_PODS: Mapping[str, tuple[str, ...]] = {"Pod": (), "CronJob": ("spec", "jobTemplate", "spec", "template")}


def resolve_image(image: str, catalogue: Mapping[str, str], registry: str) -> str:
    """The reference of an app's image: a catalogue image by name, or a public image through the city's registry.

    One that was recorded as it was resolved (`recorded_image`) stays so.
    """
    if image.startswith(_RECORDED_PREFIX):
        return image.removeprefix(_RECORDED_PREFIX)
    if image.startswith(CATALOGUE_PREFIX):
        return str(catalogue[image.removeprefix(CATALOGUE_PREFIX)])
    if not registry or (is_in_cluster(registry) and registry_of(image) == registry_of(f"{registry}/")):
        return image
    first, _, rest = image.partition("/")
    return f"{registry.rstrip('/')}/{rest if rest and _is_host(first) else image}"


def recorded_image(image: str, catalogue: Mapping[str, str]) -> str:
    """The image as the record of a release keeps it: later, a catalogue image of this name may be another one."""
    if image.startswith(CATALOGUE_PREFIX):
        return _RECORDED_PREFIX + resolve_image(image, catalogue, "")
    return image


def is_in_cluster(registry: str) -> bool:
    """Whether the host of a registry is a Service of a cluster: the city's own registry."""
    return registry_of(f"{registry}/").partition(":")[0].endswith((".svc", ".svc.cluster.local"))


def is_of_catalogue(image: str) -> bool:
    """Whether the image is, or was when it was recorded, one of the catalogue."""
    return image.startswith((CATALOGUE_PREFIX, _RECORDED_PREFIX))


def registry_of(reference: str) -> str:
    """The host and port of the registry that serves a full reference; Docker Hub where it names none."""
    first, slash, _ = reference.partition("/")
    host = first if slash and _is_host(first) else DOCKER_HUB
    return DOCKER_HUB if host in ("index.docker.io", "registry-1.docker.io") else host


def _is_host(text: str) -> bool:
    return "." in text or ":" in text or text == "localhost"


def private_registries(images: Images, references: Iterable[str]) -> Iterator[str]:
    """Yield the registries of these images that the city has credentials for, each once, in order."""
    yield from sorted({registry_of(item) for item in references} & set(images.credentials))


def pull_secret(registry: str) -> str:
    """The name of the Secret with a registry's credential, in each namespace that needs it."""
    return PULL_SECRET_PREFIX + registry.replace(":", ".")


def use_pull_secrets(app: App, city: City, catalogue: Catalogue) -> tuple[str, ...]:
    """The names of the Secrets with which nodes pull the app's images from registries of the city that it uses."""
    kinds = {use.alias: catalogue[city.capability(use.capability).type].binding for use in app.uses}
    return tuple(
        naming.use_pull_secret(app.name, alias)
        for alias, binding in kinds.items()
        if binding is not None and binding.docker_config
    )


def docker_config(registry: str, credential: str) -> str:
    """A Docker configuration with the credential `USER:PASSWORD` of one registry, as Secrets of its type have it."""
    user, _, password = credential.partition(":")
    key = _DOCKER_HUB_KEY if registry == DOCKER_HUB else registry
    both = base64.b64encode(credential.encode()).decode()
    return json.dumps({"auths": {key: {"username": user, "password": password, "auth": both}}})


def is_credential(text: str) -> bool:
    """Whether the text is `USER:PASSWORD` in one line."""
    user, colon, password = text.partition(":")
    return bool(user and colon and password) and text.isprintable()


def pod_template(manifest: Mapping[str, Any]) -> dict[str, Any] | None:
    """What has the metadata and the spec of an object's pods, for a Pod itself; `None` if it runs none."""
    found: Any = manifest
    for key in _WAYS_TO_PODS.get(str(manifest.get("kind")), ("spec", "template")):
        found = found.get(key) if isinstance(found, Mapping) else None
    spec = found.get("spec") if isinstance(found, dict) else None
    return found if isinstance(spec, dict) and "containers" in spec else None


def pod_spec(manifest: Mapping[str, Any]) -> dict[str, Any] | None:
    """The pod spec in an object that runs pods; `None` for any other object."""
    template = pod_template(manifest)
    return template["spec"] if template is not None else None


def with_pod_fields(manifest: Mapping[str, Any], fields: Mapping[str, Any]) -> dict[str, Any]:
    """A copy of an object that runs pods, with these fields in its pod spec."""

    def changed(value: Mapping[str, Any], way: Sequence[str]) -> dict[str, Any]:
        return {**value, way[0]: changed(value[way[0]], way[1:])} if way else {**value, **fields}

    return changed(manifest, (*_WAYS_TO_PODS.get(str(manifest.get("kind")), ("spec", "template")), "spec"))


def images_in(spec: Mapping[str, Any]) -> Iterator[str]:
    """Yield the images of a pod spec that are plain strings."""
    for container in (*spec.get("initContainers", ()), *spec.get("containers", ())):
        if isinstance(container.get("image"), str):
            yield container["image"]


def secrets_read(spec: Any) -> Iterator[str]:
    """Yield the names of the Secrets that a pod with this spec, or its volumes' drivers, are given the content of.

    Those under `imagePullSecrets` are for the kubelet.
    """
    if isinstance(spec, list | tuple):
        for item in spec:
            yield from secrets_read(item)
    elif isinstance(spec, Mapping):
        for key, item in spec.items():
            if key == "imagePullSecrets":
                continue
            name = item.get("name") if isinstance(item, Mapping) and key.lower().endswith(_REFERENCES) else None
            yield from (found for found in (name, item if key == "secretName" else None) if isinstance(found, str))
            yield from secrets_read(item)
