"""What an app gets inside a shared capability: a database and role, or a cache user and key prefix, of its own.

An idempotent Job in the capability's namespace makes it, named by the digest of its input, so that a change of input is
a new Job and no change is none. The administrator's credentials stay in that namespace; the app's own are written into
a Secret beside the Job and, as a binding, into the tenant's namespace. For an app on another cloud the Job is part of
a stack of its own on the capability's cloud (`stacks.tenants.crossing`), and only the binding of the tenant's.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import pulumi

from wecityctl.model import naming
from wecityctl.model.catalogue import UseLimits
from wecityctl.model.city import App, Capability, Use
from wecityctl.model.quantity import parse_quantity
from wecityctl.model.service_tls import SERVICE_AUTHORITY_KEY, speaks_tls
from wecityctl.model.variables import BINDING_ROOT
from wecityctl.stacks import pods
from wecityctl.stacks.objects import KubernetesObject, Manifest, Scope, secret_value
from wecityctl.stacks.platforms import tls
from wecityctl.stacks.platforms.application import cache_access, postgresql_access
from wecityctl.stacks.platforms.application.cache import sha256
from wecityctl.stacks.platforms.stateful import provisioning_labels
from wecityctl.stacks.upstream import KnownEndpoint

USER = 999


@dataclass(frozen=True)
class Binding:
    """One use of an app, resolved: the Secret that the app mounts."""

    alias: str
    secret: KubernetesObject
    secret_name: str
    content: pulumi.Output[str]


def bind(scope: Scope, app: App, use: Use, namespace: str, endpoint: KnownEndpoint) -> Binding:
    """Write the binding of `use`. `scope` is the app's, in its namespace."""
    kind = scope.inputs.catalogue[endpoint.type].binding
    values: dict[str, Any] = {"type": kind or endpoint.type, "provider": "wecity"}
    values |= {"host": endpoint.host, "port": pulumi.Output.from_input(endpoint.port).apply(str)}
    is_tls = _is_tls(scope, use)
    if is_tls:
        values["ca.crt"] = secret_value(scope.inputs, SERVICE_AUTHORITY_KEY)
    if kind in _PROVISIONERS:
        provisioner = _PROVISIONERS[kind]
        role = provisioner.role(app.tenant, app.name, use.alias)
        authority = f"{BINDING_ROOT}/{use.alias}/ca.crt" if is_tls else ""
        values |= provisioner.values(role, _password(scope, app, use), endpoint, authority)
    name = naming.binding_secret(app.name, use.alias)
    secret = scope.add(pods.secret(namespace, name, values, f"servicebinding.io/{kind or endpoint.type}"))
    content = pulumi.Output.all(**values).apply(pods.content_digest)
    return Binding(use.alias, secret, name, content)


@dataclass(frozen=True)
class Provisioner:
    """How one kind of capability makes room for an app.

    `values` makes the binding's entries of role, password, endpoint and the path of the authority's certificates (empty
    for a plain connection). `settings` are the variables that the script takes beside address and credentials: what the
    app may do and take; `connecting` those that say how it knows the server, with TLS and without.
    """

    script: str
    role: Callable[[str, str, str], str]
    values: Callable[[str, pulumi.Output[str], KnownEndpoint, str], Mapping[str, Any]]
    settings: Callable[[Capability, Use, UseLimits], Mapping[str, str]]
    connecting: Callable[[bool], Mapping[str, str]]


def _postgresql_values(
    role: str, password: pulumi.Output[str], endpoint: KnownEndpoint, authority: str
) -> Mapping[str, Any]:
    checks = {"sslmode": "verify-full", "sslrootcert": authority} if authority else {}
    query = "?" + "&".join(f"{key}={value}" for key, value in checks.items()) if checks else ""
    uri = pulumi.Output.format(
        "postgresql://{0}:{1}@{2}:{3}/{0}{4}", role, password, endpoint.host, endpoint.port, query
    )
    return {"database": role, "username": role, "password": password, "uri": uri, **checks}


def _cache_values(
    role: str, password: pulumi.Output[str], endpoint: KnownEndpoint, authority: str
) -> Mapping[str, Any]:
    scheme = "rediss" if authority else "redis"
    uri = pulumi.Output.format("{4}://{0}:{1}@{2}:{3}/0", role, password, endpoint.host, endpoint.port, scheme)
    return {"username": role, "password": password, "prefix": f"{role}:", "uri": uri}


# What stands for a limit that the type of a partner's package does not have.
_UNBOUNDED = 2**62


def _postgresql_settings(capability: Capability, use: Use, limits: UseLimits) -> Mapping[str, str]:
    return {
        "CONNECTIONS": str(limits.connections or -1),
        "STATEMENT_SECONDS": str(limits.statement_seconds),
        "STORAGE": _bytes(limits.storage),
        "STORAGE_STATED": "yes" if use.storage else "no",
    }


