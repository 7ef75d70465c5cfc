"""The vault: an OpenBao server with a volume, which initialises and unseals itself.

Its volume is encrypted with a key from the city's secret store (the static seal), so that it opens by itself after a
restart and nowhere without the store. At its first start it makes the administrator, whose rights end at what
provisioning needs; there is no root token and there are no key shares. What was asked of it, it writes to its log as
JSON, values hashed; the SIGHUP by which it takes over a renewed certificate interrupts that as little as a restart.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import pulumi

from stacks import pods
from stacks.base.kubernetes import priority_class
from stacks.objects import Manifest, secret_value
from stacks.passwords import sha256
from stacks.platforms import tls
from stacks.platforms.component import CapabilityScope
from stacks.platforms.operations.vault import guard as vault_guard
from stacks.platforms.operations.vault.access import ADMIN, ADMIN_POLICY, BACKUP, MAX_REQUEST
from stacks.platforms.stateful import guard_command, server_requests, stateful_set, volume_lock
from stacks.platforms.store import StoreComponent
from wecityctl.model import naming
from wecityctl.model.quantity import parse_quantity

# The numeric user of the image.
USER = 65532
DATA = "/data"
CONFIGURATION = "/etc/vault"
SEAL = "/etc/seal"
# Requests of the containers beside the server. Together they are what `server_requests` leaves for a guard.
GUARD_REQUESTS, FIGURES_REQUESTS = {"cpu": "8m", "memory": "24Mi"}, {"cpu": "2m", "memory": "8Mi"}
GUARD_LIMITS, FIGURES_LIMITS = {"memory": "64Mi"}, {"memory": "32Mi"}
# Between servers, of which there is one; and for what the server measures. Both on the loopback device.
_CLUSTER_PORT, _FIGURES_PORT = 8201, 8203


class Vault(StoreComponent):
    """A vault."""

    def admin_values(self, password: pulumi.Output[str]) -> Mapping[str, pulumi.Input[str]]:
        return {"password": password, BACKUP: password.apply(lambda text: sha256(f"{BACKUP}:{text}"))}

    def configuration(self, context: CapabilityScope) -> Sequence[Manifest]:
        name, namespace = context.capability.name, context.namespace
        seal = secret_value(self.scope.inputs, naming.instance_key(name, "seal"))
        return [
            pods.config_map(namespace, f"{name}-configuration", {"vault.hcl": _settings(context)}),
            # Of 32 bytes, as the cipher wants it.
            pods.secret(namespace, f"{name}-seal", {"key": seal.apply(sha256)}),
        ]

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
        seal: Manifest = {"name": "seal", "mountPath": SEAL, "readOnly": True}
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
                {"name": "VOLUME", "value": DATA},
            ],
            mounts=[{**data, "readOnly": True}],
            requests=GUARD_REQUESTS,
            limits=GUARD_LIMITS,
        )
        figures = pods.container(
            "metrics",
            image,
            command=["vault-metrics", *_tell(context)],
            env=[{"name": "GOMEMLIMIT", "value": str(int(parse_quantity(FIGURES_LIMITS["memory"])) * 3 // 4)}],
            mounts=[{**data, "readOnly": True}, *([tls.MOUNT] if context.tls else [])],
            requests=FIGURES_REQUESTS,
            limits=FIGURES_LIMITS,
        )
        spec = pods.pod(
            [server, guard, figures],
            cluster=self.scope.inputs.cluster,
            volumes=[
                {"name": "data", "persistentVolumeClaim": {"claimName": f"{context.capability.name}-data"}},
                {"name": "configuration", "configMap": {"name": f"{context.capability.name}-configuration"}},
                {"name": "seal", "secret": {"secretName": f"{context.capability.name}-seal", "defaultMode": 0o440}},
                *([tls.volume(context)] if context.tls else []),
            ],
            user=USER,
            priority_class=priority_class(self.scope.inputs.city.name, "platform"),
            affinity=context.affinity,
        )
        content = secret_value(self.scope.inputs, context.admin_key).apply(
            lambda password: pods.content_digest({"admin": password, "settings": _settings(context)})
        )
        labels = {**self.scope.labels, **context.selector}
        return stateful_set(context, pods.template(labels, spec, pulumi.Output.unsecret(content)))


def _settings(context: CapabilityScope) -> str:
    return settings(context.capability.name, context.namespace, context.type.port, is_tls=context.tls)


def settings(name: str, namespace: str, port: int, *, is_tls: bool) -> str:
    """The configuration of the server behind the Service `name`. `initialize` is done once, at the first start.

    Tokens of the administrator live for minutes and are stored nowhere: every Job and every guard takes one.

    Nobody is locked out by wrong passwords: those of all accounts are generated, and whoever reaches the server could
    lock out the administrator, without whom no limit is held, and the apps of others, whose names can be guessed.
    """
    scheme = "https" if is_tls else "http"
    certificate = (
        f'tls_cert_file = "{tls.CERTIFICATE}"\n  tls_key_file = "{tls.KEY}"\n  tls_min_version = "tls12"'
        if is_tls
        else "tls_disable = true"
    )
    return f"""ui = false
