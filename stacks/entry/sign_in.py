"""Registers what routes with `signIn` need beside the gateway: a client of the identity server for each, the sign-in
service's configuration with the same clients, and the network policies between the three.

A Job makes the clients and waits until the service has loaded them, so that the gateway asks nobody who does not know
its routes yet.
"""

from __future__ import annotations

import hmac
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import pulumi

from stacks import network_policies, pods
from stacks.objects import KubernetesObject, Manifest, Scope, secret_value
from stacks.platforms import tls
from stacks.platforms.entry_interface import SignInService
from stacks.platforms.job_pods import job_pod
from stacks.platforms.sign_in_interface import (
    BACK_CHANNEL,
    DIGEST,
    Realm,
    SignInClient,
    SignInInterface,
    client_name,
    sign_in_interface,
)
from stacks.platforms.stateful import provisioning_labels
from stacks.stack_references import KnownEndpoint, endpoint
from wecityctl.inputs import StackInputs
from wecityctl.model import naming
from wecityctl.model.city import Capability
from wecityctl.model.entries import EntryPoint
from wecityctl.model.outputs import RouteTarget
from wecityctl.model.service_tls import service_names
from wecityctl.model.signing_in import people_of, public_host, sign_in_of
from wecityctl.model.variables import BINDING_ROOT

COMPONENT = "sign-in-clients"
# Seconds until the cluster gives the Job up, image pulls and the kubelet's delay with new Secrets included.
_DEADLINE = 600


@dataclass(frozen=True)
class SignIn:
    """The city's sign-in: its service, the identity server behind it, and how clients get into both."""

    capability: Capability
    people: Capability
    alias: str
    interface: SignInInterface
    service: SignInService

    def realm(self, port: str) -> Realm:
        """The realm that people sign in to; `port` is that of the entry point, as in an address."""
        inside = f"https://{self.service.people_host}:{self.service.people_port}{self.interface.realm}"
        public = f"https://{self.service.public_host}{port}{self.interface.realm}"
        return Realm(public, inside, f"{BINDING_ROOT}/{self.alias}/ca.crt")

    def environment(self, clients: Sequence[SignInClient], port: str, tenants: Sequence[str]) -> dict[str, str]:
        """The variables of the script that makes the clients, but for the administrator's and the digest."""
        service = f"https://{self.service.host}:{self.service.port}"
        return {
            "CLIENTS": "\n".join(
                " ".join((client_name(item.route), item.secret, item.origin, item.route.app)) for item in clients
            ),
            "TENANTS": " ".join(tenants),
            "PUBLIC": f"https://{self.service.public_host}{port}{self.interface.root}",
            "BACK_CHANNEL": f"{service}{BACK_CHANNEL}",
            "SERVICE": f"{service}{DIGEST}",
        }


def sign_in(inputs: StackInputs) -> SignIn | None:
    """The city's sign-in; `None` if it has none."""
    found = sign_in_of(inputs.city, inputs.catalogue)
    people = people_of(inputs.city, inputs.catalogue, found) if found is not None else None
    if found is None or people is None:
        return None
    kinds = inputs.catalogue
    interface = sign_in_interface(kinds[found.type])
    host, people_host = service_names(found)[0], service_names(people)[0]
    service = SignInService(
        host,
        kinds[found.type].port,
        host,
        people_host,
        kinds[people.type].port,
        people_host,
        interface.paths,
        public_host(inputs.city),
    )
    return SignIn(found, people, kinds[found.type].uses[0].alias, interface, service)


def clients_of(routes: Sequence[RouteTarget], port: str, root: str) -> tuple[SignInClient, ...]:
    """The clients of the routes at which people sign in. Their secrets are derived from the generated value `root`."""

    def derived(purpose: str, route: RouteTarget) -> str:
        return hmac.digest(root.encode(), f"{purpose} of {client_name(route)}".encode(), "sha256").hex()

    return tuple(
        SignInClient(route, f"https://{route.host}{port}", derived("the secret", route), derived("the cookies", route))
        for route in routes
        if route.sign_in
    )


