"""`wecityctl dashboards`: lists a city's dashboards, and writes them as pages."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from wecityctl.cli._arguments import PathBeforeName
from wecityctl.cli._common import EPILOG, HERE, CityPath, Output, OutputOption, console, note, say, say_json
from wecityctl.cli._complete import complete_watched
from wecityctl.cli._options import duration
from wecityctl.model.words import counted

if TYPE_CHECKING:
    from collections.abc import Sequence

    from wecityctl.operations.dashboards import Dashboard

SUMMARY = "Write dashboards of the city, its apps and its capabilities."
ORDER = 66
app = typer.Typer()
_HOUR = 3600.0
_LEAST_SECONDS = 5


@app.command(
    cls=PathBeforeName,
    epilog=EPILOG.format(
        "wecityctl dashboards examples/xingcheng-operations",
        "wecityctl dashboards examples/xingcheng-operations --directory pages --last 6h",
        "wecityctl dashboards examples/xingcheng-operations transport-bureau --directory pages --every 30s",
    ),
)
def dashboards(
    path: CityPath = HERE,
    *,
    name: Annotated[
        str,
        typer.Argument(
            metavar="APP|TENANT|CAPABILITY",
            help="Only the dashboard of this app, as NAME or TENANT/NAME, of this capability, or of this tenant "
            "with those of its apps.",
            show_default=False,
            autocompletion=complete_watched,
        ),
    ] = "",
    directory: Annotated[
        Path | None,
        typer.Option("--directory", "-d", metavar="DIR", help="Write the pages here. Nothing else may be in it."),
    ] = None,
    last: Annotated[
        float | None,
        typer.Option(
            "--last", metavar="DURATION", parser=duration, show_default="1h", help="Show this time: 30m, 6h, 168h."
        ),
    ] = None,
    every: Annotated[
        float | None,
        typer.Option(
            "--every",
            metavar="DURATION",
            parser=duration,
            show_default="once",
            help="Write them anew so often, until Ctrl-C; an open page follows.",
        ),
    ] = None,
    output: OutputOption = Output.TEXT,
) -> None:
    """List the dashboards of a city; with --directory, write each as a page of HTML that needs nothing else.

    There is one for the city, each tenant, each app and each capability. The values come from the capability `metrics`
    on each cloud, which is asked through the cluster's API server, as its administrator. The pages of an app or a
    tenant have series of that tenant alone, so that they can be handed to it. No program runs in a page, and it loads
    nothing.

    Ends with 4 if a cloud that has metrics could not be asked; the pages say so too.
    """
    from wecityctl.errors import ConfigurationError, DeploymentError, ExitCode, NoSuchStackError, TimedOutError
    from wecityctl.operations import dashboards as operation
    from wecityctl.operations.rollouts.planning import open_current

    if directory is None and (last is not None or every is not None):
        raise ConfigurationError("--last and --every are for pages", resolution="add --directory DIR")
    if every is not None and every < _LEAST_SECONDS:
        raise ConfigurationError(f"--every is at least {_LEAST_SECONDS}s, as values are not measured more often")
    session = open_current(path)
    found = operation.dashboards(session, name)
    if directory is None:
        _list(session.city.name, found, operation.unwatched(session), str(path), output)
        return
    while True:
        try:
            written = operation.write_dashboards(session, found, directory, last or _HOUR, refresh=int(every or 0))
        except (DeploymentError, NoSuchStackError, TimedOutError) as error:
            # As while the store is started again. Those that were written stay, and say of which time they are.
            if every is None or not (directory / operation.FIRST).exists():
                raise
            note(f"not written this time: {error.message}")
            time.sleep(every)
            continue
        if output is Output.JSON:
            files = [str(item) for item in written.files]
            say_json({"city": session.city.name, "files": files, "unknown": dict(written.unknown)})
        else:
            say(f"{counted(len(written.files), 'page')} written; open {written.files[0]}")
        for cloud, why in sorted(written.unknown.items()):
            note(f"cloud {cloud}: {why}")
        for problem in written.failed:
            if problem not in written.unknown:
                note(problem)
        if every is None:
            raise typer.Exit(ExitCode.DEPLOYMENT if written.failed else ExitCode.OK)
        time.sleep(every)


def _list(city: str, found: Sequence[Dashboard], unwatched: dict[str, str], path: str, output: Output) -> None:
    from wecityctl.report.tables import new_table, print_table

    if output is Output.JSON:
        listed = [
            {
                "kind": item.kind,
                "name": item.name,
                "title": item.title,
                "clouds": list(item.clouds),
                "panels": [
                    {"title": each.title, "query": each.query, "limit": each.limit, "unit": each.unit}
                    for each in item.panels
                ],
            }
            for item in found
        ]
        say_json({"city": city, "dashboards": listed, "unknown": unwatched})
        return
    table = new_table(("OF", "NAME", "CLOUD", "PANELS"), prose=("PANELS",))
    for item in found:
        table.add_row(item.kind, item.name, ", ".join(item.clouds), ", ".join(each.title for each in item.panels))
    print_table(console(), table)
    for cloud, why in sorted(unwatched.items()):
        note(f"cloud {cloud}: {why}")
    note(f"write them as pages: wecityctl dashboards {path} --directory DIR")
