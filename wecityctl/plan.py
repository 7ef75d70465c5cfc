"""Builds the plan: a city's stacks as a directed acyclic graph.

The order of layers is: secret store, landing zones, base, platforms, interconnects, tenants, entry.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field, replace
from graphlib import CycleError
from itertools import chain

from wecityctl.errors import ConfigurationError
from wecityctl.guesses import nearest
from wecityctl.interconnects import Interconnects, UseInterconnect, find_interconnects
from wecityctl.model import naming
from wecityctl.model.catalogue import Catalogue
from wecityctl.model.city import App, Capability, City, Use
from wecityctl.model.entries import certificate_keys, gateway_of
from wecityctl.model.notification import NOTIFICATION
from wecityctl.model.outputs import LayerName
from wecityctl.model.provided import uses_of as app_uses_of
from wecityctl.model.requirements import CAPABILITY, Consumer, in_order, uses_of
from wecityctl.model.service_tls import SERVICE_AUTHORITY_KEY, app_certificate_keys, speaks_tls
from wecityctl.model.service_tls import certificate_keys as service_certificate_keys
from wecityctl.model.signing_in import people_of, sign_in_of
from wecityctl.placement import Placement, place


@dataclass(frozen=True, slots=True)
class Stack:
    """One stack of the plan.

    `subject` is the name of the platform or tenant (empty in other layers). `cloud` is empty only for the secret store,
    which exists in the state alone. A stack of layer `crossing` prepares what a tenant's apps on other clouds use on
    this one; if `subject` is the word `capability`, what capabilities there use. `secrets` are the keys that it reads
    from the secret store. `builds_on` names the capabilities of other stacks that it uses.
    """

    name: str
    layer: LayerName
    subject: str
    cloud: str
    depends_on: tuple[str, ...] = ()
    secrets: tuple[str, ...] = ()
    builds_on: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Plan:
    """The stacks in a valid order: each one after those that it depends on.

    `stacks` are the selected ones. A plan made by `only` or `needing` keeps all stacks of the city in `selected_from`.
    """

    city: City
    placement: Placement
    stacks: tuple[Stack, ...]
    interconnects: Interconnects = field(default_factory=Interconnects)
    selected_from: tuple[Stack, ...] = field(default=(), repr=False)

    @property
    def whole(self) -> Plan:
        """The plan of the whole city."""
        return replace(self, stacks=self.selected_from, selected_from=()) if self.selected_from else self

    @property
    def is_part(self) -> bool:
        """Whether some of the city's stacks are not selected."""
        return len(self.stacks) < len(self.selected_from)

    def stack(self, name: str) -> Stack:
        return next(stack for stack in self.stacks if stack.name == name)

    def only(self, patterns: Iterable[str]) -> Plan:
        """Return the plan of the matching stacks and everything they depend on.

        A pattern is a full stack name or consecutive parts of one between its dots.
        """
        wanted = self.matching(patterns)
        for stack in reversed(self.stacks):
            if stack.name in wanted:
                wanted |= set(stack.depends_on)
        return self.selecting(wanted)

    def needing(self, patterns: Iterable[str]) -> Plan:
        """Return the plan of the matching stacks and everything that depends on them."""
        wanted = self.matching(patterns)
        for stack in self.stacks:
            if wanted.intersection(stack.depends_on):
                wanted.add(stack.name)
        return self.selecting(wanted)

    def selecting(self, wanted: Collection[str]) -> Plan:
        """Return the plan of exactly these stacks."""
        chosen = tuple(stack for stack in self.stacks if stack.name in wanted)
        return replace(self, stacks=chosen, selected_from=self.selected_from or self.stacks)

    def matching(self, patterns: Iterable[str]) -> set[str]:
        """Return the names of the stacks that match. Raises `ConfigurationError` for a pattern without a match."""
        wanted: set[str] = set()
        for pattern in patterns:
            found = {stack.name for stack in self.stacks if _matches(stack.name, pattern)}
            if not found:
                raise ConfigurationError(
                    f"no stack matches {pattern!r}",
                    details="stacks: " + ", ".join(stack.name for stack in self.stacks),
                    resolution=self._near(pattern)
                    or "name a stack, or a part of its name such as a tenant, a platform or a layer",
                )
            wanted |= found
        return wanted

    def _near(self, pattern: str) -> str:
        """Return a suggestion for a misspelt pattern: the closest stack name or part of one; empty if none is close."""
        parts = [part for stack in self.stacks for part in (*stack.name.split("."), stack.name)]
        # A single word of a hyphenated part also counts.
        words = {word: part for part in reversed(parts) for word in part.split("-")} | {part: part for part in parts}
        near = nearest(pattern, words)
        return f"did you mean {words[near]!r}?" if near else ""


