"""Volumes that stand, and files that ask for what no volume can become."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from wecityctl.engine.state.checkpoint import StackState, parse_state
from wecityctl.errors import InvalidCityError
from wecityctl.operations.volume_changes import require_volumes_kept
from wecityctl.session import open_session

FILES = (Path(__file__).parents[1] / "spec/valid/adopted-cluster.yaml").read_text(encoding="utf-8")


def stored(
    spec: Mapping[str, Any], name: str = "platform-application/records-data", inputs: Mapping[str, Any] = {}
) -> Any:
    """A back end in which each stack has one claim: by default, that of the capability `records`."""
    urn = f"urn:pulumi:s::wecity::kubernetes:core/v1:PersistentVolumeClaim::{name}"
    resource = {"urn": urn, "type": "kubernetes:core/v1:PersistentVolumeClaim", "inputs": {**inputs, "spec": spec}}

    def read_state(stack: str) -> StackState:
        return parse_state(stack, {"resources": [resource]}, None, b"")

    return SimpleNamespace(read_state=read_state)


def claim(storage: str, storage_class: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {"resources": {"requests": {"storage": storage}}}
    return {**found, "storageClassName": storage_class} if storage_class else found


def problems(tmp_path: Path, spec: Mapping[str, Any]) -> list[str]:
    path = tmp_path / "city.yaml"
    path.write_text(FILES.replace("name: postgresql,", "name: records, type: postgresql,"), encoding="utf-8")
    session = open_session(path)
    try:
        require_volumes_kept(session.plan, session.catalogue, session.positions, stored(spec))
    except InvalidCityError as error:
        return [str(problem).removeprefix(f"{path}:").partition(": ")[2] for problem in error.problems]
    return []


@pytest.mark.parametrize("standing", ["10Gi", "10240Mi", "1Gi", "9.5Gi"])
def test_a_volume_may_stay_and_grow(tmp_path: Path, standing: str) -> None:
    assert problems(tmp_path, claim(standing)) == []


def test_a_volume_cannot_shrink(tmp_path: Path) -> None:
    assert problems(tmp_path, claim("11Gi")) == [
        "spec.capabilities[0].storage: the volume of 'records' has 11Gi, and no volume can be made smaller; expected at"
        " least 11Gi; a capability of another name gets a new, empty volume"
    ]


def test_a_volume_keeps_its_class(tmp_path: Path) -> None:
    assert problems(tmp_path, claim("10Gi", "ssd")) == [
        "spec.kubernetes.storageClass: the volume of 'records' has storage class 'ssd', and no volume changes its"
        " class; expected storage class 'ssd'"
    ]


def test_a_volume_stays_its_apps(tmp_path: Path) -> None:
    """Another app in the place of one that left the files, whose claim has the same name."""
    app = """
---
apiVersion: wecity.dev/v1alpha1
kind: App
metadata: {name: a-b, tenant: transport}
spec:
  stage: published
  zone: internet
  dataClass: L1
  components: [{name: c, image: "catalogue:sample-app", volumes: [{name: d, path: /d, size: 1Gi}]}]
"""
    path = tmp_path / "city.yaml"
    path.write_text(FILES + app, encoding="utf-8")
    session = open_session(path)

    def of_app(name: str) -> list[str]:
        labels = {"component": "app", "part-of": "transport", "name": name}
        inputs = {"metadata": {"labels": {f"app.kubernetes.io/{key}": value for key, value in labels.items()}}}
        back_end = stored({}, "transport-internet/a-b-c-d", inputs)
        try:
            require_volumes_kept(session.plan, session.catalogue, session.positions, back_end)
        except InvalidCityError as error:
            return [str(problem).removeprefix(f"{path}:").partition(": ")[2] for problem in error.problems]
        return []

    assert of_app("a-b") == []
    assert of_app("a") == [
        "spec.components[0].volumes[0].name: the volume 'd' would be that of app transport/a, whose claim"
        " transport-internet/a-b-c-d has its files; expected another name for the volume"
    ]
