"""Registers Kubernetes objects, given as plain manifests, as Pulumi resources.

A manifest is the JSON that the API server takes, so stacks, `render` and Kubernetes' documentation use the same
structure. The SDK's typed classes have the same type tokens and properties at many times the cost per object.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pulumi
import pulumi_kubernetes

from stacks.pulls import with_pull_secrets
from wecityctl.inputs import StackInputs
from wecityctl.model import naming

Manifest = dict[str, Any]


class KubernetesObject(pulumi.CustomResource):
    """A Kubernetes object as a Pulumi resource."""

    metadata: pulumi.Output[Any]
    spec: pulumi.Output[Any]

    def __init__(self, token: str, name: str, manifest: Mapping[str, Any], opts: pulumi.ResourceOptions) -> None:
        known = dict.fromkeys(("metadata", "spec"))
        super().__init__(token, name, {**known, **manifest}, opts)


def type_token(manifest: Mapping[str, Any]) -> str:
    """The Pulumi type token of a manifest, such as `kubernetes:apps/v1:Deployment`."""
    version = manifest["apiVersion"]
    return f"kubernetes:{version if '/' in version else f'core/{version}'}:{manifest['kind']}"


def logical_name(manifest: Mapping[str, Any]) -> str:
    """The name in the URN: `<namespace>/<name>`, or just the name. It is built from plain strings only."""
    metadata = manifest["metadata"]
    namespace = metadata.get("namespace")
    return f"{namespace}/{metadata['name']}" if isinstance(namespace, str) else str(metadata["name"])


@dataclass(frozen=True)
class Scope:
    """The context for registering objects: the stack's inputs, provider, parent component, common labels,
    dependencies.

    `registered` collects what is registered in this scope and in those derived from it; `None` collects nothing.
    """

    inputs: StackInputs
    provider: pulumi.ProviderResource
    labels: Mapping[str, str]
    parent: pulumi.Resource | None = None
    depends_on: tuple[pulumi.Resource, ...] = ()
    registered: list[tuple[Manifest, KubernetesObject]] | None = None

    def within(self, parent: pulumi.Resource, labels: Mapping[str, str], *after: pulumi.Resource) -> Scope:
        """A scope for a component: with its own parent and labels, and `after` as additional dependencies."""
        return replace(self, parent=parent, labels=labels, depends_on=(*self.depends_on, *after))

    def after(self, *resources: pulumi.Resource) -> Scope:
        """The same scope with `resources` as additional dependencies."""
        return replace(self, depends_on=(*self.depends_on, *resources))

    def add(
        self,
        manifest: Manifest,
        *,
        name: str = "",
        protect: bool = False,
        retain: bool = False,
        timeout: str = "10m",
    ) -> KubernetesObject:
        """Register one object with the scope's labels.

        `retain`: keep it in the cluster when it is removed from the stack.

        `protect` forbids its deletion; `name` is the logical name, by default from `logical_name`.
        """
        manifest = with_pull_secrets(self.inputs.city, manifest)
        metadata = manifest["metadata"]
        labelled = {**manifest, "metadata": {**metadata, "labels": {**self.labels, **metadata.get("labels", {})}}}
        options = pulumi.ResourceOptions(
            parent=self.parent,
            provider=self.provider,
            depends_on=list(self.depends_on),
            protect=protect or None,
            retain_on_delete=retain or None,
            version=self.inputs.provider_version,
            additional_secret_outputs=["data", "stringData"] if manifest["kind"] == "Secret" else None,
            custom_timeouts=pulumi.CustomTimeouts(create=timeout, update=timeout, delete=timeout),
        )
        made = KubernetesObject(type_token(manifest), name or logical_name(manifest), labelled, options)
        if self.registered is not None:
            self.registered.append((labelled, made))
        return made

    def add_all(self, manifests: Sequence[Manifest]) -> list[KubernetesObject]:
        """Register objects; a binding depends on the object that it binds.

        The API server rejects a binding to a missing role unless the user may bind every role. The same holds for
        bindings of admission policies with parameters.
        """
        made: dict[tuple[str, str], KubernetesObject] = {}
        for manifest in manifests:
            first = made.get(_bound(manifest))
            scope = self.after(first) if first is not None else self
            made[manifest["kind"], manifest["metadata"]["name"]] = scope.add(manifest)
        return list(made.values())


def _bound(manifest: Manifest) -> tuple[str, str]:
    """Kind and name of the object that a binding refers to; empty strings if the manifest is not a binding."""
    if role := manifest.get("roleRef"):
        return role["kind"], role["name"]
    spec = manifest.get("spec") or {}
    return ("ValidatingAdmissionPolicy", spec["policyName"]) if spec.get("paramRef") else ("", "")


def open_scope(inputs: StackInputs, component: str, part_of: str) -> Scope:
    """The scope of a whole stack, with the provider for the stack's cluster."""
    labels = naming.standard_labels(
        inputs.city.name, name=part_of, component=component, part_of=part_of, instance=inputs.city.name
    )
    return Scope(inputs, make_provider(inputs), labels)


def make_provider(inputs: StackInputs) -> pulumi.ProviderResource:
    """The provider for the stack's cluster. Its kubeconfig is unknown while there is no cluster."""
    cluster = inputs.cluster
    return pulumi_kubernetes.Provider(
        "cluster",
        kubeconfig=pulumi.Output.secret(cluster.kubeconfig) if cluster else unknown(secret=True),
        context=(cluster.context or None) if cluster else None,
        # The UID of the cluster: a new port or certificate of the same cluster then replaces no resources.
        cluster_identifier=cluster.identifier if cluster else unknown(),
        enable_server_side_apply=True,
        enable_config_map_mutable=True,
        enable_secret_mutable=True,
        opts=pulumi.ResourceOptions(version=inputs.provider_version),
    )


def unknown(*, secret: bool = False) -> pulumi.Output[Any]:
    """An output with an unknown value, which only a later run can resolve."""
    return pulumi.Output(set(), _future(None), _future(False), _future(secret))


def secret_value(inputs: StackInputs, key: str) -> pulumi.Output[str]:
    """A value of the city's secret store; unknown in a preview before it is generated."""
    value = inputs.secrets.get(key)
    return unknown(secret=True) if value is None else pulumi.Output.secret(value)


async def _settled(value: Any) -> Any:
    return value


def _future(value: Any) -> Any:
    return _settled(value)
