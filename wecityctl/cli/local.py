"""`wecityctl local`: starts, stops, lists and resets embedded clouds.

Results on stdout, progress on stderr; errors are handled in `cli.main`.
"""

from __future__ import annotations

import sys
from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from wecityctl.cli._approval import ask
from wecityctl.cli._common import EPILOG, Output, OutputOption, note, say, say_json, settings
from wecityctl.errors import ConfigurationError
from wecityctl.model.words import counted

if TYPE_CHECKING:
    from collections.abc import Callable

    from wecityctl.model.events import Diagnostic
    from wecityctl.operations.images import ImageEvent
    from wecityctl.operations.local import CloudEvent, CloudStatus, LocalEvent, RunningCloud

_ALWAYS_TOLD = frozenset({"death", "warning"})
_UNITS = ((86400, "d"), (3600, "h"), (60, "m"), (1, "s"))

SUMMARY = "Start and stop the embedded cloud."
ORDER = 270
app = typer.Typer(
    name="local",
    help="The embedded cloud: a Kubernetes control plane with a real node, or with simulated ones.",
    no_args_is_help=True,
    rich_markup_mode=None,
)


class Nodes(StrEnum):
    """Which kind of nodes a new cloud gets."""

    AUTO = "auto"
    REAL = "real"
    SIMULATED = "simulated"


def _complete_name(incomplete: str) -> list[str]:
    from wecityctl.operations.local import cloud_names

    return [name for name in cloud_names() if name.startswith(incomplete)]


Name = Annotated[
    str,
    typer.Option(
        "--name",
        "-n",
        metavar="NAME",
        help="The cloud; may be left out while there is only one.",
        autocompletion=_complete_name,
        show_default=False,
    ),
]


@app.command(epilog=EPILOG.format("wecityctl local start", "wecityctl local start --name lab --nodes simulated"))
def start(
    name: Name = "",
    nodes: Annotated[
        Nodes, typer.Option("--nodes", help="Kind of nodes of a new cloud; auto: real where this machine can.")
    ] = Nodes.AUTO,
    timeout: Annotated[float, typer.Option("--timeout", min=1, help="Seconds until it must be ready.")] = 120.0,
    output: OutputOption = Output.TEXT,
) -> None:
    """Start an embedded cloud, or make sure that it runs. `up` does this by itself.

    A cloud that exists starts as it was, with its data; a new one gets one pool of three nodes.
    """
    from wecityctl.operations.local import StartOptions, start_cloud

    running = start_cloud(StartOptions(name=name, nodes=nodes.value, timeout=timeout), _start_progress())
    if output is Output.JSON:
        say_json({"cloud": _running_document(running)})
        return
    say(f"cloud {running.name} {'started' if running.changed else 'runs already'}: {running.server}")
    say(f"  Kubernetes {running.kubernetes_version}, {_kind(running.simulated)} nodes")
    say(f"  export KUBECONFIG={running.kubeconfig_path}")


@app.command(epilog=EPILOG.format("wecityctl local stop", "wecityctl local stop --all"))
def stop(
    name: Name = "",
    every: Annotated[bool, typer.Option("--all", help="Stop every cloud of this user.")] = False,
) -> None:
    """Stop an embedded cloud; its data is kept. No process, mount, interface or firewall rule is left."""
    from wecityctl.operations.local import cloud_names, existing_cloud, stop_cloud

    if every and name:
        raise ConfigurationError("--all and --name exclude each other")
    for each in cloud_names() if every else (existing_cloud(name),):
        say(f"cloud {each} {'stopped' if stop_cloud(each, _progress) else 'does not run'}")


@app.command(epilog=EPILOG.format("wecityctl local status", "wecityctl local status --name lab -o json"))
def status(name: Name = "", output: OutputOption = Output.TEXT) -> None:
    """Show embedded clouds: health, processes, versions, ports, and whether their nodes are real or simulated."""
    from wecityctl.operations.local import describe_clouds

    found = describe_clouds(name)
    if output is Output.JSON:
        say_json({"clouds": [_status_document(each) for each in found]})
        return
    if not found:
        say("there is no embedded cloud yet: wecityctl local start")
    for each in found:
        _show(each)


@app.command(epilog=EPILOG.format("wecityctl local kubeconfig > lab.kubeconfig", "wecityctl local kubeconfig --merge"))
def kubeconfig(
    name: Name = "",
    merge: Annotated[
        bool, typer.Option("--merge", help="Add the cloud's context to your own kubeconfig instead of printing it.")
    ] = False,
    file: Annotated[
        Path | None,
        typer.Option("--file", metavar="FILE", help="Write (or with --merge, merge) here.", show_default=False),
    ] = None,
) -> None:
    """Print the admin's kubeconfig of an embedded cloud. It is a secret: files are written 0600."""
    from wecityctl.operations.local import kubeconfig_of, merge_kubeconfig
    from wecityctl.paths import write_private

    text = kubeconfig_of(name)
    if merge:
        target, context = merge_kubeconfig(text, file)
        note(f"{target} has the context {context}: kubectl --context {context} get nodes")
    elif file is not None:
        write_private(file.absolute(), text.encode())
        note(f"written to {file}")
    else:
        say(text.rstrip())


