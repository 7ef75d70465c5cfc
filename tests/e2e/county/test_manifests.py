"""An app's own manifests: run under its policies, put right when changed, removed with their file."""

from __future__ import annotations

import shlex
import subprocess

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


PERCH = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: perch}
spec:
  selector: {matchLabels: {role: perch}}
  template:
    metadata: {labels: {role: perch}}
    spec:
      containers:
        - name: perch
          image: catalogue:sample-app
          env: [{name: PORT, value: "8443"}, {name: TLS_DIRECTORY, value: /tls}]
          ports: [{name: https, containerPort: 8443}]
          resources: {requests: {cpu: 20m, memory: 64Mi}}
          readinessProbe: {httpGet: {path: /healthz, port: https, scheme: HTTPS}}
          volumeMounts: [{name: tls, mountPath: /tls, readOnly: true}, {name: tmp, mountPath: /tmp}]
      volumes: [{name: tls, secret: {secretName: perch-tls}}, {name: tmp, emptyDir: {}}]
---
apiVersion: v1
kind: Service
metadata: {name: perch}
spec: {selector: {role: perch}, ports: [{name: https, port: 443, targetPort: https}]}
"""
BOARD = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: board}
spec:
  selector: {matchLabels: {role: board}}
  template:
    metadata: {labels: {role: board}}
    spec:
      containers:
        - name: board
          image: catalogue:sample-app
          env: [{name: PORT, value: "8080"}]
          ports: [{name: http, containerPort: 8080}]
          resources: {requests: {cpu: 20m, memory: 64Mi}}
          readinessProbe: {httpGet: {path: /healthz, port: http}}
          volumeMounts: [{name: tmp, mountPath: /tmp}]
      terminationGracePeriodSeconds: 1
      volumes: [{name: tmp, emptyDir: {}}]
---
apiVersion: v1
kind: Service
metadata: {name: board}
spec: {selector: {role: board}, ports: [{name: http, port: 80, targetPort: http}]}
"""
PLATFORM = "platform-application"
# Asks an address, over TLS that the city's CA vouches for if it is given.
ASK = """
import socket, ssl, sys, urllib.parse, urllib.request
address, *authority = sys.argv[1:]
url = urllib.parse.urlsplit(address)
try:
    if url.scheme == "tcp":
        socket.create_connection((url.hostname, url.port), 3).close()
        print("connected")
    else:
        trust = ssl.create_default_context(cafile=authority[0]) if authority else None
        print(urllib.request.urlopen(f"{address}/healthz", timeout=3, context=trust).status)
except OSError as error:
    print("refused", error)
"""


def asks(cluster: Cluster, namespace: str, workload: str, *words: str) -> str:
    """What a pod gets from an address."""
    pod = ("exec", "-n", namespace, f"deploy/{workload}")
    return cluster.kubectl(*pod, "--", "python3", "-c", ASK, *words).strip()


def test_a_route_and_a_use_lead_to_a_service_of_manifests(home: Machine, city: CityFiles, cluster: Cluster) -> None:
    larks = app("larks", "parks")
    larks["spec"]["manifests"] = ["hatch/perch.yaml"]
    larks["spec"]["route"] |= {"service": "perch", "tls": True}
    larks["spec"]["provides"] = [{"name": "perch", "service": "perch"}]
    city.add("larks.yaml", larks)
    city.one("App", "ponds")["spec"]["uses"].append({"app": "larks", "as": "perch"})
    city.one("Platform", "application")["spec"]["manifests"] = ["hatch/board.yaml"]
    (city.directory / "hatch").mkdir()
    (city.directory / "hatch" / "perch.yaml").write_text(PERCH)
    (city.directory / "hatch" / "board.yaml").write_text(BOARD)
    city.save()
    home.run("up", city, "--yes")
    address = f"https://perch.{SPACE}.svc.cluster.local:443"
    read = ("exec", "-n", SPACE, "deploy/ponds-web", "--", "cat", "/bindings/perch/uri")
    assert cluster.kubectl(*read) == address
    assert eventually(lambda: asks(cluster, SPACE, "ponds-web", address, "/bindings/perch/ca.crt") == "200")
    assert asks(cluster, SPACE, "gardens-web", address).startswith("refused"), "without a use"
    found = home.run("open", city, "larks", "-o", "json").json()
    shown = [*shlex.split(found["curl"]), "-s", "-o", "/dev/null", "-w", "%{http_code}"]
    reached = subprocess.run(shown, capture_output=True, text=True, timeout=30, check=True)
    assert reached.stdout == "200"


def test_manifests_of_a_platform_reach_each_other_alone(home: Machine, city: CityFiles, cluster: Cluster) -> None:
    assert asks(cluster, PLATFORM, "board", "http://board") == "200"
    assert asks(cluster, PLATFORM, "board", f"tcp://postgresql.{PLATFORM}.svc.cluster.local:5432").startswith("refused")
    assert asks(cluster, SPACE, "gardens-web", f"http://board.{PLATFORM}.svc.cluster.local").startswith("refused")
    home.run("preview", city, "--detailed-exitcode")


def test_a_platforms_manifests_are_put_right_and_go_with_their_file(
    home: Machine, city: CityFiles, cluster: Cluster
) -> None:
    cluster.kubectl("delete", "service", "board", "-n", PLATFORM)
    done = home.run("up", city, "--yes", "--only", "application", "-o", "json")
    assert f"create Service {PLATFORM}/board" in done.changes()
    del city.one("Platform", "application")["spec"]["manifests"]
    (city.directory / "hatch" / "board.yaml").unlink()
    city.save()
    home.run("up", city, "--yes", "--only", "application", f"--confirm={NAME}")
    for name in ("deployment/board", "service/board", "networkpolicy/manifests-within"):
        assert "NotFound" in cluster.kubectl("get", name, "-n", PLATFORM, code=1)
