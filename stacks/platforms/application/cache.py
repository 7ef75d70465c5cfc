"""A Redis-compatible cache as a capability: every app has a user and a key prefix of its own, nobody else gets in.

Users live in an access-list file on the volume, so that a restart keeps them. The tenants' provisioning Jobs
(`stacks.tenants.provisioning`) set and save them.
"""

from __future__ import annotations

import hashlib

import pulumi

from wecityctl.model.outputs import Endpoint
from wecityctl.model.quantity import parse_quantity
from wecityctl.stacks import pods
from wecityctl.stacks.base.kubernetes import priority_class
from wecityctl.stacks.objects import Manifest, secret_value
from wecityctl.stacks.platforms.platform import CapabilityComponent, CapabilityScope
from wecityctl.stacks.platforms.stateful import provisioning_policies, stateful_set, volume_claim
from wecityctl.stacks.upstream import base_outputs

# The numeric user of the upstream image and of ours.
USER = 999
DATA = "/data"
CONFIGURATION = "/etc/cache"

# The administrator's line is written anew at every start; the apps' lines, which provisioning saved, are kept.
PREPARE = f"""set -eu
umask 077
touch {DATA}/users.acl
{{
  echo "user default off resetkeys resetchannels -@all"
  echo "user admin on #$ADMIN_SHA256 ~* &* +@all"
  grep -v -e '^user default ' -e '^user admin ' {DATA}/users.acl || true
}} > {DATA}/users.acl.new
mv {DATA}/users.acl.new {DATA}/users.acl
"""


class Cache(CapabilityComponent):
    """A cache server."""

    def build(self, context: CapabilityScope) -> Endpoint:
        inputs = self.scope.inputs
        name, namespace = context.capability.name, context.namespace
        image = inputs.images["cache"]
        admin = f"{name}-admin"
        password = secret_value(inputs, context.admin_key)
        credentials = self.scope.add(
            pods.secret(namespace, admin, {"password": password, "sha256": password.apply(sha256)})
        )
        configuration = self.scope.add(
            pods.config_map(namespace, f"{name}-configuration", {"cache.conf": settings(context)})
        )
        base = base_outputs(inputs)
        claim = self.scope.add(
            volume_claim(namespace, f"{name}-data", context.storage, base.storage_class if base else ""),
            protect=True,
            retain=True,
        )
        self.scope.add_all(provisioning_policies(context))
        ready = self.scope.after(credentials, configuration, claim)
        ready.add(self._workload(context, image, admin))
        self.scope.add(pods.service(namespace, name, context.selector, {"redis": context.type.port}))
        return context.endpoint(service=name, admin_secret=admin, image=image)

    def _workload(self, context: CapabilityScope, image: str, admin: str) -> Manifest:
        requests = context.resources()
        data = {"name": "data", "mountPath": DATA}
        answers: Manifest = {"tcpSocket": {"port": "redis"}, "periodSeconds": 2}
        server = pods.container(
            "cache",
            image,
            command=["valkey-server", f"{CONFIGURATION}/cache.conf"],
            ports={"redis": context.type.port},
            mounts=[data, {"name": "configuration", "mountPath": CONFIGURATION, "readOnly": True}],
            requests=requests,
            readiness=answers,
            liveness={**answers, "periodSeconds": 10},
        )
        prepare = pods.container(
            "prepare",
            image,
            command=["/bin/sh", "-c", PREPARE],
            env=[pods.from_secret("ADMIN_SHA256", admin, "sha256")],
            mounts=[data],
            requests=requests,
        )
        name = context.capability.name
        spec = pods.pod(
            [server],
            cluster=self.scope.inputs.cluster,
            init=[prepare],
            volumes=[
                {"name": "data", "persistentVolumeClaim": {"claimName": f"{name}-data"}},
                {"name": "configuration", "configMap": {"name": f"{name}-configuration"}},
            ],
            user=USER,
            priority_class=priority_class(self.scope.inputs.city.name, "platform"),
            architectures=self.scope.inputs.city.images.architectures,
        )
        content = secret_value(self.scope.inputs, context.admin_key).apply(
            lambda password: pods.content_digest({"conf": settings(context), "admin": sha256(password)})
        )
        labels = {**self.scope.labels, **context.selector}
        return stateful_set(context, pods.template(labels, spec, pulumi.Output.unsecret(content)))


def settings(context: CapabilityScope) -> str:
    """The server's configuration: bounded memory, snapshots, users from the access-list file."""
    memory = int(parse_quantity(context.resources()["memory"]) * 3 / 4)
    return "\n".join(
        (
            "bind * -::*",
            f"port {context.type.port}",
            f"dir {DATA}",
            f"aclfile {DATA}/users.acl",
            # The default user is off, so nobody is without a password; images differ in the default.
            "protected-mode no",
            f"maxmemory {memory}",
            "maxmemory-policy allkeys-lru",
            "save 300 1",
            "appendonly no",
            "",
        )
    )


def sha256(password: str) -> str:
    """A password as the access list stores it."""
    return hashlib.sha256(password.encode()).hexdigest()
