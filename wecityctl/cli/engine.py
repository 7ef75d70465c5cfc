"""`wecityctl engine`: installs the engine's parts, lists them, and bundles them for networks without internet access.

A thin layer over `wecityctl.toolchain`: results on stdout, progress on stderr; errors are handled in `cli.main`.
"""

from __future__ import annotations

import dataclasses
import json
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from wecityctl import toolchain
from wecityctl.cli._common import EPILOG, console, note
from wecityctl.toolchain import PartEvent, PartState, PartStatus, Phase, Settings

FORMAT_VERSION = "1.0"
QUIET_SECONDS = 10.0
REPEATING = frozenset({Phase.BUILDING, Phase.DOWNLOADING, Phase.WAITING})

SUMMARY = "Install and show the programs that wecityctl runs."
ORDER = 240
app = typer.Typer(
    name="engine",
    help="The programs wecityctl runs: the Pulumi engine and the embedded cloud's.",
    no_args_is_help=True,
    pretty_exceptions_show_locals=False,
)


class Output(StrEnum):
    """How results are written."""

    TEXT = "text"
    JSON = "json"


PartOption = Annotated[list[str] | None, typer.Option("--part", help="Only this part; may be given several times.")]
OutputOption = Annotated[Output, typer.Option("--output", "-o", help="How to write the result.")]


class ProgressLines:
    """Writes progress as lines on stderr; what repeats within a phase is written every ten seconds only."""

    def __init__(self) -> None:
        self._last: dict[str, tuple[Phase, float]] = {}

    def __call__(self, event: PartEvent) -> None:
        phase, when = self._last.get(event.part, (None, 0.0))
        if event.phase in REPEATING and phase is event.phase and event.elapsed - when < QUIET_SECONDS:
            return
        self._last[event.part] = (event.phase, event.elapsed)
        note(f"{event.elapsed:6.1f}s  {event.part:<18} {event.phase:<11} {event.detail}".rstrip())


@app.command(epilog=EPILOG.format("wecityctl engine install", "wecityctl engine install --bundle parts.tar.gz"))
def install(
    bundle: Annotated[
        Path | None, typer.Option("--bundle", help="Air-gap bundle: a directory or .tar.gz (WECITYCTL_BUNDLE).")
    ] = None,
    part: PartOption = None,
    offline: Annotated[
        bool, typer.Option("--offline", help="Ask no network: cache, bundle, PATH and Go's module cache only.")
    ] = False,
    output: OutputOption = Output.TEXT,
) -> None:
    """Make the parts available: from the cache, a bundle, PATH, the vendor's download, or built from Go modules."""
    settings = Settings.from_environment()
    if bundle is not None:
        settings = dataclasses.replace(settings, bundle=bundle)
    if offline:
        settings = dataclasses.replace(settings, offline=True)
    names = tuple(part) if part else toolchain.default_parts(settings)
    toolchain.check_bundle(settings)
    toolchain.ensure(names, ProgressLines(), settings, hashed=True)
    if not part:
        _official_plugin(settings)
    _show([each for each in toolchain.status(settings, hashed=False) if each.part in names], output)


@app.command(epilog=EPILOG.format("wecityctl engine status", "wecityctl engine status -o json"))
def status(
    output: OutputOption = Output.TEXT,
    quick: Annotated[bool, typer.Option("--quick", help="Compare sizes only, not digests.")] = False,
) -> None:
    """Show every part: its version, where it was taken from, and whether it is whole.

    STATE is ok, missing, corrupt, or "not needed" for an optional part that is not installed. SOURCE says where it was
    taken from: a bundle, a download, a build here, or the distribution (system). PLACE is its directory or program;
    for a missing part, how to install it.
    """
    _show(toolchain.status(hashed=not quick), output)


@app.command(epilog=EPILOG.format("wecityctl engine bundle parts.tar.gz"))
def bundle(
    destination: Annotated[Path, typer.Argument(help="A directory, or a file ending in .tar.gz, that does not exist.")],
    part: PartOption = None,
) -> None:
    """Write the installed parts to a bundle for machines without a network."""
    settings = Settings.from_environment()
    names = toolchain.write_bundle(destination, tuple(part) if part else None, settings)
    typer.echo(f"{destination}: {', '.join(names)}")


def _official_plugin(settings: Settings) -> None:
    plugin, reasons = toolchain.obtain_official_kubernetes_plugin(settings=settings)
    if plugin is not None:
        note(f"official Kubernetes plug-in {plugin.version}: {plugin.path}")
    else:
        note("official Kubernetes plug-in: not to be had, the built-in provider is used")
        note(reasons)


def _show(found: list[PartStatus], output: Output) -> None:
    if output is Output.JSON:
        typer.echo(
            json.dumps({"format_version": FORMAT_VERSION, "parts": [_as_json(each) for each in found]}, indent=2)
        )
        return
    from wecityctl.report.tables import new_table, print_table

    table = new_table(("PART", "VERSION", "STATE", "SOURCE", "PLACE"), prose=("PLACE",))
    for each in found:
        state = "not needed" if each.is_unneeded else str(each.state)
        place = str(each.path) if each.path else each.detail
        problem = f"  {each.detail}" if each.path and each.state is not PartState.OK else ""
        table.add_row(each.part, each.version_text, state, each.source or "–", f"{place}{problem}" or "–")
    print_table(console(), table)


def _as_json(each: PartStatus) -> dict[str, object]:
    return {
        "part": each.part,
        "version": each.version,
        "state": each.state,
        "source": each.source,
        "path": str(each.path) if each.path else None,
        "optional": each.optional,
        "detail": each.detail,
    }
