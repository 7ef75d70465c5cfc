"""`wecityctl status`: shows the status of a city."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from wecityctl.cli._common import EPILOG, HERE, CityPath, Output, OutputOption, console, note, say, say_json
from wecityctl.model.times import in_utc

if TYPE_CHECKING:
    from wecityctl.operations.alerts import Alerts
    from wecityctl.operations.probes import ProbeStatus
    from wecityctl.operations.status.values import AppAddress, BalancerStatus, StackStatus, WorkloadStatus

# A stack that failed at its beginning lacks everything.
_MOST_UNMADE = 20
SUMMARY = "Show how a city is."
ORDER = 60
app = typer.Typer()


@app.command(
    epilog=EPILOG.format("wecityctl status examples/xingcheng", "wecityctl status examples/xingcheng --probe -o json")
)
def status(
    path: CityPath = HERE,
    *,
    probe: Annotated[
        bool, typer.Option("--probe", help="Run the capabilities' end-to-end probes now, in a Job beside each.")
    ] = False,
    output: OutputOption = Output.TEXT,
) -> None:
    """Show how the city's stacks are, what its clouds have otherwise than the last run left it, and its workloads.

    Each capability that is up is shown with the result of its end-to-end probe, a write and a read for example: that of
    the last `up`, or with --probe that of one that runs now.

    Workloads on simulated nodes say so: their pods run nowhere but in the books. Ends with 0 when everything is as the
    last run left it, with 6 when nothing was made yet or all was taken down, and with 4 when something failed, was
    interrupted, is missing, was changed, was declared by nobody, is not ready, did not pass its probe, does not
    do what the files ask of it, has an alert or cannot be looked at. Where no cloud
    answers, it ends with the code of that error.
    """
    from wecityctl.operations import status as operation
    from wecityctl.operations.alerts import unknown_texts
    from wecityctl.operations.rollouts.planning import open_current

    session = open_current(path)
    found = operation.status(session, lambda event: None, probe=probe)
    stacks, away = found.stacks, found.away
    if output is Output.JSON:
        say_json(
            {
                "city": session.city.name,
                "stacks": [_stack_json(item) for item in stacks],
                "workloads": [asdict(item) for item in found.workloads],
                "probes": [asdict(item) for item in found.probes],
                "addresses": [asdict(item) for item in found.addresses],
                "balancers": [asdict(item) for item in found.balancers],
                "stopped": sorted(away.stopped),
                "unreachable": {**away.stopped, **away.unreachable},
                "forbidden": dict(away.forbidden),
                "notes": list(found.notes),
                "alerts": [asdict(item) for item in found.alerts.firing],
                "alerts_unknown": dict(found.alerts.unknown),
                # Only where there is one, as most cities have none.
                **({"rollouts": [asdict(item) for item in found.rollouts]} if found.rollouts else {}),
                **({"servers": [asdict(item) for item in found.told]} if found.told else {}),
                **({"state_copies": found.copies.as_json()} if found.copies is not None else {}),
            }
        )
    else:
        _print(stacks, found.workloads)
        _print_probes(found.probes)
        _print_alerts(found.alerts)
        for told in found.told:
            say(f"capability {told.capability} on cloud {told.cloud}: {'; '.join(told.facts) or told.state}")
            for problem in told.problems:
                note(f"capability {told.capability}: {problem}")
        _print_addresses(found.addresses)
        _print_balancers(found.balancers)
        for rollout in found.rollouts:
            say(str(rollout))
        if found.copies is not None:
            note(str(found.copies))
        _print_kept(stacks, session.city.name)
        for reason in away.stopped.values():
            note(reason)
        for cloud, reason in {**away.unreachable, **away.forbidden}.items():
            note(f"cloud {cloud}: {reason}")
        for text in (*found.notes, *unknown_texts(found.alerts)):
            note(text)
    raise typer.Exit(found.exit_code)


def _stack_json(stack: StackStatus) -> dict[str, Any]:
    return {**asdict(stack), "drift": [{**asdict(item), "text": str(item)} for item in stack.drift]}


def _print(stacks: tuple[StackStatus, ...], workloads: tuple[WorkloadStatus, ...]) -> None:
    from wecityctl.report.tables import new_table, print_table

    table = new_table(("STACK", "RESOURCES", "LAST UPDATE", "STATE"), prose=("STATE",))
    for stack in stacks:
        table.add_row(stack.stack, str(stack.resources or "–"), in_utc(stack.last_update) or "–", _stack_state(stack))
    print_table(console(), table)
    for stack in stacks:
        unmade = [finding for finding in stack.drift if finding.unmade]
        for finding in (*(item for item in stack.drift if not item.unmade), *unmade[:_MOST_UNMADE]):
            console().print(f"{stack.stack}: {finding}", soft_wrap=True, markup=False, highlight=False)
        if len(unmade) > _MOST_UNMADE:
            note(f"{stack.stack}: {len(unmade) - _MOST_UNMADE} more were not made; -o json has them all")
    if not workloads:
        return
    several = len({item.cloud for item in workloads}) > 1
    titles = (*(("CLOUD",) if several else ()), "NAMESPACE", "WORKLOAD", "READY", "STATE")
    table = new_table(titles, prose=("STATE",))
    for item in workloads:
        mark = " (simulated)" if item.simulated else ""
        why = f": {item.reason}" if item.state != "ready" and item.reason else ""
        table.add_row(
            *((item.cloud,) if several else ()),
            item.namespace,
            f"{item.kind} {item.name}",
            "–" if item.schedule else f"{item.ready}/{item.wanted}",
            (item.schedule or item.state) + mark + why,
        )
    console().print()
    print_table(console(), table)


def _print_probes(probes: tuple[ProbeStatus, ...]) -> None:
    from wecityctl.report.tables import new_table, print_table

    if not probes:
        return
    several = len({item.cloud for item in probes}) > 1
    titles = (*(("CLOUD",) if several else ()), "CAPABILITY", "PROBE", "ENDED", "MESSAGE")
    table = new_table(titles, prose=("MESSAGE",))
    for item in probes:
        by = f" (by {item.run_by})" if item.at else ""
        table.add_row(
            *((item.cloud,) if several else ()),
            item.capability,
            item.result.replace("-", " "),
            (in_utc(item.at) or "–") + by,
            item.message,
        )
    console().print()
    print_table(console(), table)


def _print_alerts(alerts: Alerts) -> None:
    from wecityctl.cli.alerts import print_alerts

    if alerts.firing:
        console().print()
        print_alerts(alerts.firing)


def _print_addresses(addresses: tuple[AppAddress, ...]) -> None:
    from wecityctl.report.tables import new_table, print_table

    if not addresses:
        return
    several = len({item.cloud for item in addresses}) > 1
    table = new_table((*(("CLOUD",) if several else ()), "APP", "ADDRESS OF", "ADDRESS"))
    for item in addresses:
        what = {
            "route": "its route",
            "provides": f"{item.name}, for {item.of}",
            "uses": f"{item.of}, which it uses" + (f" as {item.name}" if item.name != item.of else ""),
        }[item.way]
        address = item.address if item.served else f"{item.address} (not served yet)"
        table.add_row(*((item.cloud,) if several else ()), item.app, what, address)
    console().print()
    print_table(console(), table)


def _print_balancers(balancers: tuple[BalancerStatus, ...]) -> None:
    from wecityctl.report.tables import new_table, print_table

    if not balancers:
        return
    table = new_table(("ENTRY POINT OF", "CLOUD", "LOAD BALANCER", "ADDRESS"))
    for item in balancers:
        where = "on the internet" if item.public else "internal"
        table.add_row(item.zone, item.cloud, item.balancer, f"{item.address or 'none yet'} ({where})")
    console().print()
    print_table(console(), table)


def _print_kept(stacks: tuple[StackStatus, ...], city: str) -> None:
    from wecityctl.report.words import kind_of

    kept = [(stack.stack, item) for stack in stacks for item in stack.kept]
    for name, item in kept:
        told = f"{name}: kept: {kind_of(item.type)} {item.name}: {item.why}"
        console().print(told, soft_wrap=True, markup=False, highlight=False)
    if kept:
        note(f"`wecityctl up` goes on with what is kept; `wecityctl destroy --confirm={city} --delete-data` deletes it")


def _stack_state(stack: StackStatus) -> str:
    words = stack.state.replace("-", " ")
    # Why a cloud cannot be looked at is said once, below.
    is_said = stack.state in ("ok", "cloud-stopped", "cloud-unreachable", "cloud-forbidden", "not-in-files")
    return words if is_said else f"{words}: {stack.reason}" if stack.reason else words
