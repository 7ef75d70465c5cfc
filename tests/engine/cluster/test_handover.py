"""The number of replicas changes hands between the files and an autoscaler, and never falls on the way."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.engine.drive import go, make_city
from tests.support.control_plane import ControlPlane, binary
from wecityctl.engine.cluster.handover import Handover, handovers
from wecityctl.engine.state.checkpoint import StackState, parse_state
from wecityctl.inputs import Cluster
from wecityctl.kube.replicas import is_autoscaler, without_owner
from wecityctl.model.city import Autoscale, City
from wecityctl.model.events import RunResult

WEB = ("n", "web")
DEPLOYMENT = "kubernetes:apps/v1:Deployment"
AUTOSCALER = "kubernetes:autoscaling/v2:HorizontalPodAutoscaler"


def state(*, replicas: int | None, scaler: bool) -> StackState:
    """A state with the Deployment `web`, and perhaps an autoscaler for it."""

    def resource(kind: str, spec: dict[str, Any], outputs: dict[str, Any]) -> dict[str, Any]:
        inputs = {"metadata": {"name": "web", "namespace": "n"}, "spec": spec}
        return {"urn": f"urn:pulumi:s::p::{kind}::web", "type": kind, "inputs": inputs, "outputs": outputs}

    spec = {} if replicas is None else {"replicas": replicas}
    resources = [resource(DEPLOYMENT, spec, {"__fieldManager": "pulumi-kubernetes-1"})]
    if scaler:
        target = {"scaleTargetRef": {"kind": "Deployment", "name": "web"}}
        resources.append(resource(AUTOSCALER, target, {"metadata": {"uid": "u"}}))
    return parse_state("s", {"resources": resources}, None, b"")


@pytest.mark.parametrize(
    ("replicas", "scaler", "autoscaled", "expected"),
    [
        (5, False, True, (Handover("n", "web", "pulumi-kubernetes-1"),)),
        (None, True, False, (Handover("n", "web", "", "web", "u"),)),
        # A run that was interrupted after the autoscaler was deleted, or before.
        (None, False, False, (Handover("n", "web"),)),
        (2, True, False, (Handover("n", "web", "", "web", "u"),)),
        (5, False, False, ()),
        (None, True, True, ()),
    ],
)
def test_what_changes_hands(
    replicas: int | None, scaler: bool, autoscaled: bool, expected: tuple[Handover, ...]
) -> None:
    assert handovers(state(replicas=replicas, scaler=scaler), {WEB: autoscaled}) == expected
    assert handovers(state(replicas=replicas, scaler=scaler), {}) == ()


def test_an_owner_without_fields_is_dropped_and_others_stay() -> None:
    scaled = {"manager": "kube-controller-manager", "subresource": "scale", "fieldsV1": {"f:spec": {"f:replicas": {}}}}
    status = {"manager": "kube-controller-manager", "subresource": "status", "fieldsV1": {"f:status": {}}}
    kubectl = {"manager": "kubectl", "subresource": "scale", "fieldsV1": {"f:spec": {"f:replicas": {}}}}
    live = {"metadata": {"managedFields": [scaled, status, kubectl]}}
    assert without_owner(live, is_autoscaler) == [status, kubectl]
    assert without_owner({"metadata": {"managedFields": [status, kubectl]}}, is_autoscaler) is None
    both = {"manager": "m", "fieldsV1": {"f:metadata": {}, "f:spec": {"f:replicas": {}, "f:template": {}}}}
    left = without_owner({"metadata": {"managedFields": [both]}}, lambda owner: owner["manager"] == "m")
    assert left == [{"manager": "m", "fieldsV1": {"f:metadata": {}, "f:spec": {"f:template": {}}}}]


def city_with(name: str, *, replicas: int = 1, autoscale: Autoscale | None = None, stage: Any = "published") -> City:
    city = make_city(name, (name,))
    app = city.apps[0]
    component = replace(app.components[0], replicas=replicas, autoscale=autoscale)
    return replace(city, apps=(replace(app, stage=stage, components=(component,)),))


class Scaled:
    """The Deployment of the city's one app, and what its autoscaler would do."""

    def __init__(self, plane: ControlPlane, main: Cluster, name: str, log: Path) -> None:
        self.plane, self.main, self.name, self.log = plane, main, name, log
        self.at = ("-n", f"{name}-internet")

    def up(self, **app: Any) -> RunResult:
        result = go(city_with(self.name, **app), "up", {"main": self.main}, program="scaled")
        assert result.exit_code == 0, [item.errors for item in result.results]
        return result

    def scales(self, count: int) -> None:
        """As the horizontal-pod-autoscaler, which finds no metrics here."""
        patch = json.dumps({"spec": {"replicas": count}})
        owner = ("--subresource=scale", "--field-manager=kube-controller-manager", "--type=merge")
        self.plane.kubectl("patch", "deployment", "app-web", *self.at, *owner, "-p", patch)

    def count(self) -> int:
        return int(self.plane.kubectl("get", "deployment", "app-web", *self.at, "-o", "jsonpath={.spec.replicas}"))

    def owners(self) -> list[str]:
        live = json.loads(
            self.plane.kubectl("get", "deployment", "app-web", *self.at, "-o", "json", "--show-managed-fields")
        )
        return [
            entry["manager"].partition("-kubernetes-")[0]
            for entry in live["metadata"]["managedFields"]
            if "f:replicas" in entry["fieldsV1"].get("f:spec", {})
        ]

    @contextmanager
    def watched(self) -> Iterator[list[int]]:
        """Every number of replicas that the API server shows within the block."""
        seen: list[int] = []
        command = [str(binary("kubectl")), "--kubeconfig", str(self.plane.kubeconfig), "get", "deployment", "app-web"]
        with self.log.open("wb") as file:
            watch = subprocess.Popen([*command, *self.at, "-w", "-o", 'jsonpath={.spec.replicas}{"\\n"}'], stdout=file)
            try:
                yield seen
            finally:
                watch.terminate()
                watch.wait()
        seen += [int(line) for line in self.log.read_text().split()]
        assert seen