def _cache_settings(capability: Capability, use: Use, limits: UseLimits) -> Mapping[str, str]:
    # Scripts are one name space and one thread: for whoever has the server alone.
    scripting = capability.dedicated is not None and bool(capability.dedicated.app)
    return {
        "CONNECTIONS": str(limits.connections or _UNBOUNDED),
        "MEMORY": _bytes(limits.memory),
        "PERMISSIONS": cache_access.permissions(scripting=scripting),
        "SCRIPTING": "yes" if scripting else "no",
    }


def _postgresql_connecting(is_tls: bool) -> Mapping[str, str]:
    return {"PGSSLMODE": "verify-full", "PGSSLROOTCERT": tls.AUTHORITY} if is_tls else {}


def _cache_connecting(is_tls: bool) -> Mapping[str, str]:
    return {"TLS": cache_access.TLS_OPTIONS} if is_tls else {}


def _is_tls(scope: Scope, use: Use) -> bool:
    return speaks_tls(scope.inputs.city.capability(use.capability), scope.inputs.catalogue)


def _bytes(quantity: str) -> str:
    return str(int(parse_quantity(quantity)) if quantity else _UNBOUNDED)


_PROVISIONERS = {
    "postgresql": Provisioner(
        postgresql_access.PROVISION,
        naming.database_name,
        _postgresql_values,
        _postgresql_settings,
        _postgresql_connecting,
    ),
    "redis": Provisioner(cache_access.PROVISION, naming.cache_user, _cache_values, _cache_settings, _cache_connecting),
}


def provision(scope: Scope, app: App, use: Use, endpoint: KnownEndpoint, prefix: str) -> tuple[KubernetesObject, ...]:
    """The Secret and the Job in the capability's namespace, their names begun by `prefix`; the Job, where one is
    needed, is what the app has to wait for. It lies there, so it need not wait for the tenant's own namespace."""
    kind = scope.inputs.catalogue[endpoint.type]
    provisioner = _PROVISIONERS.get(kind.binding)
    if provisioner is None:
        return ()
    settings = {
        "OWNER": f"{app.tenant}/{app.name}/{use.alias}",
        **provisioner.settings(scope.inputs.city.capability(use.capability), use, kind.limits_of(use)),
        **provisioner.connecting(_is_tls(scope, use)),
    }
    role, password = provisioner.role(app.tenant, app.name, use.alias), _password(scope, app, use)
    base = naming.fit(f"{prefix}-{app.tenant}-{app.name}-{use.alias}", 50)
    # The name in the URN is the binding's; the object's name carries the digest, so a new input replaces the Job.
    credentials = scope.add(
        pods.secret(
            endpoint.namespace,
            base,
            {"role": role, "password": password, "sha256": password.apply(sha256)},
        ),
        name=f"{base}-credentials",
    )
    digest = pulumi.Output.all(
        script=provisioner.script, role=role, password=password, image=endpoint.image, host=endpoint.host, **settings
    ).apply(lambda values: pods.content_digest(values)[:10])
    name = pulumi.Output.unsecret(pulumi.Output.concat(base, "-", digest))
    return (
        scope.after(credentials).add(_job(scope, use, endpoint, provisioner.script, settings, base, name), name=base),
    )


def _password(scope: Scope, app: App, use: Use) -> pulumi.Output[str]:
    return secret_value(scope.inputs, naming.binding_key(app.tenant, app.name, use.alias))


def _job(
    scope: Scope,
    use: Use,
    endpoint: KnownEndpoint,
    script: str,
    settings: Mapping[str, str],
    credentials: str,
    name: pulumi.Output[str],
) -> Manifest:
    admin_secret, is_tls = endpoint.admin_secret, _is_tls(scope, use)
    runner = pods.container(
        "provision",
        endpoint.image,
        command=["/bin/sh", "-c", script],
        env=[
            {"name": "HOST", "value": endpoint.host},
            {"name": "PORT", "value": pulumi.Output.from_input(endpoint.port).apply(str)},
            {"name": "ADMIN_PASSWORD", "valueFrom": {"secretKeyRef": {"name": admin_secret, "key": "password"}}},
            pods.from_secret("APP_ROLE", credentials, "role"),
            pods.from_secret("APP_PASSWORD", credentials, "password"),
            pods.from_secret("APP_PASSWORD_SHA256", credentials, "sha256"),
            *({"name": key, "value": value} for key, value in settings.items()),
        ],
        mounts=[tls.MOUNT] if is_tls else [],
        requests={"cpu": "20m", "memory": "64Mi"},
    )
    labels = {**scope.labels, **provisioning_labels(use.capability)}
    spec = pods.pod(
        [runner],
        cluster=scope.inputs.cluster,
        volumes=[tls.authority_volume(use.capability)] if is_tls else [],
        user=USER,
        architectures=scope.inputs.city.images.architectures,
        restart="OnFailure",
    )
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": name, "namespace": endpoint.namespace},
        "spec": {"backoffLimit": 10, "completions": 1, "parallelism": 1, "template": pods.template(labels, spec)},
    }
