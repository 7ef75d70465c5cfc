"""Renamed apps keep the names that they have in the clusters, wherever the files name them."""

from __future__ import annotations

from pathlib import Path

from tests.spec.catalogue import CATALOGUE
from wecityctl.model.lifecycle import content_digest
from wecityctl.operations.app_targets import find_app
from wecityctl.spec import load_city

BEFORE = """\
apiVersion: wecity.dev/v1alpha1
kind: City
metadata: {name: case}
spec:
  domain: case.gov.example
  zones: [{name: internet, kind: internet}]
---
apiVersion: wecity.dev/v1alpha1
kind: Cloud
metadata: {name: main}
spec:
  provider: local
  zones: [internet]
  pools: [{name: general, architecture: amd64, nodes: 3, cpu: "16", memory: 64Gi, storage: 1Ti}]
  interconnect: {ports: {health/code: 31000, health/code/api: 31001}}
---
apiVersion: wecity.dev/v1alpha1
kind: Platform
metadata: {name: application}
spec:
  capabilities:
    - {name: own, type: postgresql, dedicated: {tenant: health, app: code}}
---
apiVersion: wecity.dev/v1alpha1
kind: Tenant
metadata: {name: health}
spec:
  title: 卫生健康委
  area: digital-government
  quota: {cpu: "8", memory: 16Gi, storage: 100Gi}
---
apiVersion: wecity.dev/v1alpha1
kind: App
metadata: {name: code, tenant: health}
spec:
  stage: published
  zone: internet
  dataClass: L1
  components: [{name: web, image: registry.example/code:1.0, port: 8080}]
  uses: [own]
  provides: [{name: api, to: [transport/tide]}]
---
apiVersion: wecity.dev/v1alpha1
kind: App
metadata: {name: desk, tenant: health}
spec:
  stage: published
  zone: internet
  dataClass: L1
  components: [{name: web, image: registry.example/code:1.0}]
  placement: {affinity: [code]}
  uses: [{app: code, as: code}]
---
apiVersion: wecity.dev/v1alpha1
kind: Tenant
metadata: {name: transport}
spec:
  title: 交通运输局
  area: digital-government
  quota: {cpu: "2", memory: 4Gi, storage: 10Gi}
---
apiVersion: wecity.dev/v1alpha1
kind: App
metadata: {name: tide, tenant: transport}
spec:
  stage: published
  zone: internet
  dataClass: L1
  components: [{name: web, image: registry.example/tide:1.0, port: 8080}]
  uses: [{app: health/code/api, as: code}]
  provides: [{name: web, to: [health/code]}]
---
apiVersion: wecity.dev/v1alpha1
kind: Waiver
metadata: {name: for-now}
spec:
  rule: images-by-digest
  subjects: [health/code, "health/*"]
  owner: alice@case.gov.example
  reason: later
  expires: "2027-03-31"
"""
MOVED = "  moved: [{from: app/code, to: app/card}, {from: app/card, to: app/pass}]\n"


def test_the_city_is_the_same_under_the_kept_name(tmp_path: Path) -> None:
    before, after = tmp_path / "before.yaml", tmp_path / "after.yaml"
    before.write_text(BEFORE)
    quota = '  quota: {cpu: "8", memory: 16Gi, storage: 100Gi}\n'
    text = BEFORE.replace("name: code,", "name: pass,").replace("app: code", "app: pass")
    text = text.replace("[code]", "[pass]").replace("health/code", "health/pass").replace(quota, quota + MOVED)
    after.write_text(text)
    old, loaded = load_city(before, CATALOGUE).city, load_city(after, CATALOGUE)
    new = loaded.city
    assert (new.platforms, new.clouds, new.waivers) == (old.platforms, old.clouds, old.waivers)
    assert [(app.name, app.known_as) for app in new.apps] == [("code", "pass"), ("desk", ""), ("tide", "")]
    assert new.apps[1:] == old.apps[1:]
    assert content_digest(new.apps[0]) == content_digest(old.apps[0])
    # People may say either, and messages lead to its document.
    assert find_app(new, "health/pass") == find_app(new, "code") == new.apps[0]
    place = loaded.positions.place("App", "health/code", "metadata", "name")
    assert place is not None
    assert text.splitlines()[place.line - 1] == "metadata: {name: pass, tenant: health}"
