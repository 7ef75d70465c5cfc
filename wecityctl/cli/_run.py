"""What `preview`, `up`, `destroy` and `refresh` have in common: open the city, reach its clouds, run, report.

The commands choose the options; this module joins session, clusters, engine and reporter, and returns the exit code.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from wecityctl.cli._options import StreamFormat
from wecityctl.cli._streams import drop_unread_output
from wecityctl.errors import ConfigurationError
from wecityctl.model.events import Event, Progress, RunFinished, RunResult, Sink
from wecityctl.session import Session

if TYPE_CHECKING:
    from wecityctl.engine.execute import Engine
    from wecityctl.engine.options import RunOptions
    from wecityctl.operations.policies import Gate


@dataclass(frozen=True, slots=True)
class RunRequest:
    """A run as the user asked for it. `advised`: the red lines' advice was shown by the preview before it. `judged`:
    the red lines may stop it; not where it only makes what holds them."""

    session: Session
    options: RunOptions
    only: tuple[str, ...] = ()
    output: StreamFormat = StreamFormat.TEXT
    report_file: Path | None = None
    details: bool = False
    start_clouds: bool = False
    advised: bool = False
    judged: bool = True


def operate(request: RunRequest) -> RunResult:
    """Carry the request out and show it; what stops it before it begins is raised."""
    if request.report_file is not None:
        _check_report_file(request.report_file)
    with (
        open_reporter(request.output) as shown,
        _bounded(request, shown) as sink,
        _engine(request) as engine,
        _gate(request, engine) as gate,
    ):
        result = _run(request, sink, gate, engine)
    return _present(request, result)


def operate_offline(request: RunRequest) -> RunResult:
    """Show what the city's files come to without asking anything outside."""
    from wecityctl.operations.offline import preview_offline

    if request.report_file is not None:
        _check_report_file(request.report_file)
    with (
        open_reporter(request.output) as shown,
        _bounded(request, shown) as sink,
        _engine(request) as engine,
        _gate(request, engine) as gate,
    ):

        def tell(event: Event) -> None:
            sink(RunFinished(gate.in_result(event.result)) if isinstance(event, RunFinished) else event)

        gate.hold(sink)
        result = gate.in_result(preview_offline(request.session, tell, request.only))
    _write_report(request, result)
    if request.output is StreamFormat.TEXT:
        from wecityctl.cli._common import console
        from wecityctl.report.offline import print_offline

        with suppress(BrokenPipeError):
            print_offline(console(), result)
    drop_unread_output()
    return result


def operate_destroy_preview(request: RunRequest) -> RunResult:
    """Show what a `destroy` would remove; nothing is started, locked or changed."""
    from wecityctl.clusters import open_clusters
    from wecityctl.engine.backend import open_backend
    from wecityctl.engine.destroy_preview import preview_destroy

    if request.report_file is not None:
        _check_report_file(request.report_file)
    session, plan = request.session, request.session.plan
    if request.only:
        plan = plan.needing(request.only)
    backend = open_backend(session.city)
    with open_reporter(request.output) as sink:
        clusters = open_clusters(session.city, session.catalogue, sink, start=False, backend=backend)
        result = preview_destroy(
            plan,
            session.catalogue,
            backend,
            clusters.found,
            clusters.failed,
            sink,
            delete_data=request.options.delete_data,
        )
    return _present(request, result)


def _present(request: RunRequest, result: RunResult) -> RunResult:
    """Write the report that was asked for, and show the result."""
    _write_report(request, result)
    if request.output is StreamFormat.TEXT:
        from wecityctl.cli._common import console
        from wecityctl.report.summary import print_result

        with suppress(BrokenPipeError):
            print_result(console(), result, details=request.details)
    # The exit code says what the run did, whoever reads the rest.
    drop_unread_output()
    return result


def _write_report(request: RunRequest, result: RunResult) -> None:
    if request.report_file is not None:
        from wecityctl.report.record import run_json

        text = json.dumps(run_json(result), indent=2, ensure_ascii=False, default=str) + "\n"
        request.report_file.write_text(text, encoding="utf-8", errors="backslashreplace")


def _check_report_file(path: Path) -> None:
    """Refuse a place where the report cannot be written, before the work that it would report."""
    directory = path.parent
    if path.is_dir() or not directory.is_dir() or not os.access(path if path.exists() else directory, os.W_OK):
        raise ConfigurationError(
            f"--report-file: {path} cannot be written",
            resolution="name a file in a directory that exists and is yours to write",
        )


def exit_code(result: RunResult, *, detailed: bool = False) -> int:
    """The run's exit code; with `detailed`, Terraform's: 0 no change, 1 any error, 2 changes."""
    if not detailed:
        return result.exit_code
    if result.exit_code:
        return 1
    return 2 if result.has_changes or result.refused or result.undeclared else 0


def check_confirmation(session: Session, confirm: str) -> None:
    """Refuse a `--confirm` that names another city."""
    if confirm and confirm != session.city.name:
        raise ConfigurationError(
            f"--confirm={confirm} does not name this city",
            resolution=f"to confirm, write --confirm={session.city.name}",
        )


