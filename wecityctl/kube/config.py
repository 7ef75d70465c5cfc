"""The access to one API server as one user: reads and merges kubeconfigs as kubectl does, into one frozen value.

Reads files and the environment; runs no exec plug-in and opens no connection (see `credentials` and `transport`).
"""

from __future__ import annotations

import base64
import binascii
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from wecityctl.errors import AuthenticationError, ConfigurationError
from wecityctl.guesses import nearest
from wecityctl.kube.kubeconfig import Entry, Kubeconfig, parse, read, read_all
from wecityctl.kube.proxies import proxy_from_environment

EXEC_VERSIONS = ("client.authentication.k8s.io/v1", "client.authentication.k8s.io/v1beta1")
EXEC_EXTENSION = "client.authentication.k8s.io/exec"
SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")


@dataclass(frozen=True, slots=True)
class ExecPlugin:
    """A command that prints credentials (client.authentication.k8s.io)."""

    command: str
    args: tuple[str, ...] = ()
    env: tuple[tuple[str, str], ...] = ()
    api_version: str = "client.authentication.k8s.io/v1"
    install_hint: str = ""
    provide_cluster_info: bool = False
    interactive_mode: str = "IfAvailable"
    cluster_config: str = "null"  # JSON of the cluster's extension for exec plug-ins


@dataclass(frozen=True, slots=True)
class Access:
    """One API server as one user. Secrets are kept out of the repr; equal values share connections."""

    server: str
    context: str = ""
    namespace: str = "default"
    ca_data: bytes | None = field(default=None, repr=False)
    insecure: bool = False
    tls_server_name: str = ""
    client_cert: bytes | None = field(default=None, repr=False)
    client_key: bytes | None = field(default=None, repr=False)
    token: str = field(default="", repr=False)
    token_file: Path | None = None
    username: str = ""
    password: str = field(default="", repr=False)
    exec_plugin: ExecPlugin | None = field(default=None, repr=False)
    proxy_url: str = field(default="", repr=False)
    impersonate: str = ""
    impersonate_uid: str = ""
    impersonate_groups: tuple[str, ...] = ()
    impersonate_extra: tuple[tuple[str, tuple[str, ...]], ...] = ()


def load_access(
    kubeconfig: str | None = None, context: str | None = None, *, environ: Mapping[str, str] | None = None
) -> Access:
    """The access that `kubeconfig` and `context` describe.

    `kubeconfig` is the text of a kubeconfig (YAML or JSON), a path, or None: then $KUBECONFIG (merged as kubectl does),
    ~/.kube/config, or the pod's service account. Raises `ConfigurationError` if it is missing or invalid, and
    `AuthenticationError` for credentials that cannot work.
    """
    env = os.environ if environ is None else environ
    if kubeconfig:
        return _select(_given(kubeconfig), context, env)
    found = read_all(_standard_paths(env))
    if found is not None and (found.contexts or found.clusters):
        return _select(found, context, env)
    if context is None and env.get("KUBERNETES_SERVICE_HOST"):
        return _in_cluster(env)
    raise ConfigurationError(
        "no kubeconfig was found",
        details="looked at: " + ", ".join(str(p) for p in _standard_paths(env)),
        resolution="set KUBECONFIG, or name a kubeconfig in the cloud's settings",
    )


def context_names(kubeconfig: str | None = None, *, environ: Mapping[str, str] | None = None) -> tuple[str, ...]:
    """The names of the available contexts, read from the same places as in `load_access`."""
    env = os.environ if environ is None else environ
    found = _given(kubeconfig) if kubeconfig else read_all(_standard_paths(env))
    return tuple(sorted(found.contexts)) if found is not None else ()


def _given(kubeconfig: str) -> Kubeconfig:
    text = kubeconfig.strip()
    if "\n" in text or text.startswith("{"):
        return parse(kubeconfig, None)
    return read(Path(text).expanduser())


