"""`wecityctl status`: how a city is."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

import typer

from wecityctl.cli._common import EPILOG, HERE, CityPath, Output, OutputOption, console, note, say_json

if TYPE_CHECKING:
    from wecityctl.model.city import Cloud
    from wecityctl.overview import StackStatus, WorkloadStatus

app = typer.Typer()


@app.command(epilog=EPILOG.format("wecityctl status examples/xingcheng", "wecityctl status examples/xingcheng -o json"))
def status(path: CityPath = HERE, output: OutputOption = Output.TEXT) -> None:
    """Show the city's stacks as the state has them and its workloads as its clouds have them.

    Workloads on simulated nodes say so: their pods run nowhere but in the books. A cloud that cannot be read is named
    with the reason, and counts as an error only when no other cloud answers.
    """
    from wecityctl.clusters import open_clusters
    from wecityctl.engine.backend import open_backend
    from wecityctl.overview import stack_statuses, workload_statuses
    from wecityctl.session import open_session
    from wecityctl.standing import standing

    session = open_session(path, standing)
    stacks = stack_statuses(session.plan, open_backend(session.city))
    clusters = open_clusters(session.city, session.catalogue, lambda event: None, start=False)
    read = workload_statuses(session.city.name, clusters.found)
    workloads, failed = read.found, {**clusters.failed, **read.failed}
    away = {
        cloud.name: str(failed[cloud.name].message) if cloud.name in failed else _absence(cloud)
        for cloud in session.city.clouds
        if cloud.name in failed or cloud.name not in clusters.found
    }
    if output is Output.JSON:
        say_json(
            {
                "city": session.city.name,
                "stacks": [asdict(item) for item in stacks],
                "workloads": [asdict(item) for item in workloads],
                "unreachable": away,
            }
        )
    else:
        _print(stacks, workloads)
        for cloud, reason in away.items():
            note(f"cloud {cloud}: {reason}")
    if failed and len(failed) == len(session.city.clouds):
        raise typer.Exit(max(error.exit_code for error in failed.values()))


def _absence(cloud: Cloud) -> str:
    return "its landing zone has not been made" if cloud.has_landing_zone else "not running"


def _print(stacks: tuple[StackStatus, ...], workloads: tuple[WorkloadStatus, ...]) -> None:
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold")
    for title in ("STACK", "RESOURCES", "LAST UPDATE", "STATE"):
        table.add_column(title, overflow="fold")
    for stack in stacks:
        table.add_row(stack.stack, str(stack.resources or "–"), stack.last_update[:19] or "–", _stack_state(stack))
    console().print(table)
    if not workloads:
        return
    several = len({item.cloud for item in workloads}) > 1
    table = Table(box=None, pad_edge=False, header_style="bold")
    for title in (*(("CLOUD",) if several else ()), "NAMESPACE", "WORKLOAD", "READY", "STATE"):
        table.add_column(title, overflow="fold")
    for item in workloads:
        mark = " (simulated)" if item.simulated else ""
        why = f": {item.reason}" if item.state != "ready" and item.reason else ""
        table.add_row(
            *((item.cloud,) if several else ()),
            item.namespace,
            f"{item.kind} {item.name}",
            f"{item.ready}/{item.wanted}",
            item.state + mark + why,
        )
    console().print()
    console().print(table)


def _stack_state(stack: StackStatus) -> str:
    if not stack.planned:
        return "no longer in the files"
    if not stack.last_update:
        return "not made yet"
    if stack.pending:
        return f"interrupted: {stack.pending} pending operations"
    if stack.errors:
        return f"not ready: {stack.errors[0]}"
    return "ok"