def make_plan(city: City, catalogue: Catalogue, placement: Placement | None = None) -> Plan:
    """Return the plan of `city`. Without `placement`, one is computed from the files alone.

    Raises `ConfigurationError` if something uses another cloud without permission or without a network path.
    """
    placement = (placement or place(city, catalogue)).bare
    interconnects = find_interconnects(city, catalogue, placement)
    store = Stack(naming.stack_name(city.name, "secrets"), "secrets", "", "")
    landings = {
        cloud.name: Stack(naming.stack_name(city.name, "landing", cloud.name), "landing", "", cloud.name)
        for cloud in city.clouds
        if cloud.has_landing_zone
    }
    bases = {
        cloud.name: Stack(
            naming.stack_name(city.name, "base", cloud.name),
            "base",
            "",
            cloud.name,
            (landings[cloud.name].name,) if cloud.name in landings else (),
        )
        for cloud in city.clouds
    }
    platforms = _platform_stacks(city, placement, bases, store, catalogue, interconnects)
    interconnect = _interconnect_stacks(city, interconnects, bases, platforms, store, catalogue)
    first = [*platforms.values(), *(stack for stack in interconnect if stack.subject == CAPABILITY)]
    later = [stack for stack in interconnect if stack.subject != CAPABILITY]
    tenants = _tenant_stacks(city, placement, bases, platforms, store, catalogue, interconnects)
    entry = _entry_stack(city, placement, bases, platforms, tenants, interconnects, store, catalogue)
    stacks = (store, *landings.values(), *bases.values(), *_ordered(first, interconnects), *later, *tenants, *entry)
    return Plan(city, placement, stacks, interconnects)


def _matches(name: str, pattern: str) -> bool:
    return name == pattern or pattern in name.split(".") or f".{pattern}." in f".{name}."


def _platform_stacks(
    city: City,
    placement: Placement,
    bases: dict[str, Stack],
    store: Stack,
    catalogue: Catalogue,
    interconnects: Interconnects,
) -> dict[tuple[str, str], Stack]:
    stacks: dict[tuple[str, str], Stack] = {}
    for platform in city.platforms:
        for cloud in placement.clouds_of_platform(city, platform.name):
            here = [item for item in platform.capabilities if placement.capabilities[item.name] == cloud]
            uses = [(item, use) for item in here for use in uses_of(item, city.capabilities, catalogue)]
            used = [city.capability(use.capability) for _, use in uses]
            own = naming.stack_name(city.name, "platform", platform.name, cloud)
            others = {
                naming.stack_name(city.name, "platform", item.platform, placement.capabilities[item.name])
                for item in used
            } - {own}
            others |= {
                naming.stack_name(city.name, "crossing", CAPABILITY, item.target)
                for item in interconnects.uses
                if item.user in here
            }
            certificates = service_certificate_keys(here, catalogue)
            if not certificates and any(speaks_tls(item, catalogue) for item in used):
                certificates = (SERVICE_AUTHORITY_KEY,)
            stacks[(platform.name, cloud)] = Stack(
                own,
                "platform",
                platform.name,
                cloud,
                (store.name, bases[cloud].name, *sorted(others)),
                (
                    *(naming.admin_key(item.name) for item in here),
                    *(naming.instance_key(item.name, name) for item in here for name in catalogue[item.type].secrets),
                    *(
                        naming.previous_key(naming.admin_key(item.name))
                        for item in here
                        if catalogue[item.type].rotation
                    ),
                    *certificates,
                    *_registry_keys(city),
                    *_backup_keys(city, here, catalogue),
                    *_notification_keys(city, here),
                    *chain.from_iterable(_credentials(city, catalogue, item, use) for item, use in uses),
                ),
                tuple(sorted({item.name for item in used} - {item.name for item in here})),
            )
    return stacks


