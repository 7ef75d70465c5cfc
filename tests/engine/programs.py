"""Small programs that the engine's tests run in place of the city's own."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pulumi

from stacks import pods
from stacks.objects import KubernetesObject, Scope, type_token
from stacks.tenants.app import autoscaler
from stacks.tenants.scaling import is_autoscaled, stated_replicas
from wecityctl.inputs import StackInputs
from wecityctl.model import naming
from wecityctl.model.outputs import BaseOutputs, TenantOutputs


class Part(pulumi.ComponentResource):
    """A component with nothing in it."""

    def __init__(self, name: str, **inputs: Any) -> None:
        super().__init__("wecity:test:Part", name, inputs, None)
        self.register_outputs({})


def components(inputs: StackInputs) -> dict[str, Any]:
    """Components only: needs no provider and no cluster."""
    stack = inputs.stack
    if stack.layer == "base":
        Part("floor", zones=list(inputs.city.zones[0].name))
        return {
            "cloud": stack.cloud,
            "provider": "local",
            "zones": pulumi.Output.from_input([zone.name for zone in inputs.city.zones]),
            "storage_class": "",
            "ingress_class": "",
            "simulated": True,
        }
    if stack.layer == "platform":
        for name in stack.secrets:
            Part(name, value=pulumi.Output.secret(inputs.secrets.get(name, "none yet")))
        return {"platform": stack.subject, "cloud": stack.cloud, "endpoints": []}
    if stack.layer == "tenant":
        base = next(outputs for outputs in inputs.upstream.values() if isinstance(outputs, BaseOutputs))
        Part(stack.subject, cloud=base.cloud)
        return {"tenant": stack.subject, "cloud": stack.cloud, "namespaces": ["a"], "routes": []}
    tenants = [outputs.tenant for outputs in inputs.upstream.values() if isinstance(outputs, TenantOutputs)]
    Part("entry", tenants=tenants)
    return {"domain": inputs.city.domain, "hosts": tenants, "node_port": 30080, "simulated": True}


class ConfigMap(KubernetesObject):
    """Registered as the city's own stacks do it: loading the SDK's typed classes takes longer than a small run."""

    data: pulumi.Output[Any]


def _made(name: str, api_version: str, kind: str, opts: pulumi.ResourceOptions, **content: Any) -> KubernetesObject:
    manifest = {"apiVersion": api_version, "kind": kind, **content}
    return KubernetesObject(type_token(manifest), name, manifest, opts)


def _labels(inputs: StackInputs) -> dict[str, str]:
    return {"app.kubernetes.io/managed-by": "wecityctl", "wecity.dev/city": inputs.city.name}


def objects(inputs: StackInputs) -> dict[str, Any]:
    """A namespace and small objects in it; the city's labels say how many and what is in them.

    `count`: ConfigMaps a stack · `text`: their content · `chain`: each depends on the one before · `broken`: a tenant
    that gets an object the cluster refuses · `fewer`: a tenant that loses its last ConfigMap · `workload`: a tenant
    with a Deployment · `nowhere`: its pods fit no node · `closed`: a tenant with a network policy that lets nothing in
    or out · `replicas`: of the Deployment · `claim`: a tenant with a volume that it keeps · `leaning`: a layer with an
    output that is only known once its first ConfigMap is written.
    """
    import pulumi_kubernetes as k8s

    cluster = inputs.cluster
    assert cluster is not None
    stack = inputs.stack
    options = inputs.city.labels
    kube = k8s.Provider(
        "cluster",
        k8s.ProviderArgs(
            kubeconfig=pulumi.Output.secret(cluster.kubeconfig),
            cluster_identifier=cluster.identifier,
            enable_config_map_mutable=True,
            enable_secret_mutable=True,
        ),
    )
    space = stack.name.replace(".", "-")
    labels = _labels(inputs)

    def metadata(name: str, **more: Any) -> dict[str, Any]:
        return {"name": name, "namespace": space, "labels": labels, **more}

    whole = {"name": space, "labels": labels}
    namespace = _made("space", "v1", "Namespace", pulumi.ResourceOptions(provider=kube), metadata=whole)
    part = Part("part")
    below = pulumi.ResourceOptions(provider=kube, parent=part, depends_on=[namespace])
    count = int(options.get("count", "2")) - (options.get("fewer") == stack.subject)
    before: list[pulumi.Resource] = []
    first: ConfigMap | None = None
    for index in range(count):
        name = f"c{index}"
        made = ConfigMap(
            "kubernetes:core/v1:ConfigMap",
            name,
            {
                "apiVersion": "v1",
                "kind": "ConfigMap",
                "metadata": metadata(name),
                "data": {"text": options.get("text", "one"), "i": str(index)},
            },
            pulumi.ResourceOptions.merge(below, pulumi.ResourceOptions(depends_on=before)),
        )
        first = made if index == 0 else first
        before = [made] if options.get("chain") else []
    for name in stack.secrets:
        value = pulumi.Output.secret(inputs.secrets[name]) if name in inputs.secrets else "?"
        _made(name, "v1", "Secret", below, metadata=metadata(name.replace("/", "-")), stringData={"value": value})
    if options.get("claim") == stack.subject:
        # Nothing binds it here, so nothing is waited for.
        _made(
            "data",
            "v1",
            "PersistentVolumeClaim",
            pulumi.ResourceOptions.merge(below, pulumi.ResourceOptions(retain_on_delete=True)),
            metadata=metadata("data", annotations={"pulumi.com/skipAwait": "true"}),
            spec={"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}},
        )
    if options.get("broken") == stack.subject:
        _made("broken", "v1", "ConfigMap", below, metadata={"name": "Not A Name", "namespace": space})
    if options.get("closed") == stack.subject:
        spec: dict[str, Any] = {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}
        _made("closed", "networking.k8s.io/v1", "NetworkPolicy", below, metadata=metadata("closed"), spec=spec)
    if options.get("workload") == stack.subject:
        _made(
            "web",
            "apps/v1",
            "Deployment",
            below,
            metadata=metadata("web"),
            spec={
                "replicas": int(options.get("replicas", "2")),
                "selector": {"matchLabels": {"app": "web"}},
                "template": {
                    "metadata": {"labels": {"app": "web"}},
                    "spec": {
                        "containers": [{"name": "web", "image": "example/web:1"}],
                        "nodeSelector": {"no-such": "node"} if options.get("nowhere") else {},
                    },
                },
            },
        )
    outputs = components_outputs(inputs)
    if options.get("leaning") == stack.layer and first is not None:
        outputs["storage_class"] = first.data["text"]
    return outputs


def scaled(inputs: StackInputs) -> dict[str, Any]:
    """As `components`; a tenant's apps are Deployments with their replicas or their autoscaler, as the real stack's."""
    import pulumi_kubernetes as k8s

    cluster, stack = inputs.cluster, inputs.stack
    if stack.layer != "tenant":
        return components(inputs)
    assert cluster is not None
    kube = k8s.Provider("cluster", kubeconfig=cluster.kubeconfig, cluster_identifier=cluster.identifier)
    scope = Scope(inputs, kube, _labels(inputs))
    for app in inputs.city.apps_of(stack.subject):
        space = naming.tenant_namespace(app.tenant, app.zone)
        ready = scope.after(scope.add({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": space}}))
        component = app.components[0]
        workload, labels = naming.component_workload(app.name, component.name), {"app": app.name}
        container = {"name": "web", "image": component.image, "ports": [{"name": "http", "containerPort": 8080}]}
        template = {"metadata": {"labels": labels}, "spec": {"containers": [container]}}
        spec: dict[str, Any] = {"selector": {"matchLabels": labels}, "template": template}
        if is_autoscaled(app, component):
            ready.add(autoscaler(space, workload, component))
        else:
            spec["replicas"] = stated_replicas(app, component)
        metadata = {"name": workload, "namespace": space}
        ready.add({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata, "spec": spec})
        ready.add(pods.service(space, workload, labels, {"http": 8080}))
    return components_outputs(inputs)


def components_outputs(inputs: StackInputs) -> dict[str, Any]:
    """Outputs of the right shape for each layer."""
    stack = inputs.stack
    if stack.layer == "base":
        zones = [zone.name for zone in inputs.city.zones]
        return {
            "cloud": stack.cloud,
            "provider": "local",
            "zones": zones,
            "storage_class": "",
            "ingress_class": "",
            "simulated": True,
        }
    if stack.layer == "platform":
        return {"platform": stack.subject, "cloud": stack.cloud, "endpoints": []}
    if stack.layer == "tenant":
        return {"tenant": stack.subject, "cloud": stack.cloud, "namespaces": ["a"], "routes": []}
    tenants = [outputs.tenant for outputs in inputs.upstream.values() if isinstance(outputs, TenantOutputs)]
    return {"domain": inputs.city.domain, "hosts": tenants, "node_port": 30080, "simulated": True}


def failing(inputs: StackInputs) -> dict[str, Any]:
    """As `components`; the city's label `fails` names a layer or tenant whose program raises, `extra` a tenant that has
    a part more."""
    stack = inputs.stack
    if inputs.city.labels.get("fails") in (stack.layer, stack.subject) and stack.layer in ("base", "tenant"):
        raise RuntimeError(f"no luck with {stack.subject or stack.layer}")
    if inputs.city.labels.get("extra") == stack.subject and stack.subject:
        Part("extra")
    return components(inputs)


async def hanging(inputs: StackInputs) -> dict[str, Any]:
    """As `components`; a tenant's program waits for what never comes."""
    if inputs.stack.layer == "tenant":
        await asyncio.Event().wait()
    return components(inputs)


def provisioned(inputs: StackInputs) -> dict[str, Any]:
    """As `objects`, and landing zones: the city's label `kubeconfig-<cloud>` names a file with what such a zone puts
    out, `broken-landing` a cloud whose zone fails, `wider` a cloud whose zone has a part more."""
    stack = inputs.stack
    if stack.layer != "landing":
        return objects(inputs)
    labels = inputs.city.labels
    if labels.get("broken-landing") == stack.cloud:
        raise RuntimeError("the vendor has no such network")
    Part("network", cidr=inputs.city.cloud(stack.cloud).network.cidr)
    Part("cluster")
    if labels.get("wider") == stack.cloud:
        Part("gateway")
    kubeconfig = Path(labels[f"kubeconfig-{stack.cloud}"]).read_text()
    return {
        "cloud": stack.cloud,
        "provider": inputs.city.cloud(stack.cloud).provider,
        "region": inputs.city.cloud(stack.cloud).region,
        "kubeconfig": kubeconfig,
        "network": "vpc-1",
        "subnets": {"internet": "vsw-1"},
        "cluster": "c-1",
        "bucket": "",
        "key": "",
    }