@app.command(epilog=EPILOG.format("wecityctl local reset --name lab --confirm lab"))
def reset(
    name: Name = "",
    confirm: Annotated[
        str, typer.Option("--confirm", metavar="NAME", help="The cloud's name, typed out.", show_default=False)
    ] = "",
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
) -> None:
    """Stop an embedded cloud and delete all it has kept: objects, volumes, certificates, logs."""
    from wecityctl.operations.local import existing_cloud, reset_cloud

    chosen = existing_cloud(name, damaged=True)
    _confirm(chosen, confirm, yes=yes)
    done = reset_cloud(chosen, _progress)
    if done.context_removed_from is not None:
        note(f"its context is taken out of {done.context_removed_from}")
    if done.problem:
        note(f"warning: {done.problem}")
    say(f"cloud {chosen} is gone")


def _confirm(name: str, confirm: str, *, yes: bool) -> None:
    if confirm and confirm != name:
        raise ConfigurationError(f"--confirm names {confirm!r}, but the cloud is {name!r}")
    if confirm or yes:
        return
    if not sys.stdin.isatty():
        raise ConfigurationError(
            f"this deletes all that cloud {name} has kept", resolution=f"add --confirm={name}, or --yes"
        )
    ask(f"Delete cloud {name} with all its data?")


def _start_progress() -> Callable[[CloudEvent | ImageEvent], None]:
    """Return what shows the events of a start: of the cloud, and of the programs and images that it needs."""
    from wecityctl.cli.engine import ProgressLines
    from wecityctl.operations.images import ImageEvent
    from wecityctl.toolchain import PartEvent

    parts = ProgressLines()

    def tell(event: CloudEvent | ImageEvent) -> None:
        if isinstance(event, PartEvent):
            parts(event)
        elif not isinstance(event, ImageEvent):
            _progress(event)
        elif settings().verbosity > 0:
            note(str(event))

    return tell


def _progress(event: LocalEvent | Diagnostic) -> None:
    from wecityctl.model.events import Diagnostic

    if isinstance(event, Diagnostic):
        note(event.message)
        return
    if settings().verbosity < 0 and event.kind not in _ALWAYS_TOLD:
        return
    note(f"{event.seconds:6.1f}s  {event.message}")
    for line in event.lines:
        note(f"           {line}")


def _show(status: CloudStatus) -> None:
    say(f"cloud {status.name}: {status.health}, {_kind(status.nodes == 'simulated')} nodes")
    if status.message:
        say(f"  {status.message}")
    times = f"made {_duration(status.age)} ago" + (f", up for {_duration(status.uptime)}" if status.uptime else "")
    say(f"  {times}, {status.server or 'never started'}")
    say("  " + ", ".join(f"{name} {version}" for name, version in sorted(status.versions.items())))
    for pool in status.pools if status.nodes == "simulated" else ():
        extra = "".join(f", {count} {name}" for name, count in pool.accelerators.items())
        say(f"  pool {pool.name}: {pool.nodes} x {pool.architecture}, {pool.cpu} CPUs, {pool.memory}{extra}")
    for each in status.services:
        restarts = f", {counted(each.restarts, 'restart')}" if each.restarts else ""
        reason = f", {each.reason}" if each.reason else ""
        say(f"  {each.name:<26} {each.state:<9} pid {each.pid or '-'}{restarts}{reason}")
        for death in each.deaths[-1:]:
            say(f"    last death {_duration(max(0.0, _now() - death.at))} ago: {death.how}")
            for line in death.lines[-5:]:
                say(f"      {line}")
    say(f"  {status.directory}")


def _now() -> float:
    import time

    return time.time()


def _kind(simulated: bool) -> str:
    return "simulated" if simulated else "real"


def _duration(seconds: float) -> str:
    """Return a duration in at most two units, such as `2d 4h` or `3m 5s`."""
    rest, words = int(seconds), []
    for size, unit in _UNITS:
        count, rest = divmod(rest, size)
        if count:
            words.append(f"{count}{unit}")
    return " ".join(words[:2]) or "0s"


def _status_document(status: CloudStatus) -> dict[str, Any]:
    document = asdict(status)
    return {**document, "directory": str(status.directory), "simulated": status.nodes == "simulated"}


def _running_document(running: RunningCloud) -> dict[str, Any]:
    # The kubeconfig's text is a secret; its path is not.
    document = {key: value for key, value in asdict(running).items() if key != "kubeconfig"}
    return {**document, "kubeconfig_path": str(running.kubeconfig_path)}
