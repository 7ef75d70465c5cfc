"""`dashboards`: which dashboards a city has, and their pages with what the stores of metrics have now.

A store is asked as its administrator, and told whose series a page is about (`extra_label`): it then answers from those
series alone, whatever the query says. So the pages of a tenant have nothing of others in them.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from wecityctl.dashboards import boards, pages
from wecityctl.dashboards.lines import Chart, Line, Span, lines_in
from wecityctl.errors import ConfigurationError, WecityError
from wecityctl.event_loops import run_async
from wecityctl.operations.app_targets import client_of, find_tenant_or_app, not_asked
from wecityctl.operations.capability_servers import METRICS, RefusedRequestError, conversation, metric_stores
from wecityctl.paths import write_private

if TYPE_CHECKING:
    from wecityctl.inputs import Cluster
    from wecityctl.model.catalogue import Panel
    from wecityctl.operations.capability_servers import CapabilityServer, Conversation
    from wecityctl.session import Session

# What commands know of the pages.
Dashboard = boards.Dashboard
FIRST = pages.FIRST
_QUERY = "/api/v1/query_range"


@dataclass(frozen=True, slots=True)
class Answer:
    """What one store has for a panel: lines and limits, or why there is nothing."""

    lines: tuple[Line, ...] = ()
    limits: tuple[Line, ...] = ()
    problem: str = ""


# By the file of a dashboard and the position of its panel.
Answers = Mapping[tuple[str, int], Answer]


@dataclass(frozen=True, slots=True)
class Written:
    """The pages that were written, and why nothing is known of some clouds.

    `failed` are problems with what could have been asked; a cloud without a store is none.
    """

    files: tuple[Path, ...]
    unknown: Mapping[str, str]
    failed: tuple[str, ...] = ()


def dashboards(session: Session, name: str = "") -> tuple[Dashboard, ...]:
    """The dashboards of the whole city, of a tenant, of an app (`app` or `tenant/app`), or of a capability.

    Raises `ConfigurationError` for a name that is none of these.
    """
    city, placement = session.city, session.plan.placement
    if not name:
        return tuple(boards.all_of(city, session.catalogue, placement))
    known = [item.name for item in city.capabilities]
    tenants = [item.name for item in city.tenants]
    if name in known and name not in tenants:
        return (boards.of_capability(city, session.catalogue, placement, name),)
    tenant, app = find_tenant_or_app(city, name, {"capability": known})
    if not app:
        return tuple(boards.of_tenant(city, placement, tenant))
    return (boards.of_app(placement, next(item for item in city.apps_of(tenant) if item.name == app)),)


def unwatched(session: Session) -> dict[str, str]:
    """The clouds without a store of metrics, as the files have it, each with a sentence that says so."""
    return {
        cloud.name: f"it has no capability {METRICS}, so there is nothing to show"
        for cloud in session.city.clouds
        if not metric_stores(session, cloud.name)
    }


def check_directory(directory: Path, found: Sequence[Dashboard]) -> None:
    """Raise `ConfigurationError` unless nothing but pages of these dashboards is in the directory.

    Pages of others, written before, would be handed on with those of a tenant.
    """
    if directory.exists() and not directory.is_dir():
        raise ConfigurationError(f"{directory} is not a directory", resolution="name another one")
    known = {pages.FIRST, *(item.file for item in found[1:])}
    others = sorted(item.name for item in directory.iterdir() if item.name not in known) if directory.exists() else []
    if others:
        raise ConfigurationError(
            f"{directory} has files that are no page of these dashboards",
            details=", ".join(others[:5]) + (" …" if len(others) > 5 else ""),
            resolution="name a new directory, or remove these files",
        )


def write_dashboards(
    session: Session, found: Sequence[Dashboard], directory: Path, seconds: float, *, refresh: int = 0
) -> Written:
    """Write the pages of dashboards with the last `seconds`. With `refresh` a browser reads them anew as often.

    Raises what `check_directory` raises, `ConfigurationError` if no cloud of theirs has a store of metrics or a page
    cannot be written, and the store's error if no store answers.
    """
    check_directory(directory, found)
    span = Span.until(time.time(), seconds)
    answers, unknown, failures = _answers(session, found, span)
    if not answers:
        raise next(iter(failures.values()), ConfigurationError("nothing is measured", details=_joined(unknown)))
    unknown |= {cloud: ": ".join(filter(None, (error.message, error.details))) for cloud, error in failures.items()}
    shown = [filled(board, answers, _silent(session) | unknown) for board in found]
    files = pages.files(shown, span, refresh=refresh)
    try:
        for file, text in files.items():
            write_private(directory / file, text.encode())
    except OSError as error:
        raise ConfigurationError(f"{directory} cannot be written to", details=str(error)) from error
    problems = {problem for item in shown for chart in item.charts for problem in chart.problems}
    return Written(tuple(directory / file for file in files), unknown, (*sorted(failures), *sorted(problems)))


def _answers(
    session: Session, found: Sequence[Dashboard], span: Span
) -> tuple[dict[str, Answers], dict[str, str], dict[str, WecityError]]:
    """What the stores of the dashboards' clouds answer, why others have nothing to say, and what failed; by cloud."""
    from wecityctl.clusters import open_clusters
    from wecityctl.engine.state.backend import open_backend

    clouds = {cloud for board in found for cloud in board.clouds}
    unknown = {cloud: why for cloud, why in unwatched(session).items() if cloud in clouds}
    if unknown.keys() >= clouds:
        raise ConfigurationError(
            f"there is no capability {METRICS} on {', '.join(sorted(clouds))}",
            resolution=f"add it to the platform operations: `wecityctl catalog show {METRICS}`",
        )
    backend = open_backend(session.city)
    clusters = open_clusters(session.city, session.catalogue, lambda event: None, start=False, backend=backend)
    failures: dict[str, WecityError] = {}
    asked: dict[str, tuple[Cluster, CapabilityServer]] = {}
    for cloud in sorted(clouds - unknown.keys()):
        cluster = clusters.found.get(cloud)
        if cluster is None:
            failures[cloud] = clusters.failed.get(cloud) or not_asked(session, cloud)
        elif cluster.simulated:
            unknown[cloud] = "its nodes are simulated: nothing runs there that could measure"
        else:
            asked[cloud] = (cluster, metric_stores(session, cloud)[0])
    results = run_async(_ask_all(asked, found, span)) if asked else {}
    answers = {cloud: item for cloud, item in results.items() if not isinstance(item, WecityError)}
    failures |= {cloud: item for cloud, item in results.items() if isinstance(item, WecityError)}
    return answers, unknown, failures


