"""An app as one component resource: provisioning Jobs, bindings, network policies and workloads.

Provisioning Jobs are created first, because they take longest. Workloads are created last: after the namespace's
network policies and quota, the app's own network policies, its bindings and its provisioning Jobs.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, cast

import pulumi

from stacks import manifests, network_policies, node_affinity, pods
from stacks.base.kubernetes import priority_class
from stacks.objects import KubernetesObject, Manifest, Scope, secret_value, unknown
from stacks.platforms import tls
from stacks.provisioning import Binding, bind, bind_app, provision
from stacks.stack_references import KnownEndpoint, base_outputs, endpoint, entry_endpoint
from stacks.tenants import jobs
from stacks.tenants.probes import probes_of
from stacks.tenants.scaling import is_autoscaled, stated_replicas
from wecityctl.model import naming, provided, rollouts, served
from wecityctl.model.binding_values import Reference, parts, variable_of
from wecityctl.model.city import App, AppUse, Component, RouteLimits, Strategy, Use
from wecityctl.model.entries import entry_of
from wecityctl.model.manifests import ports_of, workloads
from wecityctl.model.naming import COMPONENT_LABEL, DATA_CLASS_LABEL, NAME_LABEL, PART_OF_LABEL
from wecityctl.model.observing import scrapers
from wecityctl.model.outputs import CanaryTarget, LimitsTarget, ProvidedAddress, RouteTarget, UsedAddress
from wecityctl.model.quantity import parse_quantity
from wecityctl.model.registries import resolve_image, use_pull_secrets
from wecityctl.model.requirements import Consumer
from wecityctl.model.service_tls import app_certificate_key
from wecityctl.model.variables import BINDING_ROOT, TLS_DIRECTORY, literal, own_variables, secret_variable

# How long a canary's pods may take to start where its probes do not say.
_START_SECONDS = 120


class Application(pulumi.ComponentResource):
    """One app of a tenant. The constructor registers the provisioning Jobs; `register_workloads` registers the rest.

    `routes` is what the entry point may serve.
    """

    routes: tuple[RouteTarget, ...]

    def __init__(self, outer: Scope, app: App) -> None:
        super().__init__("wecity:tenant:App", app.name, {}, pulumi.ResourceOptions())
        self.app = app
        self.namespace = naming.tenant_namespace(app.tenant, app.zone)
        inputs = outer.inputs
        labels = naming.standard_labels(
            inputs.city.name, name=app.name, component="app", part_of=app.tenant, instance=inputs.city.name
        )
        self.scope = outer.within(self, {**labels, DATA_CLASS_LABEL: app.data_class})
        self._across = {use.alias: inputs.interconnects.use(app, use.alias) is not None for use in app.uses}
        self._endpoints = {use.alias: self._endpoint(use, across=self._across[use.alias]) for use in app.uses}
        self._rooms = [room for use in app.uses if not self._across[use.alias] for room in self._room(use)]
        self._called = tuple(provided.uses_of(inputs.city, app))
        self.routes = self._routes()

    def register_workloads(self, namespace: KubernetesObject, guardrails: Sequence[KubernetesObject]) -> None:
        """Register the app's objects in its namespace.

        The first pod waits for `guardrails`, such as policies and quota.
        """
        app = self.app
        # Labels from the files are set in the app's namespace only, because the template of a provisioning Job is
        # immutable.
        home = self.scope.within(self, {**app.labels, **self.scope.labels}, namespace)
        pulls = use_pull_secrets(app, self.scope.inputs.city, self.scope.inputs.catalogue)
        account = home.add(pods.service_account(self.namespace, app.name, pulls))
        flows = home.add_all([*self._inner_flows(), *self._flows(), *self._calls(), *self._callers(), *self._scraped()])
        bindings = [bind(home, Consumer.of(app), use, self.namespace, self._endpoints[use.alias]) for use in app.uses]
        bindings += [bind_app(home, app, use, target, *self._address(use, target)) for use, target in self._called]
        bound = [made for item in bindings for made in (item.secret, item.pulls) if made is not None]
        ready = home.after(*guardrails, account, *flows, *bound, *self._rooms)
        before = [part for part in app.components if part.run == "before-release"]
        released = ready.after(*(job for part in before for job in self._add_component(home, ready, part, bindings)))
        for component in app.components:
            if component not in before:
                self._add_component(home, released, component, bindings)
        self._add_manifests(home, released)
        self.register_outputs({})

    def _add_manifests(self, home: Scope, ready: Scope) -> None:
        """Register the app's own manifests; what has pods, or scales them, depends on all that `ready` has."""
        digest: pulumi.Output[str] | None = None
        route, ends = self.app.route, dict[str, manifests.Annotations]()
        if self.app.serves_tls and route is not None and route.service:
            digest, secret = self._certificate(route.service)
            ready = ready.after(home.add(secret))
            ends[route.service] = tls.ends(self.scope.inputs, app_certificate_key(self.app))
        given = manifests.of_app(self.scope.inputs, self.app, home.labels, self.pod_labels, digest, ends)
        manifests.register(given, self.app.manifests, home, ready)
        home.add_all([*self._crossing_services()])

    def _crossing_services(self) -> Iterator[Manifest]:
        """Yield the Services by which gateways and apps on other clouds reach Services of the app's manifests."""
        inputs, routed = self.scope.inputs, served.of_route(self.app)
        found: list[tuple[str, served.Served, int]] = []
        if routed is not None and routed.component is None and self._node_port:
            found.append((naming.fit(f"{routed.service}-crossing"), routed, self._node_port))
        for item in self.app.provides:
            target = provided.target_of(self.app, item) if item.service else None
            node_port = inputs.interconnects.port(inputs.stack.cloud, target.subject) if target is not None else 0
            if target is not None and node_port:
                found.append((naming.provided_service(item.service, item.name), target.served, node_port))
        for name, target_of, port in found:
            labels = {**self.pod_labels, **target_of.labels}
            yield pods.node_port_service(self.namespace, name, labels, target_of.port, target_of.pod_port, port)

    def _room(self, use: Use) -> tuple[KubernetesObject, ...]:
        return provision(self.scope, Consumer.of(self.app), use, self._endpoints[use.alias], "provision")

    def _endpoint(self, use: Use, *, across: bool) -> KnownEndpoint:
        """The endpoint of a used capability: inside the cluster or, with `across`, at the node port of another
        cloud.
        """
        known = endpoint(self.scope.inputs, use.capability)
        return known.from_outside() if across else known

    @property
    def pod_labels(self) -> dict[str, str]:
        """The labels of all pods of the app, by which network policies select them."""
        return {NAME_LABEL: self.app.name, PART_OF_LABEL: self.app.tenant}

    @property
    def _node_port(self) -> int:
        """The node port of what the route leads to, for a gateway on another cloud; 0 if that is on this one."""
        across = self.scope.inputs.interconnects.route(self.app)
        return self.scope.inputs.interconnects.port(across.target, across.subject) if across is not None else 0

    def _component_labels(self, component: Component) -> dict[str, str]:
        return {**self.pod_labels, COMPONENT_LABEL: component.name}

    def _inner_flows(self) -> Iterator[Manifest]:
        """Yield network policies between the app's own components, and from the gateway to the routed component."""
        of_components = {number for component in self.app.components for number in component.ports.values()}
        ports = sorted(of_components.union(ports_of(self.app.manifests)))
        if len(workloads(self.app)) > 1 and ports:
            own = {"podSelector": {"matchLabels": self.pod_labels}}
            yield network_policies.policy(
                self.namespace,
                naming.fit(f"{self.app.name}-within"),
                self.pod_labels,
                ingress=[network_policies.from_peer(own, ports)],
                egress=[network_policies.to_peer(own, ports)],
            )
        routed = served.of_route(self.app)
        if self.app.is_routed and routed is not None:
            rules = self._gateway_rules(routed.pod_port)
            name = naming.fit(f"{self.app.name}-from-entry")
            labels = {**self.pod_labels, **routed.labels}
            yield network_policies.policy(self.namespace, name, labels, ingress=rules)
            yield from self._canary_flows()

    def _canary_flows(self) -> Iterator[Manifest]:
        """Yield the network policy from the gateway to the canary of the routed component."""
        canary, port = self.app.canary, self._canary_port
        if canary is not None and port is not None:
            name = naming.fit(f"{self.app.name}-canary-from-entry")
            rules = self._gateway_rules(port)
            yield network_policies.policy(self.namespace, name, self._component_labels(canary), ingress=rules)

    @property
    def _canary_port(self) -> int | None:
        """The port of the canary that the route leads to."""
        canary, route = self.app.canary, self.app.route
        if canary is None or route is None:
            return None
        return canary.ports.get(route.port) if route.port else canary.port

    def _gateway_rules(self, port: int) -> list[Manifest]:
        inputs = self.scope.inputs
        across = inputs.interconnects.route(self.app)
        if across is not None:
            return network_policies.from_outside(inputs.reach[across.source].sources, port)
        entry = entry_of(inputs.city, self.app.zone)
        if entry is None:
            # The ingress controller of an existing cluster serves the app, and its namespace is unknown.
            return [network_policies.from_anywhere([port])]
        known = entry_endpoint(inputs, entry)
        return [network_policies.from_peer(network_policies.pods_of(known.namespace, known.pod_labels), [port])]

    def _flows(self) -> Iterator[Manifest]:
        """Yield network policies for each use: from the app's pods to the capability's pods, on its port only.

        If the capability is on another cloud, its side is opened there (`stacks.tenants.interconnect`).
        """
        for alias, known in self._endpoints.items():
            name = naming.fit(f"{self.app.name}-to-{alias}")
            if self._across[alias]:
                leaves = network_policies.to_outside(known.host, known.port)
                yield network_policies.policy(self.namespace, name, self.pod_labels, egress=[leaves])
                continue
            target = network_policies.pods_of(known.namespace, known.pod_labels)
            source = network_policies.pods_of(self.namespace, self.pod_labels)
            yield network_policies.policy(
                self.namespace,
                name,
                self.pod_labels,
                egress=[network_policies.to_peer(target, [known.port])],
            )
            yield network_policies.policy(
                known.namespace,
                naming.fit(f"from-{self.app.tenant}-{self.app.name}-{alias}"),
                known.pod_labels,
                ingress=[network_policies.from_peer(source, [known.port])],
            )

    def _calls(self) -> Iterator[Manifest]:
        """Yield a network policy for each use of another app: from the app's pods to the component's, on its port.

        The other side is opened by the stack of the provider's tenant (`_callers`).
        """
        for use, target in self._called:
            name = naming.fit(f"{self.app.name}-to-{use.alias}")
            if self.scope.inputs.interconnects.app_use(self.app, use.alias) is not None:
                leaves = network_policies.to_outside(*self._address(use, target))
                yield network_policies.policy(self.namespace, name, self.pod_labels, egress=[leaves])
                continue
            labels = {NAME_LABEL: target.app.name, PART_OF_LABEL: target.app.tenant, **target.served.labels}
            yield network_policies.policy(
                self.namespace,
                name,
                self.pod_labels,
                egress=[network_policies.to_peer(self._peer(target.namespace, labels), [target.pod_port])],
            )

    def _callers(self) -> Iterator[Manifest]:
        """Yield a network policy for each port that the app provides: from the pods of the apps that use it."""
        rules: dict[str, list[Manifest]] = {}
        targets: dict[str, provided.ProvidedPort] = {}
        inputs = self.scope.inputs
        for user, use, target in provided.users_of(inputs.city, self.app):
            targets[target.provided.name] = target
            known = rules.setdefault(target.provided.name, [])
            across = inputs.interconnects.app_use(user, use.alias)
            if across is not None:
                # Policies apply after translation of the node port: to the pods' own port.
                found = network_policies.from_outside(inputs.reach[across.source].sources, target.pod_port)
            else:
                labels = {NAME_LABEL: user.name, PART_OF_LABEL: user.tenant}
                peer = self._peer(naming.tenant_namespace(user.tenant, user.zone), labels)
                found = [network_policies.from_peer(peer, [target.pod_port])]
            known += [rule for rule in found if rule not in known]
        for name, target in targets.items():
            yield network_policies.policy(
                self.namespace,
                naming.fit(f"{self.app.name}-provides-{name}"),
                {**self.pod_labels, **target.served.labels},
                ingress=rules[name],
            )

    def _scraped(self) -> Iterator[Manifest]:
        """Yield a network policy for each component with metrics: from the pods that scrape on this cloud."""
        inputs = self.scope.inputs
        peers = [
            network_policies.pods_of(*peer)
            for peer in scrapers(inputs.city, inputs.catalogue, inputs.placement, inputs.stack.cloud)
        ]
        for component in self.app.components:
            port = component.metrics_port
            if peers and port is not None:
                name = naming.fit(f"{self.app.name}-{component.name}-metrics")
                rules = [network_policies.from_peer(peer, [port]) for peer in peers]
                yield network_policies.policy(self.namespace, name, self._component_labels(component), ingress=rules)

    def _address(self, use: AppUse, target: provided.ProvidedPort) -> tuple[pulumi.Input[str], int]:
        """Host and port of another app: its Service or, on another cloud, its node port there."""
        inputs = self.scope.inputs
        across = inputs.interconnects.app_use(self.app, use.alias)
        if across is None:
            return target.host, target.port
        port = inputs.interconnects.port(across.target, across.subject)
        return inputs.reach[across.target].address or unknown(), port

    def provided_addresses(self) -> Iterator[ProvidedAddress]:
        """Yield the addresses of what the app provides."""
        inputs = self.scope.inputs
        cloud = inputs.stack.cloud
        for item in self.app.provides:
            target = provided.target_of(self.app, item)
            if target is None:
                continue
            node_port = inputs.interconnects.port(cloud, target.subject)
            outside = (inputs.reach[cloud].address, node_port) if node_port else ("", 0)
            yield ProvidedAddress(self.app.name, item.name, target.host, target.port, *outside)

    def used_addresses(self) -> Iterator[UsedAddress]:
        """Yield the addresses of what the app uses; unknown ones pass through to the outputs."""
        for use in self.app.uses:
            known: Any = self._endpoints[use.alias]
            yield UsedAddress(self.app.name, use.alias, use.capability, known.host, known.port)
        for call, target in self._called:
            host, port = self._address(call, target)
            yield UsedAddress(self.app.name, call.alias, target.subject, cast("str", host), port)

    def _peer(self, namespace: str, labels: dict[str, str]) -> Manifest:
        """A peer: pods of another app. Within the own namespace it names no namespace, as deployers may write it."""
        if namespace == self.namespace:
            return {"podSelector": {"matchLabels": labels}}
        return network_policies.pods_of(namespace, labels)

    def _add_component(
        self, home: Scope, ready: Scope, component: Component, bindings: list[Binding]
    ) -> list[KubernetesObject]:
        """Register the objects of one component; return those that a release waits for.

        Pods, and the objects that scale them, depend on all that `ready` has.
        """
        workload = naming.component_workload(self.app.name, component.name)
        content: dict[str, Any] = {binding.alias: binding.content for binding in bindings}
        before: list[KubernetesObject] = []
        if component.files:
            keys = {file_key(path): text for path, text in component.files.items()}
            before.append(home.add(pods.config_map(self.namespace, f"{workload}-files", keys)))
            content["files"] = pods.content_digest(keys)
        if component.secrets:
            values = {name: self._own_secret(name) for name in component.secrets}
            before.append(home.add(pods.secret(self.namespace, f"{workload}-secrets", values)))
            content["secrets"] = pulumi.Output.all(self._digest_key(), pulumi.Output.all(**values)).apply(_keyed)
        if self._serves_tls(component):
            certificate, secret = self._certificate(workload)
            before.append(home.add(secret))
            content["certificate"] = certificate
        template = self._template(home.labels, component, workload, bindings, content)
        if component.schedule:
            suspended = self.app.stage == "suspended"
            ready.after(*before).add(jobs.cron_job(self.namespace, workload, component, template, suspended=suspended))
            return []
        if component.run == "before-release":
            # A suspended app runs nothing; the next release runs it.
            return (
                []
                if self.app.stage == "suspended"
                else [self._release_job(ready.after(*before), workload, component, template)]
            )
        before += self._claims(home, component, workload)
        ready.after(*before).add(self._workload(component, workload, template))
        for service in self._services(component, workload):
            home.add(service)
        if is_autoscaled(self.app, component):
            ready.add(autoscaler(self.namespace, workload, component))
        if max(component.replicas, component.autoscale.min if component.autoscale else 1) > 1:
            home.add(pods.disruption_budget(self.namespace, workload, self._component_labels(component)))
        return []

    def _services(self, component: Component, workload: str) -> Iterator[Manifest]:
        """Yield the Service of a component with ports, and those for a gateway and for apps on other clouds."""
        if not component.ports:
            return
        labels = self._component_labels(component)
        ends = tls.ends(self.scope.inputs, app_certificate_key(self.app)) if self._serves_tls(component) else {}
        services = [pods.service(self.namespace, workload, labels, component.ports, annotations=ends)]
        if self._node_port and component is self.app.web_component:
            name, port = naming.fit(f"{workload}-crossing"), self.app.web_port
            assert port is not None
            target = next(key for key, number in component.ports.items() if number == port)
            services.append(pods.node_port_service(self.namespace, name, labels, port, target, self._node_port))
        for item in self.app.provides:
            found = provided.target_of(self.app, item)
            if found is None or found.served.component is not component:
                continue
            node_port = self.scope.inputs.interconnects.port(self.scope.inputs.stack.cloud, found.subject)
            if node_port:
                name = naming.provided_service(workload, item.name)
                target = next(key for key, number in component.ports.items() if number == found.port)
                services.append(pods.node_port_service(self.namespace, name, labels, found.port, target, node_port))
        for service in services:
            # A canary's Deployment tells within its own time whether its pods are ready.
            is_canary = component.canary is not None
            if is_canary or (not is_autoscaled(self.app, component) and not stated_replicas(self.app, component)):
                # A Service without pods never becomes ready, and the official plug-in would wait for it.
                service["metadata"]["annotations"] = {"pulumi.com/skipAwait": "true"}
            yield service

    def _release_job(self, ready: Scope, workload: str, component: Component, template: Manifest) -> KubernetesObject:
        """Register the Job that must succeed before the app's other components change."""
        # Without the registry: a mirror that is named later serves the same version.
        images = self.scope.inputs.images
        # It is run once for what the files say, and not again when a canary takes the old release's place.
        said = rollouts.declared(self.app).components
        version = [resolve_image(part.image, images, "") for part in said if not part.schedule]
        name = jobs.release_name(workload, version, template)
        return ready.add(
            jobs.release_job(self.namespace, name, component, template), name=f"{self.namespace}/{workload}"
        )

    def _claims(self, home: Scope, component: Component, workload: str) -> list[KubernetesObject]:
        """Register the claims of a component's volumes, which stay in the cluster when they leave the files."""
        base = base_outputs(self.scope.inputs) if component.volumes else None
        storage_class = base.storage_class if base is not None else ""
        return [
            home.add(
                pods.volume_claim(
                    self.namespace, naming.volume_claim(workload, volume.name), volume.size, storage_class
                ),
                protect=True,
                retain=True,
            )
            for volume in component.volumes
        ]

    def _workload(self, component: Component, workload: str, template: Manifest) -> Manifest:
        """The Deployment of a component, or with volumes a StatefulSet: it ends a pod before it starts another."""
        if component.volumes:
            return self._stateful_set(component, workload, template)
        return self._deployment(component, workload, template)

    def _stateful_set(self, component: Component, workload: str, template: Manifest) -> Manifest:
        return {
            "apiVersion": "apps/v1",
            "kind": "StatefulSet",
            "metadata": {"name": workload, "namespace": self.namespace},
            "spec": {
                "replicas": stated_replicas(self.app, component),
                "serviceName": workload,
                "revisionHistoryLimit": 3,
                "selector": {"matchLabels": self._component_labels(component)},
                "template": template,
            },
        }

    def _deployment(self, component: Component, workload: str, template: Manifest) -> Manifest:
        spec: Manifest = {
            "selector": {"matchLabels": self._component_labels(component)},
            "strategy": _strategy(component),
            "revisionHistoryLimit": 3,
            "template": template,
        }
        # With an autoscaler, it alone sets the number of replicas; two managers would overwrite each other.
        if not is_autoscaled(self.app, component):
            spec["replicas"] = stated_replicas(self.app, component)
        metadata: Manifest = {"name": workload, "namespace": self.namespace}
        if component.canary is not None:
            spec["progressDeadlineSeconds"] = canary_deadline(component)
            if not component.canary.weight:
                # It is about to be removed, perhaps because it never became ready.
                metadata["annotations"] = {"pulumi.com/skipAwait": "true"}
        return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata, "spec": spec}

    def _template(
        self,
        common: Mapping[str, str],
        component: Component,
        workload: str,
        bindings: list[Binding],
        content: dict[str, Any],
    ) -> Manifest:
        inputs = self.scope.inputs
        volumes: list[Manifest] = []
        mounts: list[Manifest] = []
        for binding in bindings:
            volume = naming.fit(f"binding-{binding.alias}")
            volumes.append({"name": volume, "secret": {"secretName": binding.secret_name, "defaultMode": 0o440}})
            mounts.append({"name": volume, "mountPath": f"{BINDING_ROOT}/{binding.alias}", "readOnly": True})
        if component.files:
            volumes.append({"name": "files", "configMap": {"name": f"{workload}-files"}})
            mounts += [
                {"name": "files", "mountPath": path, "subPath": file_key(path), "readOnly": True}
                for path in component.files
            ]
        for disk in component.volumes:
            claim = naming.volume_claim(workload, disk.name)
            volumes.append({"name": f"volume-{disk.name}", "persistentVolumeClaim": {"claimName": claim}})
            mounts.append({"name": f"volume-{disk.name}", "mountPath": disk.path})
        if self._serves_tls(component):
            volumes.append(tls.volume_of(naming.tls_secret(workload)))
            mounts.append({"name": "tls", "mountPath": TLS_DIRECTORY, "readOnly": True})
        accelerators = {name: str(count) for name, count in component.resources.accelerators.items()}
        runner = pods.container(
            component.name,
            resolve_image(component.image, inputs.images, inputs.city.images.registry),
            command=[literal(text) for text in component.command],
            args=[literal(text) for text in component.args],
            env=self._environment(component, workload),
            ports=component.ports,
            mounts=mounts,
            requests={"cpu": component.resources.cpu, "memory": component.resources.memory, **accelerators},
            limits=_limits(component, accelerators),
            read_only_root=component.read_only_root,
            **probes_of(component, tls=self._serves_tls(component)),
        )
        spec = pods.pod(
            [runner],
            cluster=inputs.cluster,
            service_account=self.app.name,
            volumes=volumes,
            priority_class=priority_class(inputs.city.name, "tenant"),
            restart="Never" if component.is_job else "",
        )
        where = node_affinity.affinity(inputs.city.cloud(inputs.stack.cloud), self.app, component)
        if where is not None:
            spec["affinity"] = where
        if names := use_pull_secrets(self.app, inputs.city, inputs.catalogue):
            # Those of the service account are for pods that name none, and others may be added here.
            spec["imagePullSecrets"] = [{"name": name} for name in names]
        # The group that may read the bindings. Kubernetes assigns the volumes to it and adds it to every process.
        spec["securityContext"] = {**spec["securityContext"], "fsGroup": 2000}
        if component.user is not None:
            spec["securityContext"] |= {"runAsUser": component.user, "runAsGroup": component.user}
        labels = {**common, **self._component_labels(component)}
        if not content:
            return pods.template(labels, spec)
        return pods.template(
            labels, spec, pulumi.Output.unsecret(pulumi.Output.all(**content).apply(pods.content_digest))
        )

    def _environment(self, component: Component, workload: str) -> list[Manifest]:
        values = {**own_variables(self.app, component), **component.env}
        entries = [entry for name, value in values.items() for entry in self._variables(name, value)]
        # Kubernetes puts into a value only what comes before it.
        entries = list({entry["name"]: entry for entry in entries}.values())
        return entries + [
            pods.from_secret(secret_variable(name), f"{workload}-secrets", name) for name in component.secrets
        ]

    def _variables(self, name: str, value: str) -> Iterator[Manifest]:
        """Yield the variable, after those with the entries of bindings that it is put together from."""
        found = list(parts(value))
        if len(found) == 1 and isinstance(found[0], Reference):
            yield self._entry(name, found[0])
            return
        text = ""
        for part in found:
            if isinstance(part, Reference):
                variable = variable_of(part)
                yield self._entry(variable, part)
                text += f"$({variable})"
            else:
                assert isinstance(part, str), f"{part} has passed the checks"
                text += literal(part)
        yield {"name": name, "value": text}

    def _entry(self, variable: str, entry: Reference) -> Manifest:
        return pods.from_secret(variable, naming.binding_secret(self.app.name, entry.alias), entry.key)

    def _serves_tls(self, component: Component) -> bool:
        return self.app.serves_tls and component in (self.app.web_component, self.app.canary)

    def _certificate(self, workload: str) -> tuple[pulumi.Output[str], Manifest]:
        """A digest of the certificate of the routed Service, so that pods roll when it is renewed, and its Secret."""
        files = tls.files(self.scope.inputs, app_certificate_key(self.app))
        chain = pulumi.Output.unsecret(files["tls.crt"])
        digest = chain.apply(lambda text: pods.content_digest({"certificate": text}))
        return digest, pods.secret(self.namespace, naming.tls_secret(workload), files)

    def _own_secret(self, name: str) -> pulumi.Output[str]:
        return secret_value(self.scope.inputs, naming.tenant_key(self.app.tenant, name))

    def _digest_key(self) -> pulumi.Output[str]:
        return secret_value(self.scope.inputs, naming.DIGEST_KEY)

    def _canary_target(self) -> CanaryTarget | None:
        part, port = self.app.canary, self._canary_port
        if part is None or part.canary is None or port is None or not part.canary.weight:
            return None
        return CanaryTarget(naming.component_workload(self.app.name, part.name), port, part.canary.weight)

    def _routes(self) -> tuple[RouteTarget, ...]:
        route, routed = self.app.route, served.of_route(self.app)
        if not self.app.holds_route or route is None:
            return ()
        host = naming.entry_host(route.host, self.scope.inputs.city.domain)
        if not self.app.is_routed:
            return (RouteTarget(self.app.tenant, self.app.name, host, route.path, self.namespace, "", 0),)
        if routed is None:
            return ()
        own = (self.app.tenant, self.app.name, host, route.path, self.namespace)
        pod_port = routed.pod_port if routed.pod_port != routed.port else 0
        target = RouteTarget(
            *own,
            routed.service,
            routed.port,
            tls=route.tls,
            pod_port=pod_port,
            canary=self._canary_target(),
            sign_in="" if route.sign_in == "none" else route.sign_in,
            limits=_route_limits(route.limits),
        )
        if not self._node_port:
            return (target,)
        inputs = self.scope.inputs
        address = inputs.reach[inputs.stack.cloud].address
        return (replace(target, external_host=address, external_port=self._node_port),)


