"""A class of data against the zone, the region, the tenant and the backup target that it meets."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

from wecityctl.model.city import App, City, Compliance, DataRule
from wecityctl.model.provided import calls
from wecityctl.policy.data import CITIZENS, Lodging, lodgings, running, store_users
from wecityctl.policy.model import Finding, PolicyInput, Rule

WHY = """\
Privacy is the red line with a veto 隐私安全是红线, 一票否决: all data that people submit stays with the department
that owns it, in the regions that the city named. Data of class L3 (sensitive) and L4 (core) therefore lies only on
clouds whose region is allowed, is backed up only to such a region, is never held by a partner's app, and shares no
store with one. L4 never lies in a zone that the internet reaches, by its kind or by a declared flow, and has a store
of its own: no data of another tenant or of another class is in it. A store that names no zone counts as in the zones
of all apps that use it and of all nodes that it may run on. A vendor's cloud whose region is not said is refused; for
an adopted or embedded one the rule advises to say it. A city may say more for each class under
compliance.dataClasses, such as that its stores are dedicated to one tenant. An app that uses another app is of the
class of the data that it gets from there, or of a higher one. Neither a flag nor a waiver lifts this
rule; changing the class of the data is a decision that is seen in the files."""


def check(policy_input: PolicyInput) -> Iterator[Finding]:
    """Every place and tenant that a running app's data must not be with."""
    city = policy_input.city
    partners = {tenant.name for tenant in city.tenants if tenant.type == "partner"}
    users, reached = store_users(policy_input), _reached_from_the_internet(city)
    for place in lodgings(policy_input):
        own = _rule_of(city.compliance, place.app)
        yield from _zone(place, own, reached)
        yield from _region(city.compliance, place, own)
        if place.capability is not None:
            yield from _shared(place, users[place.capability.name], partners)
        yield from _not_dedicated(place, own)
    for app in running(policy_input):
        yield from _tenant(app, _rule_of(city.compliance, app), app.tenant in partners)
    for app, use, target in calls(city):
        if target.data_class > app.data_class:
            name = f"{use.tenant}/{use.app}"
            message = f"it gets data of class {target.data_class} from app {name} ({target.provided.name})"
            advice = (
                f"give it dataClass: {target.data_class}, and what goes with it; or use what gives data of a lower "
                f"class (dataClass under provides of {name})"
            )
            yield _finding(app, message, advice, ("spec", "uses", use.index, "app"))
    yield from _backup(policy_input)


def _rule_of(compliance: Compliance, app: App) -> DataRule:
    """What the city says of the app's class of data beside what holds anyway."""
    return compliance.data_classes.get(app.data_class, DataRule())


def _reached_from_the_internet(city: City) -> Mapping[str, str]:
    """The zones that the internet reaches, each with how: by its kind, or by a flow from a zone of that kind."""
    public = {zone.name for zone in city.zones if zone.kind == "internet"}
    flows = {
        flow.target: f"which a flow from zone {flow.source!r} reaches" for flow in city.flows if flow.source in public
    }
    return {**flows, **dict.fromkeys(public, "which the internet reaches")}


def _zone(place: Lodging, own: DataRule, reached: Mapping[str, str]) -> Iterator[Finding]:
    """At most one finding for a place, which counts as in several zones where it names none."""
    app, here = place.app, place.zone
    open_ = next((zone for zone in place.zones if zone in reached), "") if app.data_class == "L4" else ""
    other = next((zone for zone in place.zones if zone not in own.zones), "") if own.zones else ""
    apart = "name its zone in the Platform, and give apps of other zones a store of their own"
    if open_:
        advice = "move it to a zone of the government extranet" if here else apart
        yield _finding(app, f"{place.lies_in(open_)}, {reached[open_]}", advice, place.path)
    elif other:
        advice = "move it to one of the zones that compliance.dataClasses names" if here else apart
        yield _finding(app, f"{place.lies_in(other)}, not in {_any_of(own.zones)}", advice, place.path)


def _region(compliance: Compliance, place: Lodging, own: DataRule) -> Iterator[Finding]:
    if place.cloud is None:
        return
    cloud, regions = place.cloud, _regions(compliance, place.app, own)
    where = f"{place.where} is on cloud {cloud.name!r}"
    if not cloud.region:
        # An embedded cloud is on this machine, where data may be stored if the city names no regions.
        if regions is not None or (place.app.data_class in CITIZENS and cloud.provider != "local"):
            message = f"{where}, of which nobody knows the region"
            advice = "say in the Cloud's spec.region where it lies"
            found = _finding(place.app, message, advice, place.path)
            yield replace(found, unsaid=not cloud.has_landing_zone)
    elif regions is not None and cloud.region not in regions:
        message = f"{where}, in region {cloud.region!r}; its data may lie in {_any_of(regions)} only"
        yield _finding(place.app, message, "place it on a cloud of an allowed region", place.path)


