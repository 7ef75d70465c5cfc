"""Rendered manifests judged by a real API server with strict field validation, for both sources of images.

Upstream images cannot be pulled in a closed network; that their manifests are the same but for the references, and that
the API server takes every one of them, is what can be shown everywhere.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.control_plane import ControlPlane
from wecityctl import oci
from wecityctl.kube.client import KubeClient
from wecityctl.kube.config import load_access
from wecityctl.kube.transport import HttpPool
from wecityctl.model.city import Images, ImageSource
from wecityctl.operations.render import render
from wecityctl.session import Session, open_session

EXAMPLE = Path(__file__).parents[2] / "examples" / "xingcheng"


def rendered(source: ImageSource) -> list[dict[str, Any]]:
    """The example city's manifests with images from `source`."""
    session = open_session(EXAMPLE)
    city = replace(session.city, images=Images(source=source))
    images = {name: oci.reference(name, source=source) for name in session.images}
    return [yaml.safe_load(text) for text in render(replace_city(session, city, images)).values()]


def replace_city(session: Session, city: Any, images: dict[str, str]) -> Session:
    return replace(session, city=city, plan=replace(session.plan, city=city), images=images)


def references(node: Any) -> Iterator[str]:
    """Every container image in a manifest."""
    if isinstance(node, dict):
        for key, value in node.items():
            if key == "image" and isinstance(value, str):
                yield value
            else:
                yield from references(value)
    elif isinstance(node, list):
        for item in node:
            yield from references(item)


def without_images(node: Any) -> Any:
    """The manifest without image references and without what is derived from them."""
    if isinstance(node, dict):
        return {key: without_images(value) for key, value in node.items() if key != "image"}
    return [without_images(item) for item in node] if isinstance(node, list) else node


def key(manifest: dict[str, Any]) -> tuple[str, str, str]:
    # A provisioning Job is named by the digest of its input, its image among it.
    metadata = manifest["metadata"]
    name = metadata["name"].rsplit("-", 1)[0] if manifest["kind"] == "Job" else metadata["name"]
    return manifest["kind"], metadata.get("namespace", ""), name


@pytest.mark.slow
def test_both_sources_give_the_same_manifests_but_for_the_references() -> None:
    built, upstream = ({key(item): item for item in rendered(source)} for source in ("built", "upstream"))
    assert built.keys() == upstream.keys()
    for name, manifest in built.items():
        other = upstream[name]
        for item in (manifest, other):
            if item["kind"] == "Job":
                item["metadata"].pop("name")
        assert without_images(manifest) == without_images(other), name
    public = {image for item in upstream.values() for image in references(item)}
    assert any(image.startswith("docker.io/library/postgres:15") for image in public), public


@pytest.mark.cluster
@pytest.mark.parametrize("source", ["built", "upstream"])
async def test_the_api_server_takes_every_manifest_strictly(api_server: ControlPlane, source: ImageSource) -> None:
    manifests = rendered(source)
    assert len(manifests) > 90
    async with HttpPool() as pool, KubeClient(load_access(api_server.kubeconfig_text), pool) as client:
        # Namespaces have to be there for a dry run of what lies in them.
        for manifest in manifests:
            if manifest["kind"] == "Namespace":
                await client.apply(manifest, field_manager="strict-test")
        for manifest in manifests:
            if manifest["kind"] == "Secret":
                manifest.pop("data", None)
                manifest["stringData"] = {"redacted": "redacted"}
            answer = await client.apply(
                manifest, field_manager="strict-test", dry_run=True, field_validation="Strict", force=True
            )
            assert answer["metadata"]["name"] == manifest["metadata"]["name"]