api_addr = "{scheme}://{name}.{namespace}.svc:{port}"
cluster_addr = "https://127.0.0.1:{_CLUSTER_PORT}"
storage "raft" {{
  path = "{DATA}"
  node_id = "0"
}}
listener "tcp" {{
  address = "[::]:{port}"
  cluster_address = "127.0.0.1:{_CLUSTER_PORT}"
  max_request_size = {MAX_REQUEST}
  max_request_duration = "30s"
  {certificate}
}}
listener "tcp" {{
  address = "127.0.0.1:{_FIGURES_PORT}"
  cluster_address = "127.0.0.1:{_CLUSTER_PORT}"
  tls_disable = true
  telemetry {{
    unauthenticated_metrics_access = true
  }}
}}
seal "static" {{
  current_key_id = "1"
  current_key = "file://{SEAL}/key"
}}
user_lockout "all" {{
  disable_lockout = "true"
}}
telemetry {{
  usage_gauge_period = "10s"
  disable_hostname = true
  prometheus_retention_time = "24h"
}}
audit "file" "log" {{
  options {{
    file_path = "stdout"
  }}
}}
initialize "city" {{
  request "passwords" {{
    operation = "update"
    path = "sys/auth/userpass"
    data = {{ type = "userpass" }}
  }}
  request "roles" {{
    operation = "update"
    path = "sys/auth/approle"
    data = {{ type = "approle" }}
  }}
  request "policy" {{
    operation = "update"
    path = "sys/policies/acl/admin"
    data = {{
      policy = <<RULES
{ADMIN_POLICY}RULES
    }}
  }}
  request "administrator" {{
    operation = "update"
    path = "auth/userpass/users/{ADMIN}"
    data = {{
      password = {{
        eval_type = "string"
        eval_source = "env"
        env_var = "ADMIN_PASSWORD"
      }}
      token_policies = ["admin"]
      token_type = "batch"
      token_ttl = "10m"
    }}
  }}
}}
"""


def _tell(context: CapabilityScope) -> Iterator[str]:
    """The options of the program that tells what the server measures."""
    yield f"-listen=:{context.ports['metrics']}"
    yield f"-server=http://127.0.0.1:{_FIGURES_PORT}"
    yield f"-data={DATA}"
    if context.tls:
        yield f"-certificate={tls.CERTIFICATE}"
        yield f"-key={tls.KEY}"


def start(context: CapabilityScope) -> str:
    """The shell command that becomes the server."""
    watch = tls.RELOAD if context.tls else ""
    return f"set -eu\numask 077\n{volume_lock(DATA)}{watch}exec bao server -config={CONFIGURATION}/vault.hcl"
