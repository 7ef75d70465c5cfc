"""`usage`: what tenants, apps and capabilities have used in a period, as the metrics store of each cloud has it."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from wecityctl.errors import ConfigurationError, NoSuchStackError, WecityError, error_text
from wecityctl.event_loops import run_async
from wecityctl.guesses import nearest
from wecityctl.model.metering import CityUsage, CloudUsage, Group, Owner, Period, rows
from wecityctl.operations.app_targets import client_of, not_running
from wecityctl.operations.capability_servers import CapabilityServer, conversation, metric_stores
from wecityctl.operations.usage.periods import period_of
from wecityctl.operations.usage.progress import Progress
from wecityctl.operations.usage.reading import Counter, read_usage

if TYPE_CHECKING:
    from wecityctl.inputs import Cluster
    from wecityctl.model.city import City
    from wecityctl.session import Session

_NAME = re.compile(r"[a-z0-9](?:[-a-z0-9]{0,61}[a-z0-9])?")


@dataclass(frozen=True, slots=True)
class UsageOptions:
    """The period, as `period_of` takes it; by what the sums are made, and of which tenant (empty: of all)."""

    begin: str = ""
    end: str = ""
    by: Group = "tenant"
    tenant: str = ""


def usage(session: Session, options: UsageOptions, say: Callable[[str], None] = lambda line: None) -> CityUsage:
    """The usage of the city, or of one tenant, also of one that has left. `say` takes lines about a long reading.

    Raises `ConfigurationError` for a period or tenant that is none, `NoSuchStackError` where no cloud has the
    capability `metrics`, and if no store can be read the error of the first.
    """
    from wecityctl.clusters import open_clusters
    from wecityctl.engine.state.backend import open_backend

    city = session.city
    period = period_of(options.begin, options.end, datetime.now(UTC))
    _check_name(city, options.tenant)
    stores = dict(_stores(session))
    if not stores:
        raise NoSuchStackError(
            "no cloud of the city has the capability metrics, so its usage is not counted",
            details="what was used until now cannot be found out later",
            resolution="add one to the platform operations for each cloud, and run `wecityctl up`",
        )
    clusters = open_clusters(city, session.catalogue, lambda event: None, start=False, backend=open_backend(city))
    unknown, asked = {}, {}
    errors: dict[str, WecityError] = dict(clusters.failed)
    for cloud in city.clouds:
        if cloud.name not in stores:
            unknown[cloud.name] = "it has no capability metrics, so what is used there is not known"
        elif cloud.name in clusters.failed:
            continue
        elif cloud.name not in clusters.found:
            errors[cloud.name] = not_running(session, cloud.name)
        elif clusters.found[cloud.name].simulated:
            unknown[cloud.name] = "its nodes are simulated: nothing runs there that could count"
        else:
            asked[cloud.name] = (clusters.found[cloud.name], stores[cloud.name])
    read: list[CloudUsage] = []
    for name, answer in run_async(_read_all(session, asked, period, options.tenant, say)).items():
        if isinstance(answer, WecityError):
            errors[name] = answer
        else:
            read.append(answer)
    failed = {name: error for name, error in errors.items() if name not in unknown}
    if failed and not read:
        raise next(iter(failed.values()))
    if not read:
        raise NoSuchStackError(
            "nothing counts the usage of the city", details="\n".join(f"{name}: {why}" for name, why in unknown.items())
        )
    return _summed(session, period, options, tuple(read), {**unknown, **_texts(failed)}, frozenset(failed))


def _summed(
    session: Session,
    period: Period,
    options: UsageOptions,
    read: tuple[CloudUsage, ...],
    unknown: Mapping[str, str],
    failed: frozenset[str],
) -> CityUsage:
    city = session.city
    prices = {cloud.name: cloud.prices for cloud in city.clouds if cloud.prices is not None}
    names = {(app.tenant, app.name): app.called for app in city.apps}

    def called(owner: Owner) -> Owner:
        """The owner by the name that the files have: in the clusters a renamed app keeps its first one."""
        return replace(owner, app=names.get((owner.tenant, owner.app), owner.app))

    found = rows(
        (replace(item, owner=called(item.owner)) for cloud in read for item in cloud.used),
        (replace(item, owner=called(item.owner)) for cloud in read for item in cloud.counted),
        prices,
        options.by,
    )
    if options.tenant and not found and options.tenant not in {tenant.name for tenant in city.tenants}:
        near = nearest(options.tenant, [tenant.name for tenant in city.tenants])
        raise ConfigurationError(
            f"there is no tenant {options.tenant!r}, and nothing was counted of one in that time",
            resolution=f"did you mean {near!r}?" if near else "",
        )
    counters = sorted({f"{item.by.capability} {item.counter.name}" for item in _counters(session)})
    return CityUsage(
        city.name,
        period,
        options.by,
        found,
        read,
        unknown,
        failed,
        tuple(cloud.cloud for cloud in read if cloud.cloud not in prices),
        tuple(counters),
    )


def _check_name(city: City, tenant: str) -> None:
    # It becomes part of a query.
    if tenant and not _NAME.fullmatch(tenant):
        raise ConfigurationError(
            f"{tenant!r} is no name of a tenant",
            resolution="tenants: " + ", ".join(item.name for item in city.tenants),
        )


def _stores(session: Session) -> Iterator[tuple[str, CapabilityServer]]:
    """Yield each cloud that has a metrics store, and the store."""
    for cloud in session.city.clouds:
        for store in metric_stores(session, cloud.name)[:1]:
            yield cloud.name, store


def _counters(session: Session, cloud: str = "") -> Iterator[Counter]:
    """Yield what the capabilities on a cloud count, or on all."""
    for item in session.city.capabilities:
        if cloud in ("", session.plan.placement.capabilities.get(item.name)):
            for counter in session.catalogue[item.type].usage:
                yield Counter(Owner(platform=item.platform, capability=item.name), counter)


async def _read_all(
    session: Session,
    asked: Mapping[str, tuple[Cluster, CapabilityServer]],
    period: Period,
    tenant: str,
    say: Callable[[str], None],
) -> dict[str, CloudUsage | WecityError]:
    async def one(cluster: Cluster, store: CapabilityServer) -> CloudUsage | WecityError:
        try:
            async with client_of(cluster) as client, conversation(client, store) as server:
                counters = tuple(_counters(session, cluster.cloud))
                tell = Progress(cluster.cloud, say).tell
                return await read_usage(server, cluster.cloud, counters, period, tenant, tell)
        except WecityError as error:
            return error

    answers = await asyncio.gather(*(one(*item) for item in asked.values()))
    return dict(zip(asked, answers, strict=True))


def _texts(errors: Mapping[str, WecityError]) -> Mapping[str, str]:
    return {name: error_text(error).replace("\n", ": ") for name, error in errors.items()}