def _joined(unknown: Mapping[str, str]) -> str:
    return "; ".join(f"cloud {cloud}: {why}" for cloud, why in sorted(unknown.items()))


def _silent(session: Session) -> dict[str, str]:
    """The clouds on which nothing evaluates alerts, each with a sentence that says so."""
    placed, catalogue = session.plan.placement.capabilities, session.catalogue
    telling = {placed.get(item.name) for item in session.city.capabilities if catalogue[item.type].tells_alerts}
    return {
        cloud.name: "it has no capability that evaluates alerts, so that none is known"
        for cloud in session.city.clouds
        if cloud.name not in telling
    }


async def _ask_all(
    asked: Mapping[str, tuple[Cluster, CapabilityServer]], found: Sequence[Dashboard], span: Span
) -> dict[str, Answers | WecityError]:
    async def one(cloud: str, cluster: Cluster, server: CapabilityServer) -> Answers | WecityError:
        mine = [board for board in found if cloud in board.clouds]
        try:
            async with client_of(cluster) as client, conversation(client, server) as talk:
                return await answers_of(talk, mine, span, cloud if len(asked) > 1 else "")
        except WecityError as error:
            return error

    results = await asyncio.gather(*(one(cloud, *item) for cloud, item in asked.items()))
    return dict(zip(asked, results, strict=True))


async def answers_of(talk: Conversation, found: Sequence[Dashboard], span: Span, prefix: str = "") -> Answers:
    """What a store answers for each panel of dashboards. Names of lines begin with the prefix.

    Raises `DeploymentError` if it does not answer at all.
    """
    return {
        (board.file, index): await _answer(talk, board, panel, span, prefix)
        for board in found
        for index, panel in enumerate(board.panels)
    }


async def _answer(talk: Conversation, board: Dashboard, panel: Panel, span: Span, prefix: str) -> Answer:
    scope = {} if panel.whole_store else board.labels

    async def lines(query: str) -> tuple[Line, ...]:
        parameters = [("query", query), *span.parameters.items()]
        parameters += [("extra_label", f"{name}={value}") for name, value in scope.items()]
        return lines_in(await talk.status(_QUERY, parameters), panel.by, prefix)

    try:
        return Answer(await lines(panel.query), await lines(panel.limit) if panel.limit else ())
    except RefusedRequestError as error:
        return Answer(problem=": ".join(filter(None, (error.message, error.details))))


def filled(board: Dashboard, answers: Mapping[str, Answers], unknown: Mapping[str, str] = {}) -> pages.Filled:
    """A dashboard with what the stores answer, by cloud, and what is not known of a cloud."""
    charts = []
    for index, panel in enumerate(board.panels):
        each = {cloud: answers[cloud][board.file, index] for cloud in board.clouds if cloud in answers}
        charts.append(
            Chart(
                panel,
                tuple(line for item in each.values() for line in item.lines),
                tuple(line for item in each.values() for line in item.limits),
                tuple(f"cloud {cloud}: {item.problem}" for cloud, item in each.items() if item.problem),
            )
        )
    notes = tuple(f"cloud {cloud}: {unknown[cloud]}" for cloud in board.clouds if cloud in unknown)
    return pages.Filled(board, tuple(charts), notes)