def replaced_clusters(session: Session, names: list[str] | None) -> frozenset[str]:
    """What --new-cluster names: clouds with a cluster of somebody else's."""
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
def open_reporter(output: StreamFormat) -> Iterator[Sink]:
    """The reporter that fits: NDJSON when asked for, a live tree on a terminal unless -q is given, else plain lines."""
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


@contextmanager
def _bounded(request: RunRequest, sink: Sink) -> Iterator[Sink]:
    """The sink of a run that takes no longer than its --timeout; outside the stacks, what was done last is named."""
    from wecityctl.engine.interrupts import time_limit

    last = clouds = "the city's clouds to answer"

    def tell(event: Event) -> None:
        nonlocal last
        if isinstance(event, Progress):
            last = clouds if event.done else f"{event.subject}: {event.phase} {event.detail}".rstrip()
        sink(event)

    with time_limit(request.options.timeouts.run, lambda: f"it waited for {last}"):
        yield tell


def _engine(request: RunRequest) -> Engine:
    """The run's engine, which loads when it is first needed: by the red lines before all else."""
    from wecityctl.engine.execute import Engine

    return Engine(request.options.program)


@contextmanager
def _gate(request: RunRequest, engine: Engine) -> Iterator[Gate]:
    """The red lines in front of this run, being looked at from here on."""
    from wecityctl.operations.policies import Gate

    gate = Gate(request.session, request.options.operation, request.advised, request.options.keep_going)
    try:
        if request.judged:
            gate.begin(engine)
        yield gate
    finally:
        gate.close()


def _run(request: RunRequest, sink: Sink, gate: Gate, engine: Engine) -> RunResult:
    from wecityctl.clusters import must_start, open_clusters, open_landed, told_of_their_clouds
    from wecityctl.engine.backend import open_backend
    from wecityctl.engine.run import run
    from wecityctl.operations.cloud_moves import moves_within, require_confirmed
    from wecityctl.operations.deployment_rights import duties, require_rights
    from wecityctl.operations.entry_urls import entry_urls
    from wecityctl.operations.interconnect import link_clouds
    from wecityctl.operations.namespace_conflicts import without_namespace_conflicts
    from wecityctl.operations.volume_changes import require_volumes_kept

    session, plan = request.session, request.session.plan
    if request.only:
        plan = plan.needing(request.only) if request.options.operation == "destroy" else plan.only(request.only)
    options = replace(
        request.options,
        provider=session.city.kubernetes_provider,
        files=str(session.path),
        take_over=request.options.take_over or session.city.take_over,
    )
    moves = moves_within(session.placement.moves, plan) if options.operation in ("preview", "up") else ()
    if options.operation == "up":
        require_confirmed(moves, session.city.name, confirmed=options.confirm_all)
    backend = open_backend(session.city)
    if options.operation in ("preview", "up"):
        require_volumes_kept(plan, session.catalogue, session.positions, backend)
    if request.start_clouds and must_start(session.city):
        gate.hold(sink)
    clusters = open_clusters(session.city, session.catalogue, sink, start=request.start_clouds, backend=backend)
    if request.options.operation in ("preview", "up"):
        clusters = without_namespace_conflicts(session.city, plan.placement, clusters)
    asked = plan.matching(request.only) if request.only else [stack.name for stack in plan.stacks]
    mine = duties(plan, asked, options.operation, clusters)
    options = replace(options, given=mine.given)
    can_begin = any(cloud.has_landing_zone or cloud.name not in clusters.failed for cloud in session.city.clouds)
    unreachable = told_of_their_clouds(clusters.failed)
    if unreachable and not can_begin:
        raise next(iter(unreachable.values()))

    if request.start_clouds:
        if sum(cloud.provider == "local" for cloud in session.city.clouds) > 1:
            # Ways between clouds are changes too.
            gate.hold(sink)
        link_clouds(session.city, session.plan.crossings, clusters, sink)

    def whole(result: RunResult) -> RunResult:
        told = replace(result, notes=(*map(str, moves), *result.notes))
        urls = entry_urls(session, clusters.found, backend, keep=options.operation == "up")
        return gate.in_result(replace(told, entry_urls=urls))

    def tell(event: Event) -> None:
        # The engine knows stacks but not how this host reaches them; a stream ends with what the report says.
        sink(RunFinished(whole(event.result)) if isinstance(event, RunFinished) else event)

    work = partial(
        run, plan, clusters=clusters.found, catalogue=session.catalogue, images=session.images, backend=backend
    )
    if mine.given and options.operation == "up":
        # What a deployer may not do is found out before anything is done.
        foreseen = work(
            replace(options, operation="preview"), sink=lambda event: None, unreachable=unreachable, engine=engine
        )
        require_rights(plan, foreseen, clusters.found, options.files)
    result = work(
        options,
        sink=tell,
        unreachable=unreachable,
        stopped=clusters.stopped,
        open_landed=open_landed,
        before=lambda: gate.hold(sink),
        engine=engine,
    )
    return whole(result)
