"""Kubernetes objects as Pulumi resources: plain manifests in, registered resources out.

A manifest is the JSON that the API server takes, so what a stack says is what `render` prints and what a reader of
Kubernetes knows. The SDK's typed classes carry the same tokens and properties at many times the cost per object.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pulumi
import pulumi_kubernetes

from wecityctl.inputs import StackInputs
from wecityctl.model import naming

Manifest = dict[str, Any]


class KubernetesObject(pulumi.CustomResource):
    """One object of the API server."""

    metadata: pulumi.Output[Any]
    spec: pulumi.Output[Any]

    def __init__(self, token: str, name: str, manifest: Mapping[str, Any], opts: pulumi.ResourceOptions) -> None:
        known = dict.fromkeys(("metadata", "spec"))
        super().__init__(token, name, {**known, **manifest}, opts)


def type_token(manifest: Mapping[str, Any]) -> str:
    """The Pulumi type of a manifest, such as `kubernetes:apps/v1:Deployment`."""
    version = manifest["apiVersion"]
    return f"kubernetes:{version if '/' in version else f'core/{version}'}:{manifest['kind']}"


def logical_name(manifest: Mapping[str, Any]) -> str:
    """The name in the URN: `<namespace>/<name>`, or the name alone. It is made of plain strings only."""
    metadata = manifest["metadata"]
    namespace = metadata.get("namespace")
    return f"{namespace}/{metadata['name']}" if isinstance(namespace, str) else str(metadata["name"])


@dataclass(frozen=True)
class Scope:
    """Where objects are registered: the stack's inputs and provider, the parent component and the common labels."""

    inputs: StackInputs
    provider: pulumi.ProviderResource
    labels: Mapping[str, str]
    parent: pulumi.Resource | None = None
    depends_on: tuple[pulumi.Resource, ...] = ()

    def within(self, parent: pulumi.Resource, labels: Mapping[str, str], *after: pulumi.Resource) -> Scope:
        """The scope of a component: its own parent and labels, after everything this scope waits for."""
        return replace(self, parent=parent, labels=labels, depends_on=(*self.depends_on, *after))

    def after(self, *resources: pulumi.Resource) -> Scope:
        """The same scope, whose objects wait for `resources` as well."""
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
        """Register one object with the scope's labels. `retain` keeps it in the cluster when it leaves the stack."""
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
        return KubernetesObject(type_token(manifest), name or logical_name(manifest), labelled, options)

    def add_all(self, manifests: Sequence[Manifest]) -> list[KubernetesObject]:
        """Register objects of one place, a binding after what it binds.

        To bind a role that is not there yet takes the right to bind every role, and to bind an admission policy with
        parameters the right to list every object.
        """
        made: dict[tuple[str, str], KubernetesObject] = {}
        for manifest in manifests:
            first = made.get(_bound(manifest))
            scope = self.after(first) if first is not None else self
            made[manifest["kind"], manifest["metadata"]["name"]] = scope.add(manifest)
        return list(made.values())


def _bound(manifest: Manifest) -> tuple[str, str]:
    """Kind and name of what a binding needs to be there; empty for what is no such binding."""
    if role := manifest.get("roleRef"):
        return role["kind"], role["name"]
    spec = manifest.get("spec") or {}
    return ("ValidatingAdmissionPolicy", spec["policyName"]) if spec.get("paramRef") else ("", "")


def open_scope(inputs: StackInputs, component: str, part_of: str) -> Scope:
    """The scope of a whole stack, with its own provider resource for the stack's cluster."""
    labels = naming.standard_labels(
        inputs.city.name, name=part_of, component=component, part_of=part_of, instance=inputs.city.name
    )
    return Scope(inputs, make_provider(inputs), labels)


def make_provider(inputs: StackInputs) -> pulumi.ProviderResource:
    """The provider of the stack's cluster. While there is no cluster yet its kubeconfig is unknown."""
    cluster = inputs.cluster
    return pulumi_kubernetes.Provider(
        "cluster",
        kubeconfig=pulumi.Output.secret(cluster.kubeconfig) if cluster else unknown(secret=True),
        context=(cluster.context or None) if cluster else None,
        # The UID of the cluster: a new port or certificate of the same cluster then replaces nothing.
        cluster_identifier=cluster.identifier if cluster else unknown(),
        enable_server_side_apply=True,
        enable_config_map_mutable=True,
        enable_secret_mutable=True,
        opts=pulumi.ResourceOptions(version=inputs.provider_version),
    )


def unknown(*, secret: bool = False) -> pulumi.Output[Any]:
    """A value that only a later run can know."""
    return pulumi.Output(set(), _future(None), _future(False), _future(secret))


def secret_value(inputs: StackInputs, key: str) -> pulumi.Output[str]:
    """A value of the city's secret store; unknown in a preview that comes before it is made."""
    value = inputs.secrets.get(key)
    return unknown(secret=True) if value is None else pulumi.Output.secret(value)


async def _settled(value: Any) -> Any:
    return value


def _future(value: Any) -> Any:
    return _settled(value)
