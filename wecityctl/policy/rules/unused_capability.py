"""Nothing is on a middle platform without a caller."""

from __future__ import annotations

from collections.abc import Iterator

from wecityctl.model.requirements import requirements
from wecityctl.policy.model import Finding, PolicyInput, Rule

WHY = """\
Every capability of a middle platform faces services and apps: nothing is there without a caller, and services that
nobody uses are retired (敏捷服务). A capability without callers costs nodes and money, has to be patched, and is one
more thing that can be broken into. It counts as used when an app that is not retired uses it, when another capability
uses it, or, for the entry point, when an app is routed. The rule is advice: a capability may well be brought
up before its first app."""


def check(policy_input: PolicyInput) -> Iterator[Finding]:
    """Capabilities that neither an app nor a capability uses."""
    city, catalogue = policy_input.city, policy_input.catalogue
    used = {use.capability for app in city.apps if app.stage != "retired" for use in app.uses}
    needed = {name for names in requirements(city.capabilities, catalogue).values() for name in names}
    routed = any(app.route is not None for app in city.apps if app.stage != "retired")
    for platform in city.platforms:
        for index, item in enumerate(platform.capabilities):
            kind = catalogue[item.type]
            # A capability without a binding is used by people, which cannot be seen here.
            called = routed if item.is_entry else kind.binding is None
            if item.name in used or item.name in needed or called:
                continue
            yield Finding(
                subject=f"capability {item.name}",
                message="no app routes through it" if item.is_entry else "no app uses it",
                resolution="take it out of the platform, or let an app use it",
                document=("Platform", platform.name),
                path=("spec", "capabilities", index),
            )


RULE = Rule(
    name="unused-capability",
    title="No capability without a caller 能力须有调用者",
    why=WHY,
    check=check,
    of_files=True,
    level="advisory",
)
