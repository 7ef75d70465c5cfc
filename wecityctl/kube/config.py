"""How to reach one API server as one user: kubeconfigs read and merged as kubectl does, into one frozen value.

Reads files and the environment; runs no exec plug-in and opens no connection (see `credentials` and `transport`).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path


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
    cluster_config: str = ""  # JSON of the cluster's extension client.authentication.k8s.io/exec


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


def load_access(kubeconfig: str | None = None, context: str | None = None) -> Access:
    """The access that `kubeconfig` and `context` name.

    `kubeconfig` is the text of a kubeconfig (YAML or JSON), a path, or None: then $KUBECONFIG (merged as kubectl does),
    ~/.kube/config, or the pod's service account. Raises `ConfigurationError` for what cannot be read or is missing,
    `AuthenticationError` for credentials that cannot work.
    """
    raise NotImplementedError
