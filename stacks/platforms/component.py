"""The base class of capabilities' programs, and their input (`CapabilityScope`)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace

import pulumi

from stacks import network_policies, observers, pods
from stacks.node_affinity import capability_affinity
from stacks.objects import KubernetesObject, Manifest, Scope, secret_value
from stacks.platforms import backups, probes, rotation, tls
from stacks.platforms.stateful import provisioning_policies
from stacks.provisioning import Binding, bind, provision
from stacks.stack_references import KnownEndpoint
from wecityctl.inputs import StackInputs
from wecityctl.model import naming
from wecityctl.model.backups import BACKUP_IMAGE
from wecityctl.model.catalogue import CapabilityType, Workload
from wecityctl.model.city import Capability, Use
from wecityctl.model.observing import OBSERVER, account_name, scrapers
from wecityctl.model.outputs import Endpoint
from wecityctl.model.requirements import Consumer
from wecityctl.model.service_tls import certificate_key, speaks_tls
from wecityctl.model.variables import BINDING_ROOT

_WORKLOADS = ("Deployment", "StatefulSet", "DaemonSet")
# What a proxy or mesh could not know without being told. Plain TCP and HTTP are what it takes a port for by itself.
# Source: the Kubernetes documentation of Services, application protocol.
_APP_PROTOCOLS = {"https": "https", "grpc": "kubernetes.io/h2c"}


@dataclass(frozen=True)
class Used:
    """A use of another capability: its endpoint, and its component if it is in the same stack.

    `is_across`: it is on another cloud, and `endpoint` is where that one offers it to others. Its account and the way
    in are made there (`stacks.tenants.interconnect`).
    """

    use: Use
    endpoint: KnownEndpoint
    component: pulumi.Resource | None = None
    is_across: bool = False


@dataclass(frozen=True)
class CapabilityScope:
    """The input of a capability's program: the instance, its type, its namespace, and the scope to register objects in.

    `uses` are its uses of other capabilities; `bindings` are the resulting bindings by alias.
    """

    capability: Capability
    type: CapabilityType
    namespace: str
    scope: Scope
    uses: tuple[Used, ...] = ()
    bindings: Mapping[str, Binding] = field(default_factory=dict)

    @property
    def selector(self) -> dict[str, str]:
        """The labels that select the capability's pods. They must never change."""
        return {
            naming.NAME_LABEL: self.capability.name,
            naming.COMPONENT_LABEL: self.type.name,
            naming.PART_OF_LABEL: self.capability.platform,
        }

    @property
    def observer_selector(self) -> dict[str, str]:
        """The labels of the capability's pods that observe the city's namespaces, and no others'.

        A Service of the capability selects none of them, because their component is another one.
        """
        return {**self.selector, naming.COMPONENT_LABEL: OBSERVER}

    @property
    def observer_account(self) -> str:
        """The service account of these pods."""
        return account_name(self.capability.name)

    @property
    def storage(self) -> str:
        return self.capability.storage or self.type.storage

    @property
    def admin_key(self) -> str:
        """The secret store key of the administrator's password."""
        return naming.admin_key(self.capability.name)

    @property
    def tls(self) -> bool:
        """Whether the server has a certificate of the city's CA and refuses plain connections."""
        return speaks_tls(self.capability, self.scope.inputs.catalogue)

    def workload(self, name: str = "") -> Workload:
        """The kind of pod called `name`, as placement counts it; the first kind has no name."""
        own = self.capability
        found = self.type.workloads(own.size, own.replicas, own.storage, own.cpu)
        return next(item for item in found if item.name == name)

    def resources(self, name: str = "") -> dict[str, str]:
        """CPU and memory requests of one kind of pod."""
        return self.workload(name).requests

    @property
    def ports(self) -> dict[str, int]:
        """The type's ports by name, for containers and Services."""
        return {port.name: port.number for port in self.type.ports}

    def service(self, name: str) -> Manifest:
        """A Service with the type's ports that selects the capability's pods."""
        protocols = {
            port.name: _APP_PROTOCOLS[port.protocol] for port in self.type.ports if port.protocol in _APP_PROTOCOLS
        }
        ends = tls.ends(self.scope.inputs, certificate_key(self.capability.name)) if self.tls else {}
        return pods.service(self.namespace, name, self.selector, self.ports, protocols=protocols, annotations=ends)

    @property
    def binding_volumes(self) -> list[Manifest]:
        """The volumes of a pod that reads the capability's bindings, for mounts in `binding_mounts`."""
        return [
            {"name": f"binding-{alias}", "secret": {"secretName": item.secret_name}}
            for alias, item in self.bindings.items()
        ]

    @property
    def binding_mounts(self) -> list[Manifest]:
        """The mounts of the bindings: a directory for each below `$SERVICE_BINDING_ROOT`."""
        return [
            {"name": f"binding-{alias}", "mountPath": f"{BINDING_ROOT}/{alias}", "readOnly": True}
            for alias in self.bindings
        ]

    @property
    def binding_content(self) -> pulumi.Output[str]:
        """A digest of the content of all bindings, for the pod template, so that pods roll when it changes."""
        content = {alias: item.content for alias, item in self.bindings.items()}
        return pulumi.Output.unsecret(pulumi.Output.all(**content).apply(pods.content_digest))

    @property
    def affinity(self) -> Manifest | None:
        """The affinity to nodes of its image's architectures and, if the capability names a zone, of this zone."""
        inputs = self.scope.inputs
        cloud = inputs.city.cloud(inputs.stack.cloud)
        architectures = self.type.architectures_in(inputs.city.images.architectures)
        return capability_affinity(cloud, self.capability, architectures)

    def endpoint(self, *, service: str, admin_secret: str = "", image: str = "") -> Endpoint:
        return Endpoint(
            capability=self.capability.name,
            type=self.type.name,
            engine=self.capability.engine or self.type.engines[0],
            namespace=self.namespace,
            service=service,
            port=self.type.port,
            pod_labels=self.selector,
            admin_secret=admin_secret,
            image=image,
        )


