"""Finds what people name on the command line: an app, one of its components, and the cluster that it runs on."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from wecityctl.errors import AuthenticationError, ConfigurationError, DeploymentError, NoSuchStackError
from wecityctl.guesses import nearest
from wecityctl.model.naming import (
    COMPONENT_LABEL,
    NAME_LABEL,
    PART_OF_LABEL,
    component_workload,
    tenant_namespace,
)

if TYPE_CHECKING:
    from wecityctl.inputs import Cluster
    from wecityctl.kube.client import KubeClient
    from wecityctl.model.city import App, City, Component
    from wecityctl.session import Session

_PLURALS = {"app": "apps", "tenant": "tenants", "capability": "capabilities"}


@dataclass(frozen=True, slots=True)
class Target:
    """An app, and the component of it that was named; `None` for the whole app."""

    app: App
    component: Component | None = None

    @property
    def title(self) -> str:
        """`tenant/app` or `tenant/app/component`."""
        parts = (self.app.tenant, self.app.called, self.component.name if self.component is not None else "")
        return "/".join(filter(None, parts))

    @property
    def namespace(self) -> str:
        """The namespace of the app's objects."""
        return tenant_namespace(self.app.tenant, self.app.zone)

    @property
    def workload(self) -> str:
        """The name of the component's workload."""
        assert self.component is not None
        return component_workload(self.app.name, self.component.name)

    def selector(self, components: Iterable[str] = ()) -> str:
        """The label selector of its pods; of the named components, or of the target's own."""
        names = sorted(components) or ([self.component.name] if self.component is not None else [])
        within = f",{COMPONENT_LABEL} in ({','.join(names)})" if names else ""
        return f"{NAME_LABEL}={self.app.name},{PART_OF_LABEL}={self.app.tenant}{within}"


def _is_called(app: App, name: str) -> bool:
    return bool(name) and name in (app.name, app.known_as)


def find_app(city: City, name: str) -> App:
    """The app called `name` or `tenant/name`. Raises `ConfigurationError` when there is none, or more than one."""
    tenant, _, short = name.rpartition("/")
    found = [item for item in city.apps if _is_called(item, short) and (not tenant or item.tenant == tenant)]
    if len(found) == 1:
        return found[0]
    if found:
        owners = " or ".join(f"{item.tenant}/{item.called}" for item in found)
        raise ConfigurationError(f"several tenants have an app {short!r}", resolution=f"say {owners}")
    known = [f"{item.tenant}/{item.called}" for item in city.apps]
    called = {item.called: full for item, full in zip(city.apps, known, strict=True)}
    near = nearest(name, known) or called.get(nearest(short, called), "")
    raise ConfigurationError(
        f"there is no app {name!r}",
        details=f"apps: {', '.join(known) or 'none'}",
        resolution=f"did you mean {near!r}?" if near else "",
    )


def find_tenant_or_app(city: City, name: str, others: Mapping[str, Collection[str]] | None = None) -> tuple[str, str]:
    """Tenant and app that `name` (`tenant`, `app` or `tenant/app`) stands for; an empty app for a tenant.

    Raises `ConfigurationError` when it is neither. `others` are names that the error suggests too, by what they are.
    """
    tenants = [tenant.name for tenant in city.tenants]
    if name in tenants:
        return name, ""
    if any(_is_called(item, name.rpartition("/")[2]) for item in city.apps):
        # Errors of `find_app` fit: the tenant before the slash is wrong, or several tenants have such an app.
        app = find_app(city, name)
        return app.tenant, app.name
    apps = [f"{item.tenant}/{item.called}" for item in city.apps]
    raise unknown_name(name, apps, {"tenant": tenants, **(others or {})})


def unknown_name(name: str, apps: Collection[str], others: Mapping[str, Collection[str]]) -> ConfigurationError:
    """The error of a name that is none of `apps`, as TENANT/APP, nor of `others`, which are by what they are.

    Where the name has a slash only an app is suggested, which may be named without its tenant.
    """
    short = {item.rpartition("/")[2]: item for item in apps}
    near = nearest(name, [*(() if "/" in name else (item for names in others.values() for item in names)), *apps])
    near = near or short.get(nearest(name.rpartition("/")[2], short), "")
    kinds = ("app", *others)
    lists = {"app": apps, **others}
    return ConfigurationError(
        f"there is no {', '.join(kinds[:-1])} or {kinds[-1]} {name!r}",
        details="\n".join(f"{_PLURALS[kind]}: {', '.join(names) or 'none'}" for kind, names in lists.items()),
        resolution=f"did you mean {near!r}?" if near else "",
    )


