"""Provisions an account, such as a database and role, for each use of a shared capability, and writes its binding.

An idempotent Job in the capability's namespace creates the account. Its name contains a digest of its input, so it runs
again only when the input changes. The administrator's credentials stay in that namespace; those of the account are
written to a Secret beside the Job and, as a binding, to the namespace of the user (an app or another capability). For
an app on another cloud, the Job is in a separate stack on the capability's cloud (`stacks.tenants.interconnect`), and
the tenant's stack has only the binding.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pulumi

from stacks import pods
from stacks.objects import KubernetesObject, Manifest, Scope, secret_value
from stacks.passwords import scram_verifier, sha256
from stacks.platforms.job_pods import job_pod
from stacks.platforms.provisioner import provisioner_of
from stacks.platforms.stateful import provisioning_labels
from stacks.stack_references import KnownEndpoint
from wecityctl.model import naming
from wecityctl.model.catalogue import Binding as BindingType
from wecityctl.model.catalogue import credential_key
from wecityctl.model.city import App, AppUse, Use
from wecityctl.model.provided import AUTHORITY_ENTRY, BINDING_TYPE, ProvidedPort
from wecityctl.model.requirements import CAPABILITY, Consumer
from wecityctl.model.service_tls import SERVICE_AUTHORITY_KEY, speaks_tls
from wecityctl.model.variables import BINDING_ROOT


@dataclass(frozen=True)
class Binding:
    """The binding of one use: the Secret that the user's pods mount at `BINDING_ROOT/<alias>`.

    `content` is a digest that changes with the Secret. `pulls` is the Secret with which nodes pull what the user has
    in a registry; `None` for uses of anything else.
    """

    alias: str
    secret: KubernetesObject
    secret_name: str
    content: pulumi.Output[str]
    pulls: KubernetesObject | None = None


def bind(scope: Scope, user: Consumer, use: Use, namespace: str, endpoint: KnownEndpoint) -> Binding:
    """Write the binding of `use` into the user's `namespace`; `scope` is the user's scope."""
    kind = scope.inputs.catalogue[endpoint.type]
    name_of_type = kind.binding.type if kind.binding is not None else endpoint.type
    values: dict[str, Any] = {"type": name_of_type, "provider": "wecity"}
    values |= {"host": endpoint.host, "port": pulumi.Output.from_input(endpoint.port).apply(str)}
    is_tls = _is_tls(scope, use)
    if is_tls:
        values["ca.crt"] = secret_value(scope.inputs, SERVICE_AUTHORITY_KEY)
    provisioner = provisioner_of(kind)
    if kind.binding is not None and provisioner is not None:
        authority = f"{BINDING_ROOT}/{use.alias}/ca.crt" if is_tls else ""
        values |= provisioner.values(
            _account(kind.binding, user, use), _credentials(scope, kind.binding, user, use), endpoint, authority
        )
    name = naming.binding_secret(user.name, use.alias)
    secret = scope.add(pods.secret(namespace, name, values, f"servicebinding.io/{name_of_type}"))
    content = pulumi.Output.all(**values).apply(pods.content_digest)
    pulls = None
    if kind.binding is not None and kind.binding.docker_config:
        # The kubelet takes it from a Secret of its own type only.
        configuration = {".dockerconfigjson": values[kind.binding.docker_config]}
        pull_name = naming.use_pull_secret(user.name, use.alias)
        pulls = scope.add(pods.secret(namespace, pull_name, configuration, "kubernetes.io/dockerconfigjson"))
    return Binding(use.alias, secret, name, content, pulls)


def bind_app(scope: Scope, user: App, use: AppUse, target: ProvidedPort, host: pulumi.Input[str], port: int) -> Binding:
    """Write the binding of a use of another app into the user's namespace; `scope` is the user's scope.

    The address follows from the files and the clouds, so that no stack of a tenant waits for that of another one.
    """
    values: dict[str, Any] = {"type": BINDING_TYPE, "provider": "wecity"}
    uri = pulumi.Output.from_input(host).apply(lambda known: target.uri(known, port))
    values |= {"host": host, "port": str(port), "uri": uri}
    if target.is_tls:
        values[AUTHORITY_ENTRY] = secret_value(scope.inputs, SERVICE_AUTHORITY_KEY)
    name = naming.binding_secret(user.name, use.alias)
    namespace = naming.tenant_namespace(user.tenant, user.zone)
    secret = scope.add(pods.secret(namespace, name, values, f"servicebinding.io/{BINDING_TYPE}"))
    return Binding(use.alias, secret, name, pulumi.Output.all(**values).apply(pods.content_digest))


def provision(
    scope: Scope, user: Consumer, use: Use, endpoint: KnownEndpoint, prefix: str
) -> tuple[KubernetesObject, ...]:
    """Register the Secret and the Job in the capability's namespace, with names that start with `prefix`.

    Returns the objects that the user has to wait for: the Job, if one is needed. The Job does not depend on the user's
    own namespace.
    """
    kind = scope.inputs.catalogue[endpoint.type]
    provisioner = provisioner_of(kind)
    if kind.binding is None or provisioner is None:
        return ()
    settings = {
        "OWNER": "/".join(user.parts(use)),
        **provisioner.settings(scope.inputs.city.capability(use.capability), use, kind.limits_of(use)),
        **provisioner.connecting(_is_tls(scope, use)),
    }
    account, credentials = _account(kind.binding, user, use), _credentials(scope, kind.binding, user, use)
    base = user.object_name(prefix, use, 50)
    digests: dict[str, pulumi.Output[str]] = {}
    if "password" in credentials:
        digests["sha256"] = credentials["password"].apply(sha256)
        digests["scram"] = credentials["password"].apply(lambda password: scram_verifier(account, password))
    # The URN has the name of the binding. The object's name contains the digest, so that new input replaces the Job.
    written = scope.add(
        pods.secret(endpoint.namespace, base, {"role": account, **credentials, **digests}), name=f"{base}-credentials"
    )
    labels = _job_labels(scope, user)
    digest = pulumi.Output.all(
        script=provisioner.script,
        role=account,
        **credentials,
        image=endpoint.image,
        host=endpoint.host,
        **settings,
        **labels,
    ).apply(lambda values: pods.content_digest(values)[:10])
    name = pulumi.Output.unsecret(pulumi.Output.concat(base, "-", digest))
    environment = [
        pods.from_secret("APP_ROLE", base, "role"),
        *(pods.from_secret(f"APP_{key.upper().replace('-', '_')}", base, key) for key in credentials),
        *(pods.from_secret(f"APP_PASSWORD_{key.upper()}", base, key) for key in digests),
        *({"name": key, "value": value} for key, value in settings.items()),
    ]
    job = _job(scope, use, endpoint, provisioner.script, environment, name, labels)
    return (scope.after(written).add(job, name=base),)


def _job_labels(scope: Scope, user: Consumer) -> Mapping[str, str]:
    """What the labels of a Job's pods say beside those of the scope.

    The pods may run beside a capability that is the user, and its Service would select them by its own labels. An app's
    component is in a namespace of the tenant.
    """
    return {naming.COMPONENT_LABEL: "provisioning"} if user.group == CAPABILITY else {}


def _account(binding: BindingType, user: Consumer, use: Use) -> str:
    return naming.account_name(binding.separator, *user.parts(use))


def _credentials(scope: Scope, binding: BindingType, user: Consumer, use: Use) -> Mapping[str, pulumi.Output[str]]:
    parts = user.parts(use)
    return {name: secret_value(scope.inputs, credential_key(name, *parts)) for name in binding.credentials}


def _is_tls(scope: Scope, use: Use) -> bool:
    return speaks_tls(scope.inputs.city.capability(use.capability), scope.inputs.catalogue)


def _job(
    scope: Scope,
    use: Use,
    endpoint: KnownEndpoint,
    script: str,
    environment: list[Manifest],
    name: pulumi.Output[str],
    labels: Mapping[str, str],
) -> Manifest:
    admin_secret, is_tls = endpoint.admin_secret, _is_tls(scope, use)
    labels = {**scope.labels, **labels, **provisioning_labels(use.capability)}
    spec = job_pod(
        "provision",
        endpoint.image,
        ["/bin/sh", "-c", script],
        [
            {"name": "HOST", "value": endpoint.host},
            {"name": "PORT", "value": pulumi.Output.from_input(endpoint.port).apply(str)},
            {"name": "ADMIN_PASSWORD", "valueFrom": {"secretKeyRef": {"name": admin_secret, "key": "password"}}},
            *environment,
        ],
        capability=use.capability,
        is_tls=is_tls,
        cluster=scope.inputs.cluster,
        architectures=scope.inputs.catalogue[endpoint.type].architectures_in(scope.inputs.city.images.architectures),
        restart="OnFailure",
    )
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": name, "namespace": endpoint.namespace},
        "spec": {"backoffLimit": 10, "completions": 1, "parallelism": 1, "template": pods.template(labels, spec)},
    }
