"""`wecityctl doctor`: checks this machine and shows a remedy for each finding."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from wecityctl.cli._common import EPILOG, Output, OutputOption, complete_city_path, console, say_json
from wecityctl.cli._environment import CITY_METAVAR
from wecityctl.errors import ExitCode

if TYPE_CHECKING:
    from wecityctl.operations.doctor import Finding

SUMMARY = "Check this machine and say how to mend what is missing."
ORDER = 230
app = typer.Typer()


@app.command(
    epilog=EPILOG.format("wecityctl doctor", "wecityctl doctor examples/four-clouds", "wecityctl doctor -o json")
)
def doctor(
    path: Annotated[
        Path | None,
        typer.Argument(
            metavar=CITY_METAVAR,
            help="A city's files: also look at what its landing zones need here, and ask their vendors.",
            autocompletion=complete_city_path,
            show_default=False,
        ),
    ] = None,
    output: OutputOption = Output.TEXT,
) -> None:
    """Check this machine: directories, engine parts, the Kubernetes provider, what a real node needs.

    With a city, the vendors of its landing zones are asked whether they have the availability zones, machine types and
    versions of the files, where there are credentials. Exits with 1 when something that every command needs is missing.
    What only a real node needs is a warning: without it nodes are simulated.
    """
    from wecityctl.operations import doctor as operation
    from wecityctl.session import open_session

    findings = operation.doctor(open_session(path, lenient=True).city if path is not None else None)
    if output is Output.JSON:
        say_json({"findings": [asdict(item) for item in findings]})
    else:
        _print(findings)
    if any(item.level == "error" for item in findings):
        raise typer.Exit(ExitCode.ERROR)


def _print(findings: Iterable[Finding]) -> None:
    from rich.text import Text

    marks = {"ok": ("✓", "green"), "warning": ("!", "yellow"), "error": ("✗", "red")}
    for item in findings:
        mark, colour = marks[item.level]
        console().print(Text(f"{mark} {item.name}: {item.detail}", style=colour), soft_wrap=True)
        if item.remedy and item.level != "ok":
            console().print(Text(f"    → {item.remedy}"), soft_wrap=True)
