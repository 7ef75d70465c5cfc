"""The vault: an OpenBao server with a volume, which initialises and unseals itself.

Its volume is encrypted with a key from the city's secret store (the static seal), so that it opens by itself after a
restart and nowhere without the store. At its first start it makes the administrator, whose rights end at what
provisioning needs; there is no root token and there are no key shares. What was asked of it, it writes to its log as
JSON, values hashed.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

import pulumi

from stacks import pods
from stacks.base.kubernetes import priority_class
from stacks.objects import Manifest, secret_value
from stacks.passwords import sha256
from stacks.platforms import tls
from stacks.platforms.component import CapabilityScope
from stacks.platforms.operations.vault import guard as vault_guard
from stacks.platforms.operations.vault.access import ADMIN, ADMIN_POLICY, MAX_REQUEST
from stacks.platforms.stateful import GUARD_REQUESTS, guard_command, server_requests, stateful_set, volume_lock
from stacks.platforms.store import StoreComponent
from wecityctl.model import naming
from wecityctl.model.quantity import parse_quantity

# The numeric user of the image.
USER = 65532
DATA = "/data"
CONFIGURATION = "/etc/vault"
GUARD_LIMITS = {"memory": "64Mi"}
# Between servers, of which there is one.
_CLUSTER_PORT = 8201

# The server reads its certificate again on SIGHUP, and is the process that this shell becomes.
_WATCH = f"""(
  loaded=$(cksum < {tls.CERTIFICATE})
  while sleep 10 && kill -0 $$; do
    found=$(cksum < {tls.CERTIFICATE}) || continue
    [ "$found" != "$loaded" ] || continue
    echo "the server takes over its renewed certificate" >&2
    kill -HUP $$
    loaded=$found
  done
) &
"""


class Vault(StoreComponent):
    """A vault."""

    def admin_values(self, password: pulumi.Output[str]) -> Mapping[str, pulumi.Input[str]]:
        seal = secret_value(self.scope.inputs, naming.instance_key(self.capability_name, "seal"))
        return {"password": password, "seal-key": seal.apply(sha256)}

    def configuration(self, context: CapabilityScope) -> Sequence[Manifest]:
        name = f"{context.capability.name}-configuration"
        return [pods.config_map(context.namespace, name, {"vault.json": settings(context)})]

    def workload(self, context: CapabilityScope, image: str, admin: str) -> Manifest:
        requests = server_requests(context)
        data: Manifest = {"name": "data", "mountPath": DATA}
        scheme = "https" if context.tls else "http"
        ready: Manifest = {
            "httpGet": {"path": "/v1/sys/health", "port": "api", "scheme": scheme.upper()},
            "periodSeconds": 2,
            "timeoutSeconds": 5,
        }
        memory = int(parse_quantity(requests["memory"]))
        configuration: Manifest = {"name": "configuration", "mountPath": CONFIGURATION, "readOnly": True}
        seal: Manifest = {"name": "seal", "mountPath": "/etc/seal", "readOnly": True}
        server = pods.container(
            "vault",
            image,
            command=["/bin/sh", "-c", start(context)],
            env=[
                pods.from_secret("ADMIN_PASSWORD", admin, "password"),
                {"name": "GOMEMLIMIT", "value": str(memory * 3 // 4)},
            ],
            ports=context.ports,
            mounts=[data, configuration, seal, *([tls.MOUNT] if context.tls else [])],
            requests=requests,
            readiness=ready,
            liveness={**ready, "periodSeconds": 10, "failureThreshold": 6},
            startup={**ready, "periodSeconds": 1, "failureThreshold": 120},
        )
        guard = pods.container(
            "guard",
            image,
            command=guard_command(vault_guard.script()),
            env=[
                pods.from_secret("ADMIN_PASSWORD", admin, "password"),
                {"name": "SERVER", "value": f"{scheme}://127.0.0.1:{context.type.port}"},
            ],
            requests=GUARD_REQUESTS,
            limits=GUARD_LIMITS,
        )
        key = {"items": [{"key": "seal-key", "path": "key"}], "defaultMode": 0o440}
        spec = pods.pod(
            [server, guard],
            cluster=self.scope.inputs.cluster,
            volumes=[
                {"name": "data", "persistentVolumeClaim": {"claimName": f"{context.capability.name}-data"}},
                {"name": "configuration", "configMap": {"name": f"{context.capability.name}-configuration"}},
                {"name": "seal", "secret": {"secretName": admin, **key}},
                *([tls.volume(context)] if context.tls else []),
            ],
            user=USER,
            priority_class=priority_class(self.scope.inputs.city.name, "platform"),
            affinity=context.affinity,
        )
        content = secret_value(self.scope.inputs, context.admin_key).apply(
            lambda password: pods.content_digest({"admin": password, "settings": settings(context)})
        )
        labels = {**self.scope.labels, **context.selector}
        return stateful_set(context, pods.template(labels, spec, pulumi.Output.unsecret(content)))


def settings(context: CapabilityScope) -> str:
    """The server's configuration. Requests of `initialize` are made once, at the first start."""
    scheme = "https" if context.tls else "http"
    name = f"{context.capability.name}.{context.namespace}.svc"
    listener: dict[str, object] = {
        "address": f"[::]:{context.type.port}",
        "cluster_address": f"127.0.0.1:{_CLUSTER_PORT}",
        "max_request_size": MAX_REQUEST,
        "max_request_duration": "30s",
        "tls_disable": not context.tls,
    }
    if context.tls:
        listener |= {"tls_cert_file": tls.CERTIFICATE, "tls_key_file": tls.KEY, "tls_min_version": "tls12"}
    return json.dumps(
        {
            "ui": False,
            "storage": {"raft": {"path": DATA, "node_id": "0"}},
            "listener": {"tcp": listener},
            "seal": {"static": {"current_key_id": "1", "current_key": "file:///etc/seal/key"}},
            "api_addr": f"{scheme}://{name}:{context.type.port}",
            "cluster_addr": f"https://127.0.0.1:{_CLUSTER_PORT}",
            "telemetry": {"usage_gauge_period": "10s", "disable_hostname": True, "prometheus_retention_time": "24h"},
            "audit": {"file": {"log": {"options": {"file_path": "stdout"}}}},
            "initialize": {"city": {"request": _requests()}},
        },
        indent=1,
        sort_keys=True,
    )


def _requests() -> list[dict[str, object]]:
    """What is asked of a new server, in this order: ways to sign in, and the administrator."""
    password = {"eval_type": "string", "eval_source": "env", "env_var": "ADMIN_PASSWORD"}
    # Tokens of a few minutes that are stored nowhere: every Job and every round of the guard takes one.
    user = {"password": password, "token_policies": ["admin"], "token_type": "batch", "token_ttl": "10m"}
    wanted: Mapping[str, Mapping[str, object]] = {
        "sys/auth/userpass": {"type": "userpass"},
        "sys/auth/approle": {"type": "approle"},
        "sys/policies/acl/admin": {"policy": ADMIN_POLICY},
        f"auth/userpass/users/{ADMIN}": user,
    }
    return [
        {f"step-{number}": {"operation": "update", "path": path, "data": data}}
        for number, (path, data) in enumerate(wanted.items())
    ]


def start(context: CapabilityScope) -> str:
    """The shell command that becomes the server."""
    watch = _WATCH if context.tls else ""
    return f"set -eu\numask 077\n{volume_lock(DATA)}{watch}exec bao server -config={CONFIGURATION}/vault.json"
