"""Writes an access as a standalone kubeconfig: one context, with everything inline that can be.

The text needs no other file, except a token file or an exec plug-in that renews credentials.
"""

from __future__ import annotations

import base64
import json
from typing import Any

from wecityctl.kube.config import Access


def kubeconfig_text(access: Access) -> str:
    """A kubeconfig (JSON, which is YAML) with the context of `access` as the current one."""
    name = access.context or "cluster"
    context: dict[str, Any] = {"cluster": name, "user": name, "namespace": access.namespace}
    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": name, "cluster": _cluster(access)}],
        "users": [{"name": name, "user": _user(access)}],
        "contexts": [{"name": name, "context": context}],
        "current-context": name,
    }
    return json.dumps(document, sort_keys=True)


def _cluster(access: Access) -> dict[str, Any]:
    return _present(
        {
            "server": access.server,
            "certificate-authority-data": _encode(access.ca_data),
            "insecure-skip-tls-verify": access.insecure,
            "tls-server-name": access.tls_server_name,
            "proxy-url": access.proxy_url,
        }
    )


def _user(access: Access) -> dict[str, Any]:
    return _present(
        {
            "client-certificate-data": _encode(access.client_cert),
            "client-key-data": _encode(access.client_key),
            "token": access.token,
            "tokenFile": str(access.token_file) if access.token_file else "",
            "username": access.username,
            "password": access.password,
            "as": access.impersonate,
            "as-uid": access.impersonate_uid,
            "as-groups": list(access.impersonate_groups),
            "as-user-extra": {key: list(values) for key, values in access.impersonate_extra},
            "exec": _exec(access),
        }
    )


def _exec(access: Access) -> dict[str, Any] | None:
    plugin = access.exec_plugin
    if plugin is None:
        return None
    return _present(
        {
            "apiVersion": plugin.api_version,
            "command": plugin.command,
            "args": list(plugin.args),
            "env": [{"name": name, "value": value} for name, value in plugin.env],
            "installHint": plugin.install_hint,
            "provideClusterInfo": plugin.provide_cluster_info,
            "interactiveMode": plugin.interactive_mode,
        }
    )


def _encode(data: bytes | None) -> str:
    return base64.b64encode(data).decode() if data else ""


def _present(values: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in values.items() if value}
