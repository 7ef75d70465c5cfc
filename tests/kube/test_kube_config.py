"""Kubeconfigs: which one is read, how several are merged, what is wrong with a bad one."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from wecityctl.errors import AuthenticationError, ConfigurationError
from wecityctl.kube import config
from wecityctl.kube.config import load_access
from wecityctl.kube.proxies import proxy_from_environment


def kubeconfig(
    name: str = "one", *, cluster: dict[str, Any] | None = None, user: dict[str, Any] | None = None, **top: Any
) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": name, "cluster": {"server": f"https://{name}.example:6443"} | (cluster or {})}],
        "users": [{"name": name, "user": user or {}}],
        "contexts": [{"name": name, "context": {"cluster": name, "user": name, "namespace": f"ns-{name}"}}],
        "current-context": name,
    } | top


def text(**arguments: Any) -> str:
    return yaml.safe_dump(kubeconfig(**arguments))


def write(path: Path, data: dict[str, Any]) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(yaml.safe_dump(data))
    return str(path)


def b64(data: str) -> str:
    return base64.b64encode(data.encode()).decode()


@pytest.mark.parametrize("form", [lambda d: yaml.safe_dump(d), lambda d: json.dumps(d)])
def test_text(form: Any) -> None:
    access = load_access(form(kubeconfig(user={"token": "s3cret"})), environ={})
    assert (access.server, access.context, access.namespace) == ("https://one.example:6443", "one", "ns-one")
    assert access.token == "s3cret"
    assert "s3cret" not in repr(access)


def test_path_and_relative_files(tmp_path: Path) -> None:
    (tmp_path / "conf").mkdir()
    (tmp_path / "conf" / "ca.pem").write_text("CA")
    (tmp_path / "conf" / "c.pem").write_text("CERT")
    (tmp_path / "conf" / "k.pem").write_text("KEY")
    path = write(
        tmp_path / "conf" / "config",
        kubeconfig(
            cluster={"certificate-authority": "ca.pem"},
            user={"client-certificate": "c.pem", "client-key": "k.pem", "tokenFile": "token"},
        ),
    )
    access = load_access(path, environ={})
    assert (access.ca_data, access.client_cert, access.client_key) == (b"CA", b"CERT", b"KEY")
    assert access.token_file == tmp_path / "conf" / "token"


def test_data_wins_over_file() -> None:
    access = load_access(
        text(cluster={"certificate-authority": "/none/such", "certificate-authority-data": b64("CA")}), environ={}
    )
    assert access.ca_data == b"CA"


def test_merge_takes_whole_entries_from_the_first_file(tmp_path: Path) -> None:
    first = write(tmp_path / "a", kubeconfig("one", user={"token": "first"}))
    second = kubeconfig("one", user={"username": "second", "password": "p"})
    second["contexts"].append({"name": "two", "context": {"cluster": "two", "user": "one"}})
    second["clusters"].append({"name": "two", "cluster": {"server": "https://two.example"}})
    second["current-context"] = "two"
    other = write(tmp_path / "b", second)
    environ = {"KUBECONFIG": f"{first}:{tmp_path / 'missing'}:{other}"}
    access = load_access(environ=environ)
    assert (access.context, access.token, access.username) == ("one", "first", "")
    access = load_access(context="two", environ=environ)
    assert (access.server, access.token, access.namespace) == ("https://two.example", "first", "default")


def test_home_is_the_default(tmp_path: Path) -> None:
    write(tmp_path / ".kube" / "config", kubeconfig("home"))
    assert load_access(environ={"HOME": str(tmp_path)}).context == "home"


def test_nothing_found(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="no kubeconfig was found") as caught:
        load_access(environ={"HOME": str(tmp_path)})
    assert str(tmp_path / ".kube" / "config") in caught.value.details


def test_in_cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(config, "SERVICE_ACCOUNT", tmp_path)
    (tmp_path / "ca.crt").write_text("CA")
    (tmp_path / "namespace").write_text("mine\n")
    environ = {"HOME": "/none", "KUBERNETES_SERVICE_HOST": "fd00::1", "KUBERNETES_SERVICE_PORT": "443"}
    access = load_access(environ=environ)
    assert (access.server, access.namespace) == ("https://[fd00::1]:443", "mine")
    assert access.token_file == tmp_path / "token"


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("a:\n  b: [\n", "is not valid YAML at line"),
        ("- a\n- b\n", "expected a mapping"),
        ("kind: Pod\nmetadata: {}\n", "its kind is 'Pod'"),
        ("kind: Config\nclusters: {}\n", "clusters must be a list"),
        ("kind: Config\nclusters:\n- cluster: {}\n", "clusters[0] has no name"),
        ("kind: Config\nusers:\n- name: a\n- name: a\n", "two entries named 'a'"),
        (text(**{"current-context": ""}), "no current-context"),
        (text(**{"current-context": "on"}), "no context 'on'"),
        (text(clusters=[]), "names cluster 'one', which is not there"),
        (text(users=[]), "names user 'one', which is not there"),
        (text(cluster={"server": ""}), "no server"),
        (text(cluster={"server": "https://"}), "not the URL"),
        (text(cluster={"server": "https://a:bc"}), "not the URL"),
        (text(cluster={"server": "https://[::1:6443"}), "not the URL"),
        (text(cluster={"proxy-url": "ftp://[::1"}), "proxy-url has the scheme 'ftp'"),
        (text(cluster={"server": 5}), "cluster.server must be text"),
        (text(cluster={"certificate-authority-data": "%%"}), "certificate-authority-data is not valid base64"),
        (text(cluster={"certificate-authority": "/none/such"}), "/none/such: No such file"),
        (text(cluster={"proxy-url": "socks5://a"}), "proxy-url has the scheme 'socks5'"),
        (text(user={"exec": {"args": []}}), "exec has no command"),
        (text(user={"exec": {"command": "x", "apiVersion": "v9"}}), "exec has apiVersion 'v9'"),
        ("/none/such", "cannot read the kubeconfig /none/such"),
    ],
)
def test_bad(given: str, message: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        load_access(given, environ={})
    assert message in caught.value.message


def test_bad_yaml_does_not_show_secrets() -> None:
    with pytest.raises(ConfigurationError) as caught:
        load_access("users:\n- user: {token: s3cret, [}\n", environ={})
    assert "s3cret" not in f"{caught.value.message}{caught.value.details}"


def test_suggestion_for_a_context() -> None:
    with pytest.raises(ConfigurationError) as caught:
        load_access(text(name="production"), "prodution", environ={})
    assert caught.value.resolution == "did you mean 'production'?"


def test_certificate_without_key() -> None:
    with pytest.raises(AuthenticationError, match="has no client-key"):
        load_access(text(user={"client-certificate-data": b64("C")}), environ={})


def test_removed_auth_provider() -> None:
    with pytest.raises(AuthenticationError, match="'gcp' cannot be used"):
        load_access(text(user={"auth-provider": {"name": "gcp"}}), environ={})


def test_exec_section(tmp_path: Path) -> None:
    user = {
        "exec": {
            "apiVersion": "client.authentication.k8s.io/v1beta1",
            "command": "./login",
            "args": ["--cluster", "x"],
            "env": [{"name": "A", "value": "b"}],
        }
    }
    cluster = {"extensions": [{"name": "client.authentication.k8s.io/exec", "extension": {"audience": "z"}}]}
    plugin = load_access(write(tmp_path / "config", kubeconfig(user=user, cluster=cluster)), environ={}).exec_plugin
    assert plugin is not None
    assert plugin.command == str(tmp_path / "login")
    assert plugin.args == ("--cluster", "x")
    assert plugin.env == (("A", "b"),)
    assert json.loads(plugin.cluster_config) == {"audience": "z"}


def test_impersonation_and_tls_name() -> None:
    access = load_access(
        text(
            user={"as": "bob", "as-groups": ["a", "b"], "as-user-extra": {"scopes": ["x"]}},
            cluster={"tls-server-name": "inner", "insecure-skip-tls-verify": True},
        ),
        environ={},
    )
    assert (access.impersonate, access.impersonate_groups) == ("bob", ("a", "b"))
    assert access.impersonate_extra == (("scopes", ("x",)),)
    assert (access.tls_server_name, access.insecure) == ("inner", True)


def test_own_proxy_wins_over_the_environment() -> None:
    environ = {"HTTPS_PROXY": "http://env:1"}
    assert load_access(text(), environ=environ).proxy_url == "http://env:1"
    assert load_access(text(cluster={"proxy-url": "https://own:2"}), environ=environ).proxy_url == "https://own:2"


@pytest.mark.parametrize(
    ("no_proxy", "url", "proxied"),
    [
        ("", "https://k8s.example:6443", True),
        ("*", "https://k8s.example:6443", False),
        ("example", "https://k8s.example:6443", False),
        (".example", "https://example", True),
        ("example", "https://example", False),
        ("*.example", "https://k8s.example", False),
        ("ample", "https://k8s.example", True),
        ("k8s.example:443", "https://k8s.example:6443", True),
        ("k8s.example:6443", "https://k8s.example:6443", False),
        ("a, 10.0.0.0/8 ,b", "https://10.1.2.3:6443", False),
        ("10.0.0.0/8", "https://11.1.2.3:6443", True),
        ("10.1.2.3", "https://10.1.2.3:6443", False),
        ("[fd00::1]:6443", "https://[fd00::1]:6443", False),
        ("", "https://127.0.0.1:6443", False),
        ("", "https://localhost:6443", False),
        ("", "https://[::1]:6443", False),
    ],
)
def test_no_proxy(no_proxy: str, url: str, proxied: bool) -> None:
    found = proxy_from_environment(url, {"https_proxy": "proxy:3128", "NO_PROXY": no_proxy})
    assert found == ("http://proxy:3128" if proxied else "")


def test_http_server_uses_http_proxy() -> None:
    environ = {"HTTPS_PROXY": "http://s:1", "HTTP_PROXY": "http://p:2"}
    assert proxy_from_environment("http://k8s.example", environ) == "http://p:2"