def find_target(city: City, name: str) -> Target:
    """What `app`, `tenant/app`, `app/component` or `tenant/app/component` names.

    Raises `ConfigurationError` for nothing, and for a name that may be two of these.
    """
    parts = name.split("/")
    if len(parts) == 3:
        app = find_app(city, "/".join(parts[:2]))
        return Target(app, find_component(app, parts[2]))
    if len(parts) != 2:
        return Target(find_app(city, name))
    first, second = parts
    as_app = [item for item in city.apps if item.tenant == first and _is_called(item, second)]
    within = [item for item in city.apps if _is_called(item, first)]
    as_component = [item for item in within if any(part.name == second for part in item.components)]
    if as_app and as_component:
        full = f"{as_component[0].tenant}/{first}/{second}"
        raise ConfigurationError(
            f"{name!r} is an app of tenant {first}, and a component of app {first}",
            resolution=f"say {full} for the component, or {first}/{second}/COMPONENT for the app's",
        )
    if as_app:
        return Target(as_app[0])
    if as_component or (within and not any(item.tenant == first for item in city.apps)):
        app = find_app(city, first)
        return Target(app, find_component(app, second))
    return Target(find_app(city, name))


def find_component(app: App, name: str) -> Component:
    """The component of an app. Raises `ConfigurationError` when there is none."""
    for component in app.components:
        if component.name == name:
            return component
    known = [item.name for item in app.components]
    near = nearest(name, known)
    raise ConfigurationError(
        f"{app.tenant}/{app.called} has no component {name!r}",
        details=f"components: {', '.join(known) or 'none'}",
        resolution=f"did you mean {near!r}?" if near else "",
    )


def find_pod(pods: Sequence[dict[str, Any]], name: str, title: str) -> dict[str, Any]:
    """The pod of that name. Raises `ConfigurationError` when there is none."""
    known = [str(pod["metadata"]["name"]) for pod in pods]
    for pod in pods:
        if pod["metadata"]["name"] == name:
            return pod
    near = nearest(name, known)
    raise ConfigurationError(
        f"{title} has no pod {name!r}",
        details=f"pods: {', '.join(known) or 'none'}",
        resolution=f"did you mean {near!r}?" if near else "",
    )


def cluster_of(session: Session, app: App, *, pods: str = "") -> Cluster:
    """The cluster that the app runs on.

    `pods` is what is wanted of its pods, such as `logs`: then a cluster with simulated nodes is refused. Raises
    `ConfigurationError` for that, `NoSuchStackError` if the app is not deployed or its cloud does not run, and the
    error of a cloud that cannot be reached.
    """
    from wecityctl.clusters import open_clusters

    title = f"{app.tenant}/{app.called}"
    if not app.runs:
        raise NoSuchStackError(
            f"{title} has no pods: its stage is {app.stage}", resolution="set `stage: published`, then `wecityctl up`"
        )
    clusters = open_clusters(session.city, session.catalogue, lambda event: None, start=False)
    cloud = session.plan.placement.apps[(app.tenant, app.name)]
    if cloud in clusters.failed:
        raise clusters.failed[cloud]
    if cloud not in clusters.found:
        raise not_running(session, cloud)
    if pods and clusters.found[cloud].simulated:
        raise ConfigurationError(
            f"{app.called} runs on simulated nodes, which have no {pods}", resolution="use a cloud with real nodes"
        )
    return clusters.found[cloud]


def not_running(session: Session, cloud: str) -> NoSuchStackError:
    """The error for an embedded cloud that does not run."""
    return NoSuchStackError(
        f"cloud {cloud} is not running", resolution=f"bring it up: wecityctl up {session.arguments}"
    )


def not_asked(session: Session, cloud: str) -> DeploymentError:
    """The error for a capability that cannot be asked, as its cloud does not run."""
    error = not_running(session, cloud)
    return DeploymentError(error.message, resolution=error.resolution)


@asynccontextmanager
async def client_of(cluster: Cluster) -> AsyncIterator[KubeClient]:
    """A client of the cluster."""
    from wecityctl.kube.client import KubeClient
    from wecityctl.kube.config import load_access
    from wecityctl.kube.transport import HttpPool

    async with HttpPool() as pool, KubeClient(load_access(cluster.kubeconfig), pool) as client:
        yield client


@contextmanager
def needing(right: str, target: Target, cluster: Cluster) -> Iterator[None]:
    """Turn a cluster's refusal into an `AuthenticationError` that names the missing right, such as `get pods/log`."""
    from wecityctl.kube.errors import Forbidden

    try:
        yield
    except Forbidden as error:
        raise AuthenticationError(
            f"these credentials may not look into {target.title}",
            details=f"cloud {cluster.cloud}: the right is missing to {right} in namespace {target.namespace}"
            f"\n{error.message}",
            resolution="use the credentials of the tenant's administrator or deployer, or of the city's operator",
        ) from error


def nothing_deployed(session: Session, target: Target) -> NoSuchStackError:
    """The error for an app without pods."""
    if target.app.stage == "suspended":
        return NoSuchStackError(
            f"{target.title} has no pods: it is suspended", resolution="set `stage: published`, then `wecityctl up`"
        )
    return NoSuchStackError(
        f"{target.title} has no pods in {target.namespace}",
        resolution=f"bring it up: wecityctl up {session.arguments}",
    )
