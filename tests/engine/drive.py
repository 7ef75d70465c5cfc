"""Small cities and runs on them; as a program, one run in a process of its own that a test may kill."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from stacks.catalogue import load_catalogue
from wecityctl.engine.context.options import RunOptions
from wecityctl.engine.run.execution import run
from wecityctl.engine.state.backend import Backend, open_backend
from wecityctl.engine.state.store_file import FileStore
from wecityctl.inputs import Cluster, Clusters
from wecityctl.model.city import App, Capability, City, Cloud, Component, Platform, Quota, State, Tenant, Use, Zone
from wecityctl.model.events import Event, RunResult, StackResult
from wecityctl.plan import Plan, make_plan
from wecityctl.session import Session
from wecityctl.spec.loaded import Positions

CATALOGUE = load_catalogue()


def make_city(
    name: str,
    tenants: tuple[str, ...] = ("health", "traffic"),
    *,
    backend: str = "",
    secrets: tuple[str, ...] = (),
    **labels: str,
) -> City:
    """A city with one cloud and one platform; `labels` steer the test programs."""
    return City(
        name,
        f"{name}.gov.example",
        (Zone("internet", "internet"),),
        (Cloud("main", "local", ("internet",)),),
        (
            Platform(
                "application",
                (
                    Capability("application", "gateway", "gateway", is_entry=True),
                    Capability("application", "postgresql", "postgresql"),
                ),
            ),
        ),
        tuple(Tenant(tenant, tenant, "digital-government", Quota("4", "4Gi", "10Gi")) for tenant in tenants),
        tuple(
            App(
                "app",
                tenant,
                "published",
                "internet",
                "L1",
                (Component("web", "example/web:1", secrets=secrets),),
                (Use("postgresql", "db"),),
            )
            for tenant in tenants
        ),
        state=State(backend),
        labels=labels,
    )


def plan_of(city: City) -> Plan:
    """The city's plan."""
    return make_plan(city, CATALOGUE)


def session_of(city: City, plan: Plan | None = None) -> Session:
    """The city as if it was read from files, for the stacks of `plan`."""
    return Session(Path(), city, CATALOGUE, plan or plan_of(city), {}, Positions({}))


def go(
    city: City,
    operation: str,
    clusters: Mapping[str, Cluster] | None = None,
    *,
    program: str = "components",
    backend: Backend | None = None,
    plan: Plan | None = None,
    events: list[Event] | None = None,
    **options: Any,
) -> RunResult:
    """One run with a program of `tests.engine.programs`."""
    emit = events.append if events is not None else lambda event: None
    return run(
        session_of(city, plan),
        RunOptions(operation, provider="builtin", program=f"tests.engine.programs:{program}", **options),
        Clusters(clusters or {}),
        backend or open_backend(city),
        emit,
    )


def main() -> int:
    """Run as told by a JSON document: city arguments, operation, cluster. Writes a line for each event."""
    order = json.loads(Path(sys.argv[1]).read_text())
    city = make_city(order["city"], **order.get("arguments", {}))
    clusters = {"main": Cluster("main", order["kubeconfig"], "", order["uid"])} if "kubeconfig" in order else {}

    class Lines(list[Event]):
        def append(self, event: Event) -> None:
            result = getattr(event, "result", None)
            ended = (result.stack, result.outcome) if isinstance(result, StackResult) else ()
            told = [type(event).__name__, getattr(event, "stack", ""), getattr(event, "name", ""), *ended]
            print(" ".join(part for part in told if part), flush=True)

    result = go(city, order["operation"], clusters, program=order["program"], events=Lines(), **order["options"])
    return result.exit_code


if __name__ == "__main__":
    sys.exit(main())


def files_of(backend: Backend) -> FileStore:
    """The directory that the city's states are in."""
    assert isinstance(backend.store, FileStore)
    return backend.store
