"""`wecityctl usage`: shows what tenants, apps and capabilities have used."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from wecityctl.cli._common import EPILOG, HERE, CityPath, console, note, say, say_json
from wecityctl.cli._complete import complete_tenant

SUMMARY = "Show what was used, by tenant, app or capability."
ORDER = 72
app = typer.Typer()


class UsageOutput(StrEnum):
    """How usage is written."""

    TABLE = "table"
    CSV = "csv"
    JSON = "json"


class By(StrEnum):
    """What the sums are of."""

    TENANT = "tenant"
    APP = "app"
    CAPABILITY = "capability"


@app.command(
    epilog=EPILOG.format(
        "wecityctl usage examples/xingcheng-operations",
        "wecityctl usage examples/xingcheng-operations --from 2026-11-01 --to 2026-12-01 -o csv",
        "wecityctl usage examples/xingcheng-operations --by app --tenant transport-bureau",
    )
)
def usage(
    path: CityPath = HERE,
    *,
    begin: Annotated[
        str,
        typer.Option(
            "--from",
            metavar="DATE|TIME",
            show_default="the first of the month",
            help="From this day on, in UTC, or from a time such as 2026-11-01T00:00:00+08:00.",
        ),
    ] = "",
    end: Annotated[
        str,
        typer.Option("--to", metavar="DATE|TIME", show_default="now", help="Until this day begins, or until a time."),
    ] = "",
    by: Annotated[By, typer.Option("--by", help="What the sums are of.")] = By.TENANT,
    tenant: Annotated[
        str,
        typer.Option(
            "--tenant",
            metavar="TENANT",
            show_default=False,
            help="Only this tenant, which may have left the city.",
            autocompletion=complete_tenant,
        ),
    ] = "",
    output: Annotated[UsageOutput, typer.Option("--output", "-o", help="How to write the result.")] = UsageOutput.TABLE,
) -> None:
    """Show what was used in a period, and what it costs at the prices of the clouds.

    Counted are hours: of CPU cores and GiB that running pods request and may use at the most, of GiB of volumes, and
    of pods; and what capabilities count. The capability `metrics` of each cloud takes a sample a minute. What has no
    sample is not counted, and said. The store is asked through the cluster's API server, as its administrator: a
    tenant's deployer is refused.

    Ends with 6 when no cloud has the capability, with 4 when the store of one could not be asked.
    """
    from wecityctl.errors import ExitCode
    from wecityctl.operations import usage as operation
    from wecityctl.operations.rollouts.planning import open_current
    from wecityctl.report import usage as report
    from wecityctl.report.tables import print_table

    options = operation.UsageOptions(begin, end, by.value, tenant)
    found = operation.usage(open_current(path), options, note)
    match output:
        case UsageOutput.JSON:
            say_json(report.as_json(found))
        case UsageOutput.CSV:
            for line in report.csv_of(found).splitlines():
                say(line)
            for line in report.lines_of(found):
                note(line)
        case UsageOutput.TABLE:
            print_table(console(), report.table_of(found))
            say()
            for line in report.lines_of(found):
                say(line)
    raise typer.Exit(ExitCode.DEPLOYMENT if found.failed else ExitCode.OK)
