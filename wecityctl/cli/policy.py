"""`wecityctl policy`: checks a city against the policy rules, lists the rules, and explains them."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from wecityctl.cli import _options as o
from wecityctl.cli._common import EPILOG, HERE, CityPath, Output, OutputOption, console, json_text, note, say, say_json


class ReportFormat(StrEnum):
    """How the evidence is written."""

    MARKDOWN = "md"
    JSON = "json"
    HTML = "html"


SUMMARY = "Check a city against the policy rules, and say why each is there."
ORDER = 140
app = typer.Typer(
    name="policy",
    help="The policy rules: check a city against them, and say why each is there.",
    no_args_is_help=True,
    pretty_exceptions_show_locals=False,
)


def complete_rule(incomplete: str) -> list[str]:
    """Names of rules that continue `incomplete`."""
    from wecityctl.policy.rules import RULES

    return [rule.name for rule in RULES if rule.name.startswith(incomplete)]


@app.command(
    epilog=EPILOG.format("wecityctl policy check examples/xingcheng", "wecityctl policy check city.yaml -o json")
)
def check(path: CityPath = HERE, output: OutputOption = Output.TEXT) -> None:
    """Check a city's files, and what its stacks would register, against every policy rule. No cloud is asked.

    Exits with 5 when a mandatory rule is broken and not waived; advisory findings are shown and exit with 0. A city
    that cannot be placed is judged by its files alone, and exits with 2 when those break no mandatory rule.
    """
    from wecityctl.operations.policy import check_city
    from wecityctl.report.policy import policy_report_json, print_policy_report

    found = check_city(path)
    if found.unseen is not None:
        note(f"{found.unseen.message}; {found.unseen.details}\n{found.unseen.resolution}")
    if found.unplaced is not None:
        note(f"{found.unplaced.message}; only its files were judged\n{found.unplaced.details}")
    if output is Output.JSON:
        unplaced = found.unplaced.message if found.unplaced is not None else ""
        say_json({**policy_report_json(found.report, found.positions), "unplaced": unplaced})
    else:
        print_policy_report(console(), found.report, found.positions, evidence=True)
    raise typer.Exit(found.report.exit_code)


@app.command("list", epilog=EPILOG.format("wecityctl policy list", "wecityctl policy list -o json"))
def list_rules(output: OutputOption = Output.TEXT) -> None:
    """List the rules.

    RULE is the name that waivers and `policy explain` use. WEIGHT says what a violation does: veto stops a run and
    cannot be waived, mandatory stops a run unless it is waived, advisory is only reported; "from MLPS 3" limits a rule
    to tenants of that level and above.
    """
    from wecityctl.policy.rules import RULES
    from wecityctl.report.policy import rule_json, rule_table
    from wecityctl.report.tables import print_table

    if output is Output.JSON:
        say_json({"rules": [rule_json(rule) for rule in RULES]})
        return
    print_table(console(), rule_table(RULES))


@app.command(
    epilog=EPILOG.format("wecityctl policy explain data-class", "wecityctl policy explain default-deny -o json")
)
def explain(
    name: Annotated[
        str, typer.Argument(metavar="RULE", help="The rule's name.", autocompletion=complete_rule, show_default=False)
    ],
    output: OutputOption = Output.TEXT,
) -> None:
    """Say why a rule is there, how much it weighs, and which controls of GB/T 22239 it is evidence for."""
    from wecityctl.policy.rules import RULES
    from wecityctl.policy.unseen import RECORDED
    from wecityctl.report.policy import rule_json, rule_text

    found = next((rule for rule in (*RULES, RECORDED) if rule.name == name), None)
    if found is None:
        raise _no_rule(name, [rule.name for rule in RULES])
    if output is Output.JSON:
        say_json({"rule": rule_json(found)})
        return
    for line in rule_text(found):
        say(line)


@app.command(
    epilog=EPILOG.format(
        "wecityctl policy report examples/xingcheng",
        "wecityctl policy report examples/xingcheng --try -o html --file evidence.html",
        "wecityctl policy report examples/xingcheng --offline -o json",
    )
)
def report(
    path: CityPath = HERE,
    written: Annotated[
        ReportFormat, typer.Option("--output", "-o", "--format", help="How to write it.")
    ] = ReportFormat.MARKDOWN,
    file: Annotated[
        Path | None, typer.Option("--file", metavar="FILE", help="Write it here instead of to stdout.")
    ] = None,
    offline: Annotated[bool, typer.Option("--offline", help="Look at no cloud; the report says so.")] = False,
    trying: Annotated[
        bool, typer.Option("--try", help="Try by dry run, too, whether the clouds refuse what crosses a line.")
    ] = False,
) -> None:
    """Write down, control by control, what enforces the policy rules and what of it the clouds have now.

    It is evidence for an assessor, not a certificate. What was not looked at is told as that, never as good.
    """
    from wecityctl.operations.policy import ReportOptions, collect_evidence
    from wecityctl.report import evidence
    from wecityctl.session import open_session

    session = open_session(path)
    compliance_report = collect_evidence(session, ReportOptions(offline=offline, trying=trying), lambda event: None)
    match written:
        case ReportFormat.JSON:
            text = json_text(evidence.as_json(compliance_report))
        case ReportFormat.HTML:
            text = evidence.html(compliance_report)
        case ReportFormat.MARKDOWN:
            text = evidence.markdown(compliance_report)
    if file is None:
        say(text.rstrip("\n"))
        return
    file.write_text(text, encoding="utf-8")
    note(f"written to {file}")


def _no_rule(name: str, names: list[str]) -> Exception:
    from wecityctl.errors import ConfigurationError
    from wecityctl.guesses import nearest

    near = nearest(name, names)
    return ConfigurationError(
        f"there is no rule {name!r}",
        details="there are: " + ", ".join(names),
        resolution=f"did you mean {near!r}?" if near else "`wecityctl policy list` shows them",
    )


@app.command(
    epilog=EPILOG.format(
        "wecityctl policy refresh examples/xingcheng --yes",
        "wecityctl policy refresh examples/xingcheng --yes --timeout 10m -o json",
    )
)
def refresh(
    path: CityPath = HERE,
    yes: o.Yes = False,
    timeout: o.Timeout = None,
    output: o.Stream = o.StreamFormat.TEXT,
    report_file: o.ReportFile = None,
) -> None:
    """Bring what holds the policy rules in the clouds to what the files say today, and nothing else.

    Waivers end with a day, and clusters have no calendar: until the next run they let pass what an ended waiver
    covers. This runs the base stacks alone, also where `up` is stopped because the finding is back, so that a nightly
    job can run it. On a terminal the changes are shown first and you are asked. Elsewhere --yes is required.
    """
    from wecityctl.cli._approval import ask, require_can_ask
    from wecityctl.cli._run import Presentation, carry_out, exit_code
    from wecityctl.operations.current_placement import current_placement
    from wecityctl.operations.options import PreviewOptions, Timeouts, UpOptions
    from wecityctl.operations.policy import base_stacks
    from wecityctl.operations.preview import preview
    from wecityctl.operations.up import up
    from wecityctl.session import open_session

    session = open_session(path, current_placement)
    bases, timeouts = base_stacks(session), Timeouts(run=timeout or 0.0)
    if not yes:
        require_can_ask(f"refreshing the policy rules of {session.city.name}", output)
        first = PreviewOptions(only=bases, timeouts=timeouts, check_policies=False)
        shown = carry_out(lambda emit: preview(session, first, emit), Presentation(details=True))
        if shown.exit_code or not (shown.has_changes or shown.refused):
            raise typer.Exit(shown.exit_code)
        if shown.has_changes:
            ask("Make these changes?")
    options = UpOptions(only=bases, timeouts=timeouts, check_policies=False, start_clouds=False)
    presentation = Presentation(output, report_file)
    raise typer.Exit(exit_code(carry_out(lambda emit: up(session, options, emit), presentation)))