def _standard_paths(env: Mapping[str, str]) -> list[Path]:
    listed = [p for p in env.get("KUBECONFIG", "").split(os.pathsep) if p]
    if listed:
        return list(dict.fromkeys(Path(p) for p in listed))
    home = Path(env["HOME"]) if env.get("HOME") else Path.home()
    return [home / ".kube" / "config"]


def _select(config: Kubeconfig, context: str | None, env: Mapping[str, str]) -> Access:
    name = context or config.current_context
    where = ", ".join(config.sources)
    known = sorted(config.contexts)
    if not name:
        raise ConfigurationError(
            f"{where}: no current-context is set",
            resolution=f"choose one of its contexts: {', '.join(known)}" if known else "",
        )
    chosen = config.contexts.get(name)
    if chosen is None:
        near = nearest(name, known)
        raise ConfigurationError(
            f"{where}: there is no context {name!r}",
            details=f"contexts: {', '.join(known) or 'none'}",
            resolution=f"did you mean {near!r}?" if near else "",
        )
    cluster_name, user_name = _text(chosen, "cluster", "context"), _text(chosen, "user", "context")
    cluster = config.clusters.get(cluster_name)
    if cluster is None:
        raise ConfigurationError(f"{chosen.where}: context {name!r} names cluster {cluster_name!r}, which is not there")
    user = config.users.get(user_name) if user_name else Entry({}, None)
    if user is None:
        raise ConfigurationError(f"{chosen.where}: context {name!r} names user {user_name!r}, which is not there")
    return _build(name, _text(chosen, "namespace", "context") or "default", cluster, user, env)


def _build(context: str, namespace: str, cluster: Entry, user: Entry, env: Mapping[str, str]) -> Access:
    ca = _bytes(cluster, "certificate-authority", "cluster")
    cert, key = _bytes(user, "client-certificate", "user"), _bytes(user, "client-key", "user")
    if (cert is None) != (key is None):
        missing = "client-key" if key is None else "client-certificate"
        raise AuthenticationError(f"{user.where}: the user of context {context!r} has no {missing}")
    token_file = _text(user, "tokenFile", "user")
    insecure = cluster.body.get("insecure-skip-tls-verify") is True
    server = _server(cluster, tls=ca is not None or cert is not None or insecure)
    exec_plugin = _exec_plugin(cluster, user)
    return Access(
        server=server,
        context=context,
        namespace=namespace,
        ca_data=None if insecure else ca,
        insecure=insecure,
        tls_server_name=_text(cluster, "tls-server-name", "cluster"),
        client_cert=cert,
        client_key=key,
        token=_text(user, "token", "user") or _legacy_token(user),
        token_file=user.resolve(token_file) if token_file else None,
        username=_text(user, "username", "user"),
        password=_text(user, "password", "user"),
        exec_plugin=exec_plugin,
        proxy_url=_proxy(cluster, server, env),
        impersonate=_text(user, "as", "user"),
        impersonate_uid=_text(user, "as-uid", "user"),
        impersonate_groups=tuple(str(g) for g in user.body.get("as-groups") or ()),
        impersonate_extra=tuple(
            (str(k), tuple(str(v) for v in values or ()))
            for k, values in (user.body.get("as-user-extra") or {}).items()
        ),
    )


def _server(cluster: Entry, *, tls: bool) -> str:
    server = _text(cluster, "server", "cluster")
    if not server:
        raise ConfigurationError(f"{cluster.where}: the cluster has no server")
    if "://" not in server:
        server = f"{'https' if tls else 'http'}://{server}"
    try:
        parts = urlsplit(server)
        valid = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port or 1) > 0
    except ValueError:
        valid = False
    if not valid:
        raise ConfigurationError(f"{cluster.where}: {server!r} is not the URL of an API server")
    return server.rstrip("/")


def _proxy(cluster: Entry, server: str, env: Mapping[str, str]) -> str:
    own = _text(cluster, "proxy-url", "cluster")
    proxy = own or proxy_from_environment(server, env)
    scheme = proxy.partition("://")[0].lower() if "://" in proxy else ""
    if proxy and scheme not in ("http", "https"):
        source = f"{cluster.where}: proxy-url" if own else "the proxy of the environment"
        raise ConfigurationError(f"{source} has the scheme {scheme!r}", resolution="use an http or https proxy")
    return proxy


