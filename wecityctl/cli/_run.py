"""Shared by `preview`, `up`, `destroy` and `refresh`: chooses a reporter, shows the result, returns its exit code.

`wecityctl.operations` implements the operations.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from wecityctl.cli._common import Output
from wecityctl.cli._options import StreamFormat
from wecityctl.cli._streams import drop_unread_output
from wecityctl.errors import ConfigurationError
from wecityctl.model.events import Emit, RunResult
from wecityctl.session import Session


@dataclass(frozen=True, slots=True)
class Presentation:
    """How an operation is shown: its events, its result on stdout, and its report file."""

    output: StreamFormat = StreamFormat.TEXT
    report_file: Path | None = None
    details: bool = False
    offline: bool = False


def carry_out(operation: Callable[[Emit], RunResult], shown: Presentation) -> RunResult:
    """Run an operation and show its result. Errors that stop it before it begins are raised."""
    if shown.report_file is not None:
        _check_report_file(shown.report_file)
    with open_reporter(shown.output) as emit:
        result = operation(emit)
    if shown.report_file is not None:
        _write_report(shown.report_file, result)
    if shown.output is StreamFormat.TEXT:
        with suppress(BrokenPipeError):
            _print(result, shown)
    # The exit code must report the run, even if nobody reads the output.
    drop_unread_output()
    return result


def _print(result: RunResult, shown: Presentation) -> None:
    from wecityctl.cli._common import console

    if shown.offline:
        from wecityctl.report.offline import print_offline

        print_offline(console(), result)
    else:
        from wecityctl.report.summary import print_result

        print_result(console(), result, details=shown.details)


def _write_report(path: Path, result: RunResult) -> None:
    from wecityctl.report.record import run_json

    text = json.dumps(run_json(result), indent=2, ensure_ascii=False, default=str) + "\n"
    path.write_text(text, encoding="utf-8", errors="backslashreplace")


def _check_report_file(path: Path) -> None:
    """Raise `ConfigurationError` if the report file cannot be written, before the operation starts."""
    directory = path.parent
    if path.is_dir() or not directory.is_dir() or not os.access(path if path.exists() else directory, os.W_OK):
        raise ConfigurationError(
            f"--report-file: {path} cannot be written",
            resolution="name a file in a directory that exists and is yours to write",
        )


def exit_code(result: RunResult, *, detailed: bool = False) -> int:
    """Return the run's exit code; if `detailed`, Terraform's: 0 no change, 1 any error, 2 changes."""
    if not detailed:
        return result.exit_code
    if result.exit_code:
        return 1
    return 2 if result.has_changes or result.refused or result.undeclared else 0


def check_confirmation(session: Session, confirm: str) -> None:
    """Raise `ConfigurationError` if `--confirm` names another city."""
    if confirm and confirm != session.city.name:
        raise ConfigurationError(
            f"--confirm={confirm} does not name this city",
            resolution=f"to confirm, write --confirm={session.city.name}",
        )


def replaced_clusters(session: Session, names: list[str] | None) -> frozenset[str]:
    """Return the clouds in --new-cluster. Raises `ConfigurationError` for one without an existing, adopted cluster."""
    adopted = [cloud.name for cloud in session.city.clouds if cloud.provider == "kubernetes"]
    for name in names or ():
        if name not in adopted:
            raise ConfigurationError(
                f"--new-cluster={name} does not name a cloud with provider kubernetes",
                details=f"there are: {', '.join(adopted) or 'none'}",
                resolution="a replaced cluster of any other cloud is noticed without it",
            )
    return frozenset(names or ())


@contextmanager
def told_of(output: Output) -> Iterator[Emit]:
    """Yield the `emit` of a reporter; of a JSON answer, nothing is told but itself."""
    if output is Output.JSON:
        yield lambda event: None
    else:
        with open_reporter(StreamFormat.TEXT) as emit:
            yield emit


@contextmanager
def open_reporter(output: StreamFormat) -> Iterator[Emit]:
    """Yield the `emit` of a reporter: NDJSON if requested, a live tree on a terminal unless -q is set, else plain
    lines.
    """
    from wecityctl.cli._common import settings

    if output is StreamFormat.JSON:
        from wecityctl.report.ndjson import NdjsonReporter

        with NdjsonReporter(sys.stdout) as ndjson:
            yield ndjson
    elif sys.stderr.isatty() and settings().verbosity >= 0:
        from wecityctl.cli._common import error_console
        from wecityctl.report.live import LiveReporter

        with LiveReporter(error_console()) as live:
            yield live
    else:
        from wecityctl.report.plain import PlainReporter

        with PlainReporter(sys.stderr, verbosity=settings().verbosity + 1) as plain:
            yield plain
