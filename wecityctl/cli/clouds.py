"""`wecityctl clouds`: shows the capacity and use of a city's clouds as one logical platform."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from wecityctl.cli._common import EPILOG, HERE, CityPath, Output, OutputOption, console, say_json
from wecityctl.errors import ConfigurationError

if TYPE_CHECKING:
    from wecityctl.model.city import City

SUMMARY = "Show what a city's clouds have, and what is left of it."
ORDER = 70
app = typer.Typer()


@app.command(
    epilog=EPILOG.format(
        "wecityctl clouds examples/sixty-thousand",
        "wecityctl clouds examples/xingcheng --cloud main -o json",
    )
)
def clouds(
    path: CityPath = HERE,
    output: OutputOption = Output.TEXT,
    cloud: Annotated[
        list[str] | None, typer.Option("--cloud", metavar="NAME", help="Only this cloud. May be repeated.")
    ] = None,
) -> None:
    """Show what the city's clouds have, what is asked of them, what is left, and what that costs an hour.

    By cloud, zone, pool and architecture. Allocated is what the pods on the nodes request now, as the clusters say; a
    cloud that cannot be read shows what the files declare, says so and says why, and counts as an error only when no
    other cloud answers.
    """
    from dataclasses import replace

    from stacks.catalogue import load_catalogue
    from wecityctl.capacity import read_capacity
    from wecityctl.clusters import open_clusters
    from wecityctl.report import clouds as report
    from wecityctl.report.tables import print_table
    from wecityctl.spec import load_city

    catalogue = load_catalogue()
    # Not a session: what is placed where need not be possible for the clouds to be looked at.
    city = load_city(path, catalogue).city
    chosen = _chosen(city, cloud or [])
    city = replace(city, clouds=tuple(item for item in city.clouds if item.name in chosen))
    clusters = open_clusters(city, catalogue, lambda event: None, start=False)
    figures, errors = read_capacity(city, clusters.found, clusters.failed, written=_last_change(path))
    if output is Output.JSON:
        say_json(report.as_json(figures))
    else:
        print_table(console(), report.table_of(figures))
        console().print()
        for line in report.lines_of(figures):
            console().print(line, markup=False, soft_wrap=True)
    if errors and len(errors) == len(figures.clouds):
        raise typer.Exit(max(error.exit_code for error in errors.values()))


def _chosen(city: City, names: list[str]) -> set[str]:
    known = [item.name for item in city.clouds]
    for name in names:
        if name not in known:
            raise ConfigurationError(
                f"the city has no cloud {name!r}", details=f"clouds: {', '.join(known)}", resolution="name one of them"
            )
    return set(names or known)


def _last_change(path: Path) -> float:
    """Return when the city's files were last changed, in seconds since 1970."""
    files = [path] if path.is_file() else [*path.glob("*.yaml"), *path.glob("*.yml")]
    return max((file.stat().st_mtime for file in files), default=0.0)