class CapabilityComponent(pulumi.ComponentResource):
    """The base class of capabilities: a component resource with a stable URN, and an endpoint."""

    endpoint: Endpoint

    def __init__(self, context: CapabilityScope, name: str, opts: pulumi.ResourceOptions) -> None:
        super().__init__(f"wecity:{context.type.platform}:{type(self).__name__}", name, {}, opts)
        self.scope = replace(context.scope.within(self, _labels(context, context.scope.inputs)), registered=[])
        self.endpoint = self._across(context, self.build(self._bound(context)))
        self._admit_jobs(context)
        self._rotated(context)
        self._backed_up(context)
        self._probed(context)
        self.register_outputs({"endpoint": asdict(self.endpoint)})

    def _bound(self, context: CapabilityScope) -> CapabilityScope:
        """The context with a binding for each use.

        What `build` registers depends on the accounts and network policies.
        """
        bindings: dict[str, Binding] = {}
        before: list[KubernetesObject] = []
        user = Consumer.of(context.capability)
        for item in context.uses:
            there = self.scope.after(item.component) if item.component is not None else self.scope
            if not item.is_across:
                before += provision(there, user, item.use, item.endpoint, "provision")
                before.append(there.add(_arrives(context, user, item)))
            before.append(self.scope.add(_leaves(context, item)))
            bindings[item.use.alias] = bind(self.scope, user, item.use, context.namespace, item.endpoint)
        before += self.scope.add_all([*_scraped(context)])
        if context.type.observes is not None:
            reaching = observers.to_api_servers(self.scope.inputs, context.capability, context.observer_selector)
            before += self.scope.add_all([observers.account(context.capability), reaching])
        self.scope = self.scope.after(*before, *(binding.secret for binding in bindings.values()))
        return replace(context, bindings=bindings)

    def _across(self, context: CapabilityScope, endpoint: Endpoint) -> Endpoint:
        """The endpoint with an address for users on other clouds, if there are any; registers its Service."""
        inputs = context.scope.inputs
        node_port = inputs.interconnects.port(inputs.stack.cloud, context.capability.name)
        if not node_port:
            return endpoint
        name = naming.fit(f"{context.capability.name}-crossing")
        port = context.type.port
        self.scope.add(pods.node_port_service(context.namespace, name, context.selector, port, port, node_port))
        address = inputs.reach[inputs.stack.cloud].address
        return replace(endpoint, external_host=address, external_port=node_port)

    def _admit_jobs(self, context: CapabilityScope) -> None:
        """Register network policies for the Jobs below, for types whose accounts are not provisioned: others have them
        already."""
        kind = context.type
        if not (kind.probe or kind.rotation) or (kind.binding is not None and kind.binding.provisioner):
            return
        arrives, leaves = provisioning_policies(context)
        # Everybody may connect to an entry point already.
        self.scope.add_all([leaves] if kind.entry else [arrives, leaves])

    def _rotated(self, context: CapabilityScope) -> None:
        """Register the Job that brings a new password of the administrator's into a server that keeps it itself, after
        everything else of the capability but its probe."""
        kind, inputs, made = context.type, self.scope.inputs, self.scope.registered or []
        if not kind.rotation:
            return
        previous = self.scope.add(
            rotation.secret(self.endpoint, secret_value(inputs, naming.previous_key(context.admin_key)))
        )
        manifest = rotation.job(
            inputs.city,
            kind,
            self.endpoint,
            secret_value(inputs, context.admin_key),
            is_tls=context.tls,
            cluster=inputs.cluster,
        )
        after = self.scope.after(previous, *(resource for _, resource in made))
        after.add(manifest, name=rotation.logical_name(self.endpoint))

    def _backed_up(self, context: CapabilityScope) -> None:
        """Register what takes the backups of a capability that keeps data, if the city takes backups."""
        inputs = self.scope.inputs
        if inputs.city.compliance.backup.is_taken and context.type.backup:
            image = inputs.images[BACKUP_IMAGE]
            secret, policy, cron_job = backups.objects(context, self.endpoint, image)
            before = self.scope.add_all([secret, policy])
            self.scope.after(*before).add(cron_job)

    def _probed(self, context: CapabilityScope) -> None:
        """Register the Job that runs the type's probe, if it has one, after everything else of the capability.

        What uses the capability depends on this component or its stack, and so waits until the probe has passed.
        """
        kind, inputs, made = context.type, self.scope.inputs, self.scope.registered or []
        if not kind.probe:
            return
        workloads = [manifest for manifest, _ in made if manifest["kind"] in _WORKLOADS]
        probed = probes.Probed(kind, self.endpoint, context.tls)
        manifest = probes.job(inputs.city, probed, inputs.cluster, workloads)
        after = self.scope.after(*(resource for _, resource in made))
        after.add(manifest, name=probes.logical_name(self.endpoint))

    def also(self, context: CapabilityScope) -> Endpoint:
        """Register another instance of the capability, such as the gateway of another zone; returns its endpoint."""
        scope = context.scope.within(self, _labels(context, context.scope.inputs))
        self.scope = scope.after(*scope.add_all([*_scraped(context)]))
        return self.build(context)

    def build(self, context: CapabilityScope) -> Endpoint:
        """Register the capability's objects under `self.scope` and return its endpoint. Subclasses implement it."""
        raise TypeError(f"{type(self).__name__} defines no build()")


