"""Files with manifests that Apps name: where they may lie, and which names a renamed app's refer to."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.spec.catalogue import CATALOGUE
from wecityctl.errors import InvalidCityError
from wecityctl.spec import load_city

CITY = """\
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
spec: {provider: local, zones: [internet]}
---
apiVersion: wecity.dev/v1alpha1
kind: Platform
metadata: {name: application}
spec: {capabilities: [{name: postgresql}]}
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
  components: [{name: web, image: registry.example/code:1.0}]
  uses: [{capability: postgresql, as: own}]
"""
CONFIG = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: rules}\ndata: {a: b}\n"
READER = """\
apiVersion: apps/v1
kind: Deployment
metadata: {name: reader}
spec:
  selector: {matchLabels: {role: reader}}
  template:
    metadata: {labels: {role: reader}}
    spec:
      containers: [{name: a, image: registry.example/a:1, envFrom: [{secretRef: {name: code-binding-own}}]}]
"""


def written(directory: Path, file: str, text: str = CITY) -> Path:
    """A city whose app names `file`."""
    directory.mkdir(exist_ok=True)
    path = directory / "city.yaml"
    path.write_text(f"{text}  manifests: [{file}]\n")
    return path


def problems(path: Path) -> str:
    with pytest.raises(InvalidCityError) as caught:
        load_city(path, CATALOGUE)
    return "\n".join(map(str, caught.value.problems))


@pytest.mark.parametrize("file", ["own.yaml", "below/own.yaml", ".hidden/own.yaml"])
@pytest.mark.parametrize("whole", [True, False])
def test_a_file_is_found_in_the_citys_directory(tmp_path: Path, file: str, whole: bool) -> None:
    path = written(tmp_path / "city", file)
    (path.parent / file).parent.mkdir(exist_ok=True)
    (path.parent / file).write_text(CONFIG)
    city = load_city(path.parent if whole else path, CATALOGUE).city
    (found,) = city.apps[0].manifests
    assert (found.kind, found.name, found.file) == ("ConfigMap", "rules", file)


@pytest.mark.parametrize("whole", [True, False])
def test_a_link_that_leads_out_is_not_followed(tmp_path: Path, whole: bool) -> None:
    (tmp_path / "secret.yaml").write_text(CONFIG)
    path = written(tmp_path / "city", ".hidden/own.yaml")
    (path.parent / ".hidden").mkdir()
    (path.parent / ".hidden" / "own.yaml").symlink_to(tmp_path / "secret.yaml")
    told = problems(path.parent if whole else path)
    assert "city.yaml:35:15" in told and "outside the city's directory" in told


def test_what_is_no_file_is_not_waited_for(tmp_path: Path) -> None:
    path = written(tmp_path / "city", "pipe.yaml")
    os.mkfifo(path.parent / "pipe.yaml")
    assert "is a named pipe" in problems(path)


def test_a_path_with_a_nul_character_is_refused(tmp_path: Path) -> None:
    path = written(tmp_path / "city", '"own\\0.yaml"')
    assert "city.yaml:35:15" in problems(path)


def test_a_file_that_is_too_large_is_not_read(tmp_path: Path) -> None:
    path = written(tmp_path / "city", "large.yaml")
    (path.parent / "large.yaml").write_text("a: " + "x" * 5_000_001)
    assert "is too large" in problems(path)


def test_a_renamed_apps_manifests_name_what_is_in_the_cluster(tmp_path: Path) -> None:
    """Its Secrets have the name that the app keeps."""
    quota = '  quota: {cpu: "8", memory: 16Gi, storage: 100Gi}\n'
    text = CITY.replace("name: code,", "name: pass,")
    text = text.replace(quota, f"{quota}  moved: [{{from: app/code, to: app/pass}}]\n")
    path = written(tmp_path / "city", "own.yaml", text)
    (path.parent / "own.yaml").write_text(READER)
    app = load_city(path.parent, CATALOGUE).city.apps[0]
    assert (app.name, app.known_as, len(app.manifests)) == ("code", "pass", 1)
    (path.parent / "own.yaml").write_text(READER.replace("code-binding", "pass-binding"))
    assert "'pass-binding-own' is not a Secret of this app; expected code-binding-own" in problems(path.parent)


def test_a_config_map_is_no_larger_than_the_api_server_takes(tmp_path: Path) -> None:
    path = written(tmp_path / "city", "own.yaml")
    head = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: large}\ndata:\n  text: "
    (path.parent / "own.yaml").write_text(head + "x" * 900_000)
    assert load_city(path.parent, CATALOGUE).city.apps[0].manifests
    (path.parent / "own.yaml").write_text(head + "x" * 1_500_000)
    assert "data: the texts are too large together: 1,500,004 bytes; expected at most 1,000,000" in problems(
        path.parent
    )
