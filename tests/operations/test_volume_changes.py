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


def stored(spec: Mapping[str, Any], *names: str, inputs: Mapping[str, Any] = {}) -> Any:
    """A back end in which each stack has claims of these names: by default, that of the capability `records`."""
    kind = "kubernetes:core/v1:PersistentVolumeClaim"
    resources = [
        {"urn": f"urn:pulumi:s::wecity::{kind}::{name}", "type": kind, "inputs": {**inputs, "spec": spec}}
        for name in names or ("platform-application/records-data",)
    ]

    def read_state(stack: str) -> StackState:
        return parse_state(stack, {"resources": resources}, None, b"")

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
        back_end = stored({}, "transport-internet/a-b-c-d", inputs=inputs)
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


@pytest.mark.parametrize(("stated", "standing", "refused"), [(1, 2, True), (2, 3, True), (2, 2, False), (3, 1, False)])
def test_members_are_added_and_never_taken_away(tmp_path: Path, stated: int, standing: int, refused: bool) -> None:
    """What is in the volumes that would be left may be old."""
    path = tmp_path / "city.yaml"
    path.write_text(FILES.replace("name: postgresql,", f"name: postgresql, replicas: {stated},"), encoding="utf-8")
    session = open_session(path)
    names = ["postgresql-data", *(f"postgresql-member-{index}-data" for index in range(1, standing))]
    kept = stored(claim("10Gi"), *(f"platform-application/{name}" for name in names))
    if not refused:
        require_volumes_kept(session.plan, session.catalogue, session.positions, kept)
        return
    with pytest.raises(InvalidCityError) as caught:
        require_volumes_kept(session.plan, session.catalogue, session.positions, kept)
    assert str(caught.value.problems[0]).partition(": ")[2] == (
        f"spec.capabilities[0].replicas: 'postgresql' has {standing} members, each with a volume, and none can be taken"
        f" away; expected replicas: {standing}; a capability of another name can have fewer, and a backup's data"
    )
