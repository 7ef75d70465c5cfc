"""Between the internet and the government extranet lies a data-exchange zone, and nothing goes past it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from wecityctl.model.provided import calls
from wecityctl.model.words import some
from wecityctl.policy.data import store_users, zones_of
from wecityctl.policy.model import Finding, PolicyInput, Rule

WHY = """\
The government extranet 政务外网 is kept apart from the internet so that a hole in a public service does not open the
departments' systems and the citizens' data in them. What has to pass goes through a data-exchange zone, where it is
inspected, recorded and handed on by a service of its own. A flow that joins the two directly, in either direction,
takes that zone out of the way, and so does a database or cache of one of them that apps of both use: what one writes
the other reads. A store that names no zone counts as in the zones of all apps that use it; one of the exchange zone is
reached from both sides by declared flows, and is where they exchange. An app of one of them does not use an app of
the other either. No waiver lifts this rule, whoever approved the
flow. A department's systems reach out through the zone's own egress, never through a zone that
the internet can talk to."""

_ENDS = frozenset({"internet", "government-extranet"})
_RESOLUTION = "declare a flow into a data-exchange zone and another one from there"


def check(policy_input: PolicyInput) -> Iterator[Finding]:
    """Declared flows between an internet zone and a government extranet, stores that apps of both use, and apps of the
    one that use apps of the other."""
    city = policy_input.city
    kinds = {zone.name: zone.kind for zone in city.zones}
    for index, flow in enumerate(city.flows):
        if joins(kinds, flow.source, flow.target):
            inwards = kinds[flow.source] == "internet"
            yield Finding(
                subject=f"flow {flow.source} → {flow.target}",
                message=f"the flow leads from the internet straight into the government extranet {flow.target!r}"
                if inwards
                else f"the flow leads from the government extranet {flow.source!r} straight into the internet's zone",
                resolution=_RESOLUTION,
                document=("City", city.name),
                path=("spec", "flows", index),
            )
    yield from _stores(policy_input, kinds)
    for app, use, target in calls(city):
        if joins(kinds, app.zone, target.app.zone):
            yield Finding(
                subject=f"{app.tenant}/{app.name}",
                message=f"the app of zone {app.zone!r} uses {use.tenant}/{use.app} of zone {target.app.zone!r}, "
                "past the data-exchange zone",
                resolution="use an app of a data-exchange zone that passes on what has to pass",
                document=("App", f"{app.tenant}/{app.name}"),
                path=("spec", "uses", use.index, "app"),
            )


def joins(kinds: Mapping[str, str], one: str, other: str) -> bool:
    """Whether of two zones one is an internet zone and the other a government extranet. `kinds` are those of zones."""
    return {kinds[one], kinds[other]} == _ENDS


def _stores(policy_input: PolicyInput, kinds: Mapping[str, str]) -> Iterator[Finding]:
    """Stores that lie, as they say or by their users, in the one zone and are used from the other."""
    users = store_users(policy_input)
    for platform in policy_input.city.platforms:
        for index, store in enumerate(platform.capabilities):
            apps = users.get(store.name, ())
            zones = (store.zone,) if store.zone else zones_of(apps)
            past = [app for app in apps if any(joins(kinds, app.zone, zone) for zone in zones)]
            if past:
                where = f"is in zone {store.zone!r}" if store.zone else "names no zone"
                names = [f"{app.tenant}/{app.name} ({app.zone})" for app in past]
                yield Finding(
                    subject=f"capability {store.name}",
                    message=f"{where} and joins the internet and the government extranet for {some(names)}",
                    resolution="give each of the two a store of its own with its zone, and exchange what has to pass",
                    document=("Platform", platform.name),
                    path=("spec", "capabilities", index),
                )


RULE = Rule(
    name="through-exchange",
    title="Internet to extranet only through a data-exchange zone 经数据交换区",
    why=WHY,
    check=check,
    veto=True,
    of_files=True,
    controls=("8.1.3.1 边界防护", "8.1.3.2 访问控制"),
    applies=lambda city: bool(city.flows) or any(app.uses or app.app_uses for app in city.apps),
)