def _exec_plugin(cluster: Entry, user: Entry) -> ExecPlugin | None:
    body = user.body.get("exec")
    if body is None:
        return None
    if not isinstance(body, dict) or not body.get("command"):
        raise ConfigurationError(f"{user.where}: exec has no command")
    version = str(body.get("apiVersion") or "")
    if version not in EXEC_VERSIONS:
        raise ConfigurationError(
            f"{user.where}: exec has apiVersion {version!r}", details=f"supported: {', '.join(EXEC_VERSIONS)}"
        )
    command = str(body["command"])
    if "/" in command:
        command = str(user.resolve(command))
    extensions = cluster.body.get("extensions") or []
    config = next(
        (e.get("extension") for e in extensions if isinstance(e, dict) and e.get("name") == EXEC_EXTENSION), None
    )
    return ExecPlugin(
        command=command,
        args=tuple(str(a) for a in body.get("args") or ()),
        env=tuple((str(e.get("name")), str(e.get("value", ""))) for e in body.get("env") or () if isinstance(e, dict)),
        api_version=version,
        install_hint=str(body.get("installHint") or ""),
        provide_cluster_info=body.get("provideClusterInfo") is True,
        interactive_mode=str(body.get("interactiveMode") or "IfAvailable"),
        cluster_config=json.dumps(config, sort_keys=True),
    )


def _legacy_token(user: Entry) -> str:
    provider = user.body.get("auth-provider")
    if not isinstance(provider, dict):
        return ""
    token = (provider.get("config") or {}).get("id-token")
    if provider.get("name") == "oidc" and token:
        return str(token)
    raise AuthenticationError(
        f"{user.where}: the auth-provider {provider.get('name')!r} cannot be used",
        resolution="use an exec plug-in (`exec:`) instead; Kubernetes removed auth-provider plug-ins in 1.26",
    )


def _in_cluster(env: Mapping[str, str]) -> Access:
    host, port = env["KUBERNETES_SERVICE_HOST"], env.get("KUBERNETES_SERVICE_PORT", "443")
    address = f"[{host}]" if ":" in host else host
    try:
        ca = (SERVICE_ACCOUNT / "ca.crt").read_bytes()
        namespace = (SERVICE_ACCOUNT / "namespace").read_text(encoding="utf-8").strip()
    except OSError as error:
        raise ConfigurationError(
            f"this looks like a pod, but its service account cannot be read: {error.filename}: {error.strerror}",
            resolution="set KUBECONFIG, or let the pod mount its service account token",
        ) from error
    server = f"https://{address}:{port}"
    return Access(
        server=server,
        context="in-cluster",
        namespace=namespace or "default",
        ca_data=ca,
        token_file=SERVICE_ACCOUNT / "token",
        proxy_url=proxy_from_environment(server, env),
    )


def _bytes(entry: Entry, name: str, section: str) -> bytes | None:
    """`<name>-data` (base64) if present, otherwise the content of the file `<name>`."""
    data = _text(entry, f"{name}-data", section)
    if data:
        try:
            return base64.b64decode("".join(data.split()), validate=True)
        except (binascii.Error, ValueError) as error:
            raise ConfigurationError(f"{entry.where}: {section}.{name}-data is not valid base64") from error
    file = _text(entry, name, section)
    if not file:
        return None
    path = entry.resolve(file)
    try:
        return path.read_bytes()
    except OSError as error:
        raise ConfigurationError(f"{entry.where}: {section}.{name}: {path}: {error.strerror or error}") from error


def _text(entry: Entry, key: str, section: str) -> str:
    value = entry.body.get(key)
    if value is None:
        return ""
    if not isinstance(value, str):
        raise ConfigurationError(f"{entry.where}: {section}.{key} must be text")
    return value.strip()