def _regions(compliance: Compliance, app: App, own: DataRule) -> tuple[str, ...] | None:
    """The regions that the app's data may lie in; `None`: any."""
    limits = [limit for limit in (own.regions, compliance.regions if app.data_class in CITIZENS else ()) if limit]
    if not limits:
        return None
    return tuple(region for region in limits[0] if all(region in limit for limit in limits))


def _tenant(app: App, own: DataRule, is_partner: bool) -> Iterator[Finding]:
    if is_partner and (app.data_class in CITIZENS or not own.partners):
        message = f"a partner's app would hold {app.data_class} data, which stays with the department that owns it"
        yield _finding(app, message, "give the app to the department, and let the partner provide a capability to it")


def _shared(place: Lodging, users: tuple[App, ...], partners: set[str]) -> Iterator[Finding]:
    """L3 and L4 share no store with partners; L4 shares none with another tenant or another class of data."""
    app = place.app
    if place.capability is None or app.data_class not in CITIZENS:
        return
    others = {user.tenant for user in users} - {app.tenant}
    tenants = sorted(others if app.data_class == "L4" else others & partners)
    lower = [f"{user.tenant}/{user.name} ({user.data_class})" for user in users if user.data_class != "L4"]
    own = lower if app.data_class == "L4" and not tenants else []
    if tenants or own:
        kind = "tenants" if app.data_class == "L4" else "partners"
        who = f"{kind}: {', '.join(tenants)}" if tenants else f"apps of other classes: {', '.join(own)}"
        message = f"{place.where} holds {app.data_class} data and is shared with {who}"
        advice = f"give it an instance of its own: another capability with type: {place.capability.type}"
        yield _finding(app, message, advice, place.path)


def _not_dedicated(place: Lodging, own: DataRule) -> Iterator[Finding]:
    """Where the city asks for it, a store is one tenant's by its own file, whoever uses it today."""
    if own.dedicated and place.capability is not None and place.capability.dedicated is None:
        message = f"{place.where} is open to every tenant"
        advice = f"use one with dedicated: {{tenant: {place.app.tenant}}} and type: {place.capability.type}"
        yield _finding(place.app, message, advice, place.path)


def _backup(policy_input: PolicyInput) -> Iterator[Finding]:
    """A backup is a copy: the target's region is held against every class that a running app has."""
    city = policy_input.city
    backup = city.compliance.backup
    if not backup.target:
        return
    for name in sorted({app.data_class for app in running(policy_input)}):
        app = next(item for item in running(policy_input) if item.data_class == name)
        regions = _regions(city.compliance, app, _rule_of(city.compliance, app))
        if regions is not None and backup.region not in regions:
            yield Finding(
                subject="city",
                message=f"backups of {name} data go to region {backup.region!r}; it may lie in {_any_of(regions)} only",
                resolution="name a backup target in an allowed region",
                document=("City", city.name),
                path=("spec", "compliance", "backup", "region"),
                # Where nothing takes backups, there is no copy in a wrong place.
                unsaid=not backup.is_taken,
            )


def _finding(app: App, message: str, resolution: str, path: tuple[str | int, ...] = ("spec", "dataClass")) -> Finding:
    name = f"{app.tenant}/{app.name}"
    return Finding(name, f"{app.data_class}: {message}", resolution, document=("App", name), path=path)


def _any_of(names: tuple[str, ...]) -> str:
    return ", ".join(names) or "no region at all"


def evidence(policy_input: PolicyInput) -> Iterator[str]:
    """Where the data of each class lies."""
    places: dict[str, set[str]] = {}
    for place in lodgings(policy_input):
        if place.cloud is not None:
            region = f" ({place.cloud.region})" if place.cloud.region else ""
            places.setdefault(place.app.data_class, set()).add(f"{place.cloud.name}{region}")
    for name, clouds in sorted(places.items()):
        yield f"{name} data lies on {', '.join(sorted(clouds))}"


RULE = Rule(
    name="data-class",
    title="Data stays in its zone, its region and its department 数据分类分级",
    why=WHY,
    check=check,
    veto=True,
    of_files=True,
    controls=("8.1.4.11 个人信息保护", "8.1.4.8 数据保密性"),
    evidence=evidence,
)