def _interconnect_stacks(
    city: City,
    interconnects: Interconnects,
    bases: dict[str, Stack],
    platforms: dict[tuple[str, str], Stack],
    store: Stack,
    catalogue: Catalogue,
) -> list[Stack]:
    """Return one stack per tenant and cloud for what the tenant's apps on other clouds use there, and one per cloud for
    what capabilities on other clouds use there.

    It is separate from the tenant's own stack on that cloud, so that two clouds whose apps use each other's
    capabilities do not form a cycle. A platform's stack on the user's cloud waits for that of the capabilities.
    """
    found: dict[tuple[str, str], list[UseInterconnect]] = {}
    for item in interconnects.uses:
        found.setdefault((item.consumer.group, item.target), []).append(item)
    return [
        Stack(
            naming.stack_name(city.name, "crossing", group, cloud),
            "crossing",
            group,
            cloud,
            (
                store.name,
                bases[cloud].name,
                *sorted({platforms[(item.capability.platform, cloud)].name for item in items}),
            ),
            tuple(chain.from_iterable(_credentials(city, catalogue, item.user, item.use) for item in items)),
            tuple(sorted({item.capability.name for item in items})),
        )
        for (group, cloud), items in sorted(found.items())
    ]


def _tenant_stacks(
    city: City,
    placement: Placement,
    bases: dict[str, Stack],
    platforms: dict[tuple[str, str], Stack],
    store: Stack,
    catalogue: Catalogue,
    interconnects: Interconnects,
) -> list[Stack]:
    stacks = []
    gateway = gateway_of(city)
    for tenant in city.tenants:
        clouds = placement.clouds_of_tenant(tenant.name) or (city.clouds[0].name,)
        for cloud in clouds:
            apps = [
                app
                for app in city.apps_of(tenant.name)
                if app.runs and placement.apps[(tenant.name, app.name)] == cloud
            ]
            uses = [(app, use) for app in apps for use in app.uses]
            needed = {
                platforms[(city.capability(use.capability).platform, placement.capabilities[use.capability])].name
                for _, use in uses
            }
            called = {use.capability for _, use in uses}
            if gateway is not None and placement.capabilities[gateway.name] == cloud and any(a.is_routed for a in apps):
                # Network policies admit the entry point's traffic by the labels of the gateway's pods.
                needed.add(platforms[(gateway.platform, cloud)].name)
                called.add(gateway.name)
            needed |= {
                naming.stack_name(city.name, "crossing", tenant.name, item.target)
                for item in interconnects.uses
                if item.source == cloud and item.consumer.group == tenant.name
            }
            bindings = [key for app, use in uses for key in _credentials(city, catalogue, app, use)]
            is_client = any(speaks_tls(city.capability(use.capability), catalogue) for _, use in uses) or any(
                target.is_tls for app in apps for _, target in app_uses_of(city, app)
            )
            own = [
                naming.tenant_key(tenant.name, name)
                for name in sorted({name for app in apps for part in app.components for name in part.secrets})
            ]
            stacks.append(
                Stack(
                    naming.stack_name(city.name, "tenant", tenant.name, cloud),
                    "tenant",
                    tenant.name,
                    cloud,
                    (store.name, bases[cloud].name, *sorted(needed)),
                    (
                        *bindings,
                        *(app_certificate_keys(apps) or ((SERVICE_AUTHORITY_KEY,) if is_client else ())),
                        *own,
                        *((naming.DIGEST_KEY,) if own else ()),
                        *_registry_keys(city),
                    ),
                    tuple(sorted(called)),
                )
            )
    return stacks