def _route_limits(stated: RouteLimits) -> LimitsTarget:
    """What differs from the entry point's defaults. A burst is by default what is taken in a second."""
    rate, length = stated.requests_per_second or 0, stated.request_bytes
    return LimitsTarget(
        rate,
        rate if stated.burst is None else stated.burst,
        0 if length == RouteLimits().request_bytes else int(parse_quantity(length)),
    )


def canary_deadline(component: Component) -> int:
    """Seconds within which a canary's pods are ready, or it has failed: what they may take to start, and 10."""
    return (component.probes.start_seconds if component.probes is not None else _START_SECONDS) + 10


def _strategy(component: Component) -> Manifest:
    """How a Deployment replaces pods. Kubernetes adds the type of rolling updates."""
    stated = component.strategy or Strategy()
    if stated.type == "recreate":
        return {"type": "Recreate"}
    missing = 1 if component.replicas > 1 else 0
    return {
        "rollingUpdate": {
            "maxSurge": 1 if stated.surge is None else stated.surge,
            "maxUnavailable": missing if stated.unavailable is None else stated.unavailable,
        }
    }


def file_key(path: str) -> str:
    """The key of a mounted file in its ConfigMap. The digest distinguishes files of the same base name.

    A key consists of at most 253 letters, digits, `.`, `_` and `-`; other characters of the name are replaced.
    """
    name = re.sub(r"[^A-Za-z0-9._-]", "_", path.rsplit("/", 1)[-1])
    return f"{naming.digest(path)}-{name[:244]}"


def _limits(component: Component, accelerators: Mapping[str, str]) -> Mapping[str, str]:
    """For extended resources the API server requires limits equal to the requests."""
    cpu = {"cpu": component.cpu_limit} if component.cpu_limit else {}
    return {**cpu, "memory": component.resources.memory, **accelerators}


def autoscaler(namespace: str, workload: str, component: Component) -> Manifest:
    """A HorizontalPodAutoscaler on CPU utilisation."""
    scale = component.autoscale
    assert scale is not None
    target = {"type": "Utilization", "averageUtilization": scale.cpu}
    return {
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": workload, "namespace": namespace},
        "spec": {
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": workload},
            "minReplicas": scale.min,
            "maxReplicas": scale.max,
            "metrics": [{"type": "Resource", "resource": {"name": "cpu", "target": target}}],
        },
    }


def _keyed(values: list[Any]) -> str:
    key, secrets = values
    text = "\0".join(f"{name}\0{secrets[name]}" for name in sorted(secrets))
    return hmac.new(key.encode(), text.encode(), hashlib.sha256).hexdigest()[:16]
