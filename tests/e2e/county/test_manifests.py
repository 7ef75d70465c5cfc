"""An app's own manifests: run under its policies, put right when changed, removed with their file."""

from __future__ import annotations

import pytest

from tests.e2e.county.apps import NAME, SPACE, has_succeeded, jobs
from tests.e2e.files import CityFiles, app
from tests.e2e.machine import Cluster, Machine, eventually

pytestmark = pytest.mark.node

NEST = """
apiVersion: v1
kind: ConfigMap
metadata: {name: nest-rules}
data: {rules.txt: no cats}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: nest, labels: {team: owls}}
spec:
  selector: {matchLabels: {role: nest}}
  template:
    metadata: {labels: {role: nest}}
    spec:
      containers:
        - name: nest
          image: catalogue:sample-app
          env: [{name: PORT, value: "8080"}]
          ports: [{name: http, containerPort: 8080}]
          resources: {requests: {cpu: 20m, memory: 64Mi}}
          readinessProbe: {httpGet: {path: /healthz, port: http}}
          volumeMounts: [{name: rules, mountPath: /rules}, {name: tmp, mountPath: /tmp}]
      volumes: [{name: rules, configMap: {name: nest-rules}}, {name: tmp, emptyDir: {}}]
---
apiVersion: v1
kind: Service
metadata: {name: nest}
spec: {selector: {role: nest}, ports: [{name: http, port: 80, targetPort: http}]}
---
apiVersion: batch/v1
kind: Job
metadata: {name: hatch}
spec:
  template:
    spec:
      restartPolicy: Never
      containers: [{name: hatch, image: "catalogue:sample-app", command: [python3, -c, "print('hatched')"]}]
"""
OWN = ("deployment/nest", "service/nest", "configmap/nest-rules")


def calls(cluster: Cluster, app: str) -> str:
    """What a pod of an app gets from the Service of the app's own manifest."""
    read = (
        "import urllib.request as u\n"
        "try: print(u.urlopen('http://nest/healthz', timeout=3).status)\n"
        "except OSError as error: print('refused', error)"
    )
    return cluster.kubectl("exec", "-n", SPACE, f"deploy/{app}-web", "--", "python3", "-c", read).strip()


def test_a_manifest_runs_under_the_policies_of_its_app(home: Machine, city: CityFiles, cluster: Cluster) -> None:
    herons = app("herons", "parks")
    del herons["spec"]["route"]
    herons["spec"]["manifests"] = ["own/nest.yaml"]
    city.add("herons.yaml", herons)
    (city.directory / "own").mkdir()
    (city.directory / "own" / "nest.yaml").write_text(NEST)
    city.save()
    home.run("up", city, "--yes", "--only", "parks")
    assert eventually(lambda: calls(cluster, "herons") == "200")
    assert calls(cluster, "gardens").startswith("refused")
    read = ("exec", "-n", SPACE, "deploy/nest", "--", "cat", "/rules/rules.txt")
    assert cluster.kubectl(*read) == "no cats"
    (job,) = jobs(cluster, "hatch")
    assert has_succeeded(job)
    home.run("preview", city, "--only", "parks", "--detailed-exitcode")


def test_a_changed_manifest_is_put_right_and_goes_with_its_file(
    home: Machine, city: CityFiles, cluster: Cluster
) -> None:
    cluster.kubectl("delete", "service", "nest", "-n", SPACE)
    done = home.run("up", city, "--yes", "--only", "parks", "-o", "json")
    assert f"create Service {SPACE}/nest" in done.changes()
    assert eventually(lambda: calls(cluster, "herons") == "200")
    del city.one("App", "herons")["spec"]["manifests"]
    (city.directory / "own" / "nest.yaml").unlink()
    city.save()
    home.run("up", city, "--yes", "--only", "parks", f"--confirm={NAME}")
    for name in OWN:
        assert "NotFound" in cluster.kubectl("get", name, "-n", SPACE, code=1)