def _leaves(context: CapabilityScope, item: Used) -> Manifest:
    """The network policy that lets the capability's pods out to what they use."""
    known, name = item.endpoint, naming.fit(f"{context.capability.name}-to-{item.use.alias}")
    if item.is_across:
        leaves = network_policies.to_outside(known.host, known.port)
    else:
        leaves = network_policies.to_peer(network_policies.pods_of(known.namespace, known.pod_labels), [known.port])
    return network_policies.policy(context.namespace, name, context.selector, egress=[leaves])


def _arrives(context: CapabilityScope, user: Consumer, item: Used) -> Manifest:
    """The network policy that lets the capability's pods in to what they use on the same cloud."""
    known = item.endpoint
    arrives = network_policies.from_peer(network_policies.pods_of(context.namespace, context.selector), [known.port])
    return network_policies.policy(
        known.namespace, user.object_name("from", item.use), known.pod_labels, ingress=[arrives]
    )


def _scraped(context: CapabilityScope) -> Iterator[Manifest]:
    """Yield the network policy by which what scrapes metrics reaches the capability's ports for them."""
    inputs = context.scope.inputs
    ports = [port.number for port in context.type.ports if port.metrics]
    found = scrapers(inputs.city, inputs.catalogue, inputs.placement, inputs.stack.cloud) if ports else ()
    rules = [network_policies.from_peer(network_policies.pods_of(*peer), ports) for peer in found]
    if rules:
        name = naming.fit(f"{context.capability.name}-metrics")
        yield network_policies.policy(context.namespace, name, context.selector, ingress=rules)


def _labels(context: CapabilityScope, inputs: StackInputs) -> dict[str, str]:
    return naming.standard_labels(
        inputs.city.name,
        name=context.capability.name,
        component=context.type.name,
        part_of=context.capability.platform,
        instance=inputs.city.name,
    )
