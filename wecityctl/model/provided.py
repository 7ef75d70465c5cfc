"""Resolves uses of apps: which port of which app a binding leads to, and who may use it.

Pure functions of the files, so that checks, placement, plan, policy and stacks compute the same result independently.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from wecityctl.model import naming, served
from wecityctl.model.city import App, AppUse, City, Component, Provided

# The type of a binding to an app, as in the Service Binding specification.
BINDING_TYPE = "app"
AUTHORITY_ENTRY = "ca.crt"

Apps = Mapping[tuple[str, str], App]


@dataclass(frozen=True, slots=True)
class ProvidedPort:
    """What an app provides, resolved to a port of one of its Services."""

    app: App
    provided: Provided
    served: served.Served

    @property
    def port(self) -> int:
        """The port of the Service."""
        return self.served.port

    @property
    def pod_port(self) -> int:
        """The port on which the pods listen."""
        return self.served.pod_port

    @property
    def subject(self) -> str:
        """The name in messages, and of the node port for other clouds: `tenant/app/name`."""
        return f"{self.app.tenant}/{self.app.name}/{self.provided.name}"

    @property
    def namespace(self) -> str:
        """The namespace of the app."""
        return naming.tenant_namespace(self.app.tenant, self.app.zone)

    @property
    def host(self) -> str:
        """The DNS name of the Service inside its cluster."""
        return f"{self.served.service}.{self.namespace}.svc.cluster.local"

    @property
    def is_tls(self) -> bool:
        """Whether the port is the one that serves TLS with a certificate of the city's CA.

        A suspended app serves nothing, and the bindings to it stay as they are.
        """
        app = self.app
        routed = served.of_route(app) if app.holds_route and app.route is not None and app.route.tls else None
        return routed is not None and (routed.service, routed.port) == (self.served.service, self.served.port)

    @property
    def data_class(self) -> str:
        """The class of the data that users get."""
        return self.provided.data_class or self.app.data_class

    def uri(self, host: str, port: int) -> str:
        """The address for a client that speaks HTTP, where the port is reached at `host` and `port`."""
        return f"{'https' if self.is_tls else 'http'}://{host}:{port}"


def apps_by_name(apps: tuple[App, ...]) -> dict[tuple[str, str], App]:
    """The apps by tenant and name."""
    return {(app.tenant, app.name): app for app in apps}


def component_of(app: App, provided: Provided) -> Component | None:
    """The component that `provided` names, or the only one with ports; `None` if there is none or several, and for a
    Service of manifests.
    """
    if provided.service:
        return None
    steady = (part for part in app.components if part.canary is None)
    serving = [part for part in steady if part.ports and provided.component in ("", part.name)]
    return serving[0] if len(serving) == 1 else None


def port_of(app: App, provided: Provided) -> int | None:
    """The number of the port that `provided` names, or of the component's only one; `None` if there is no such port."""
    component = component_of(app, provided)
    if component is None:
        return None
    if provided.port:
        return component.ports.get(provided.port)
    return component.port if len(component.ports) == 1 else None


def target_of(app: App, provided: Provided) -> ProvidedPort | None:
    """What `app` provides, resolved; `None` if the files have no such port, which the checks report."""
    if provided.service:
        found = served.of_service(app, provided.service, provided.port)
        return ProvidedPort(app, provided, found) if isinstance(found, served.Served) else None
    component, port = component_of(app, provided), port_of(app, provided)
    if component is None or port is None:
        return None
    return ProvidedPort(app, provided, served.of_component(app, component, port))


def provided_of(app: App, name: str) -> Provided | None:
    """What `app` provides under `name`, or the only thing if `name` is empty."""
    found = [item for item in app.provides if name in ("", item.name)]
    return found[0] if len(found) == 1 else None


def admits(provider: App, provided: Provided, user: App) -> bool:
    """Whether `user` may use what `provider` provides."""
    return user.tenant == provider.tenant or not {f"{user.tenant}/{user.name}", f"{user.tenant}/*"}.isdisjoint(
        provided.to
    )


def resolve(apps: Apps, use: AppUse) -> ProvidedPort | None:
    """The port that a use leads to; `None` if the files have no such port, which the checks report."""
    app = apps.get((use.tenant, use.app))
    provided = provided_of(app, use.provided) if app is not None else None
    return target_of(app, provided) if app is not None and provided is not None else None


def uses_of(city: City, app: App) -> Iterator[tuple[AppUse, ProvidedPort]]:
    """Yield the ports of other apps that `app` uses while it runs, in the order of the files."""
    apps = apps_by_name(city.apps) if app.app_uses and app.runs else {}
    for use in app.app_uses if app.runs else ():
        found = resolve(apps, use)
        if found is not None:
            yield use, found


def calls(city: City) -> Iterator[tuple[App, AppUse, ProvidedPort]]:
    """Yield every use of an app by a running one, in the order of the files."""
    apps = apps_by_name(city.apps)
    for app in city.apps:
        for use in app.app_uses if app.runs else ():
            found = resolve(apps, use)
            if found is not None:
                yield app, use, found


def users_of(city: City, provider: App) -> Iterator[tuple[App, AppUse, ProvidedPort]]:
    """Yield the uses of what `provider` provides, in the order of the files."""
    if provider.provides:
        yield from (call for call in calls(city) if call[2].app == provider)


def entries_of(target: ProvidedPort) -> tuple[str, ...]:
    """The keys of a binding to an app."""
    return ("type", "provider", "host", "port", "uri", *((AUTHORITY_ENTRY,) if target.is_tls else ()))