def _entry_stack(
    city: City,
    placement: Placement,
    bases: dict[str, Stack],
    platforms: dict[tuple[str, str], Stack],
    tenants: list[Stack],
    interconnects: Interconnects,
    store: Stack,
    catalogue: Catalogue,
) -> tuple[Stack, ...]:
    gateway = gateway_of(city)
    cloud = city.cloud(placement.entry)
    if gateway is None and not cloud.kubernetes.ingress_class:
        return ()
    # The load balancers of a landing zone point to the entry points.
    landing = [name for name in bases[cloud.name].depends_on if cloud.has_landing_zone]
    needed = [*landing, bases[cloud.name].name]
    if gateway is not None:
        needed.append(platforms[(gateway.platform, placement.capabilities[gateway.name])].name)
    across = {(item.app.tenant, item.target) for item in interconnects.routes}
    needed += [stack.name for stack in tenants if stack.cloud == cloud.name or (stack.subject, stack.cloud) in across]
    keys = certificate_keys(city, cloud) if not cloud.kubernetes.ingress_class else ()
    sign_in = sign_in_of(city, catalogue) if gateway is not None else None
    people = people_of(city, catalogue, sign_in) if sign_in is not None else None
    asked = [item for item in (sign_in, people) if item is not None]
    # Its clients and the certificates by which the gateway knows both.
    keys = (*keys, *(naming.admin_key(item.name) for item in asked[:1]))
    if asked or any(app.serves_tls for app in city.apps):
        keys = (*keys, SERVICE_AUTHORITY_KEY)
    needed += [platforms[(item.platform, placement.capabilities[item.name])].name for item in asked]
    if keys:
        needed.insert(0, store.name)
    needed = list(dict.fromkeys(needed))
    uses = tuple(dict.fromkeys(item.name for item in (gateway, *asked) if item is not None))
    return (Stack(naming.stack_name(city.name, "entry"), "entry", "", cloud.name, tuple(needed), keys, uses),)


def _registry_keys(city: City) -> tuple[str, ...]:
    """Return the keys in the secret store of the credentials of private registries."""
    return tuple(naming.registry_key(name) for name in sorted(set(city.images.credentials.values())))


def _backup_keys(city: City, here: Iterable[Capability], catalogue: Catalogue) -> tuple[str, ...]:
    """Return the keys in the secret store of what backups need, if something `here` is backed up."""
    backup = city.compliance.backup
    if not backup.is_taken or not any(catalogue[item.type].backup for item in here):
        return ()
    return tuple(naming.backup_key(name) for name in backup.secrets)


def _notification_keys(city: City, here: Iterable[Capability]) -> tuple[str, ...]:
    """Return the keys in the secret store of what channels of messages need, if something `here` sends by them."""
    if city.notification is None or not any(item.type == NOTIFICATION for item in here):
        return ()
    return tuple(naming.notification_key(name) for name in city.notification.secrets)


def _credentials(city: City, catalogue: Catalogue, user: App | Capability, use: Use) -> tuple[str, ...]:
    """Return the keys in the secret store of the credentials generated for one use."""
    return catalogue[city.capability(use.capability).type].credential_keys(*Consumer.of(user).parts(use))


def _ordered(stacks: Iterable[Stack], interconnects: Interconnects) -> list[Stack]:
    """Sort the platforms' stacks and those in which their capabilities use each other across clouds, each after those
    whose capabilities it uses.

    Raises `ConfigurationError` for a cycle.
    """
    by_name = {stack.name: stack for stack in stacks}
    try:
        return [by_name[name] for name in in_order({name: stack.depends_on for name, stack in by_name.items()})]
    except CycleError as error:
        raise ConfigurationError(
            "the platforms use each other in a cycle: " + " → ".join(reversed(error.args[1])),
            details="\n".join(
                f"capability {item.user.name} on cloud {item.source} uses {item.capability.name} on cloud {item.target}"
                for item in interconnects.uses
                if item.consumer.group == CAPABILITY
            ),
            resolution="move one of the capabilities to the platform that uses it, or pin both to one cloud (cloud)",
        ) from None