@pytest.mark.cluster
def test_replicas_go_to_an_autoscaler_and_back(home: Path, main_cluster: Cluster, cluster: ControlPlane) -> None:
    web = Scaled(cluster, main_cluster, "handover", home / "watch")
    web.up(replicas=5)
    assert web.owners() == ["pulumi"]
    with web.watched() as seen:
        web.up(autoscale=Autoscale(5, 8, 60))
        assert (web.count(), web.owners()) == (5, [])
    assert set(seen) == {5}
    # The API server notes an owner only for a field that has one: here the autoscaler takes what is nobody's.
    web.scales(7)
    fixed = {"replicas": 2}
    preview = go(city_with(web.name, **fixed), "preview", {"main": main_cluster}, program="scaled")
    assert preview.exit_code == 0, preview
    with web.watched() as seen:
        web.up(**fixed)
        assert (web.count(), web.owners()) == (2, ["pulumi"])
    assert set(seen) == {7, 2}
    assert cluster.kubectl("get", "hpa", *web.at, "-o", "name") == ""
    # An autoscaler that has taken the number from us; its app can be suspended, and comes back under its autoscaler.
    web.scales(3)
    assert web.owners() == ["kube-controller-manager"]
    web.up(autoscale=Autoscale(2, 8, 60))
    web.scales(4)
    assert (web.count(), web.owners()) == (4, ["kube-controller-manager"])
    web.up(autoscale=Autoscale(2, 8, 60), stage="suspended")
    assert (web.count(), web.owners()) == (0, ["pulumi"])
    assert cluster.kubectl("get", "hpa", *web.at, "-o", "name") == ""
    web.up(autoscale=Autoscale(2, 8, 60))
    assert web.count() >= 1
    assert "pulumi" not in web.owners()
    assert cluster.kubectl("get", "hpa", *web.at, "-o", "name") == "horizontalpodautoscaler.autoscaling/app-web\n"
    destroyed = go(city_with(web.name), "destroy", {"main": main_cluster}, program="scaled", confirm_all=True)
    assert destroyed.exit_code == 0, destroyed
