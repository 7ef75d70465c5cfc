"""The author of a city's files, who may not run programs as the operator nor have files of the operator's sent away."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path

import pytest

from tests.e2e.machine import Machine

pytestmark = pytest.mark.program

CITY = """\
apiVersion: wecity.dev/v1alpha1
kind: City
metadata: {name: shop}
spec: {domain: shop.gov.example, zones: [{name: internet, kind: internet}]}
---
apiVersion: wecity.dev/v1alpha1
kind: Cloud
metadata: {name: main}
spec: {provider: kubernetes, zones: [internet], kubernetes: {kubeconfig: "KUBECONFIG"}}
"""


def _kubeconfig(user: dict[str, object]) -> str:
    """Of a server that nobody answers for: what the user's part makes the program do is done before that is noticed."""
    return json.dumps(
        {
            "clusters": [{"name": "c", "cluster": {"server": "https://127.0.0.1:9"}}],
            "users": [{"name": "u", "user": user}],
            "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
            "current-context": "x",
        }
    )


def _plugin(directory: Path, ran: Path) -> dict[str, object]:
    script = directory / "plugin"
    script.write_text(f"#!/bin/sh\ntouch {ran}\necho '{{}}'\n")
    script.chmod(script.stat().st_mode | stat.S_IXUSR)
    version = "client.authentication.k8s.io/v1"
    return {"exec": {"apiVersion": version, "command": str(script), "interactiveMode": "Never"}}


@pytest.mark.parametrize("where", ["beside", "in the work tree", "linked", "of another user"])
def test_a_kubeconfig_that_comes_with_the_files_runs_no_program(home: Machine, tmp_path: Path, where: str) -> None:
    city, outside, ran = tmp_path / "repository" / "city", tmp_path / "outside", tmp_path / "ran"
    city.mkdir(parents=True)
    outside.mkdir()
    kubeconfig, named = city / "kubeconfig", "kubeconfig"
    why = "comes with the city's files"
    match where:
        case "in the work tree":
            (city.parent / ".git").mkdir()
            kubeconfig, named = city.parent / "kubeconfig", "../kubeconfig"
        case "linked":
            named = str(outside / "link")
            (outside / "link").symlink_to(kubeconfig)
        case "of another user":
            kubeconfig, why = outside / "kubeconfig", "belongs to another user"
            named = str(kubeconfig)
    kubeconfig.write_text(_kubeconfig(_plugin(outside, ran)))
    if where == "of another user":
        try:
            outside.chmod(0o755)
            os.chown(kubeconfig, 65534, 65534)
        except PermissionError:
            pytest.skip("giving a file to another user needs root")
    (city / "city.yaml").write_text(CITY.replace("KUBECONFIG", named))
    done = home.run("preview", city, code=3)
    assert why in done.err and "runs a program" in done.err, done
    assert not ran.exists()
    # Somebody has looked at it.
    done = home.run("preview", city, code=None, env={"WECITYCTL_TRUST_KUBECONFIG": "1"})
    assert ran.exists(), done


def test_the_operators_own_kubeconfig_runs_its_program(home: Machine, tmp_path: Path) -> None:
    (tmp_path / "city").mkdir()
    (tmp_path / "kube").mkdir()
    ran = tmp_path / "ran"
    (tmp_path / "kube" / "config").write_text(_kubeconfig(_plugin(tmp_path / "kube", ran)))
    (tmp_path / "city" / "city.yaml").write_text(CITY.replace("KUBECONFIG", str(tmp_path / "kube" / "config")))
    done = home.run("preview", tmp_path / "city", code=None)
    assert ran.exists(), done


def test_a_kubeconfig_that_comes_with_the_files_sends_no_file_of_the_operators(home: Machine, tmp_path: Path) -> None:
    """`tokenFile` would be sent to the server that the same kubeconfig names."""
    city, secret = tmp_path / "city", tmp_path / "passphrase"
    city.mkdir()
    secret.write_text("hunter2")
    (city / "city.yaml").write_text(CITY.replace("KUBECONFIG", "kubeconfig"))
    (city / "kubeconfig").write_text(_kubeconfig({"tokenFile": str(secret)}))
    done = home.run("preview", city, code=3)
    assert f"sends the content of {secret} to https://127.0.0.1:9" in done.err, done