def register(
    scope: Scope,
    own: SignIn,
    entry: EntryPoint,
    gateway: KnownEndpoint,
    routes: Sequence[RouteTarget],
    node_port: pulumi.Output[int],
) -> list[KubernetesObject]:
    """Register clients, configuration and network policies; returns what the gateway's routes have to wait for.

    `node_port` is the entry point's, or 0 behind a load balancer.
    """
    inputs = scope.inputs
    city, kind = inputs.city, inputs.catalogue[own.people.type]
    there, people = endpoint(inputs, own.capability.name), endpoint(inputs, own.people.name)
    tenants = sorted({tenant.name for tenant in city.tenants})
    root = secret_value(inputs, naming.admin_key(own.capability.name))
    port = node_port.apply(lambda number: _suffix(city.entry.port or number))

    def configured(values: Sequence[str]) -> dict[str, str]:
        clients = clients_of(routes, values[0], values[1])
        text = own.interface.render(clients, own.realm(values[0]))
        made = {"clients.conf": text, "digest": pods.content_digest({"clients": text})}
        return {**made, **own.environment(clients, values[0], tenants)}

    # Secret, as the generated value is.
    values = pulumi.Output.all(port, root).apply(configured)

    def value(name: str) -> pulumi.Output[str]:
        return values.apply(lambda found: found[name])

    policies = scope.add_all([*_flows(own, entry.namespace, gateway, there, people)])
    loaded = {name: value(name) for name in ("clients.conf", "digest")}
    place = own.interface.secret(own.capability.name)
    secret = scope.add(pods.secret(_namespace(own.capability), place, loaded))
    variables = ("CLIENTS", "TENANTS", "PUBLIC", "BACK_CHANNEL", "SERVICE")
    namespace, job_secret = _namespace(own.people), f"{own.people.name}-{COMPONENT}"
    taken = {**{name: value(name) for name in variables}, "DIGEST": value("digest")}
    given = scope.add(pods.secret(namespace, job_secret, taken))
    labels = {
        **scope.labels,
        **provisioning_labels(own.people.name),
        naming.COMPONENT_LABEL: COMPONENT,
    }
    spec = job_pod(
        "clients",
        people.image,
        ["/bin/sh", "-c", own.interface.script],
        [
            {"name": "HOST", "value": people.host},
            {"name": "PORT", "value": pulumi.Output.from_input(people.port).apply(str)},
            {"name": "AUTHORITY", "value": tls.AUTHORITY},
            {"name": "ADMIN_PASSWORD", "valueFrom": {"secretKeyRef": {"name": people.admin_secret, "key": "password"}}},
            *(pods.from_secret(name, job_secret, name) for name in taken),
        ],
        capability=own.people.name,
        is_tls=True,
        cluster=inputs.cluster,
        architectures=kind.architectures_in(city.images.architectures),
        restart="OnFailure",
    )
    digest = pulumi.Output.all(script=own.interface.script, image=people.image, host=people.host, values=values).apply(
        lambda told: pods.content_digest(told)[:10]
    )
    job = {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {
            "name": pulumi.Output.unsecret(pulumi.Output.concat(COMPONENT, "-", digest)),
            "namespace": namespace,
            "annotations": {"pulumi.com/replaceUnready": "true"},
        },
        "spec": {
            "backoffLimit": 5,
            "activeDeadlineSeconds": _DEADLINE,
            "template": pods.template(labels, spec),
        },
    }
    return [*policies, scope.after(*policies, secret, given).add(job, name=f"{namespace}/{COMPONENT}-job")]


def _suffix(port: int) -> str:
    return "" if port in (0, 443) else f":{port}"


def _namespace(capability: Capability) -> str:
    return naming.platform_namespace(capability.platform, capability.zone)


def _flows(
    own: SignIn, front: str, gateway: KnownEndpoint, there: KnownEndpoint, people: KnownEndpoint
) -> Iterator[Manifest]:
    """Yield network policies: the gateway, in namespace `front`, reaches the sign-in service and the identity server,
    and this one and its Jobs reach the service."""
    service, home = _namespace(own.capability), _namespace(own.people)
    jobs = provisioning_labels(own.people.name)
    asks = network_policies.pods_of(front, gateway.pod_labels)
    tells = [network_policies.pods_of(home, labels) for labels in (people.pod_labels, jobs)]
    answers = network_policies.pods_of(service, there.pod_labels)
    knows = network_policies.pods_of(home, people.pod_labels)
    ports, people_ports = [own.service.port], [own.service.people_port]
    yield network_policies.policy(
        front,
        "gateway-to-sign-in",
        gateway.pod_labels,
        egress=[network_policies.to_peer(answers, ports), network_policies.to_peer(knows, people_ports)],
    )
    yield network_policies.policy(
        service,
        f"{own.capability.name}-asked",
        there.pod_labels,
        ingress=[network_policies.from_peer(peer, ports) for peer in (asks, *tells)],
    )
    yield network_policies.policy(
        home,
        f"{own.people.name}-from-entry",
        people.pod_labels,
        ingress=[network_policies.from_peer(asks, people_ports)],
    )
    for name, labels in ((f"{own.people.name}-tells", people.pod_labels), (f"{own.people.name}-clients", jobs)):
        yield network_policies.policy(home, name, labels, egress=[network_policies.to_peer(answers, ports)])
