"""What several apps bring along themselves belongs on a middle platform."""

from __future__ import annotations

from collections.abc import Iterator

from wecityctl.model.images import repository
from wecityctl.model.registries import is_of_catalogue
from wecityctl.model.words import some
from wecityctl.policy.model import Finding, PolicyInput, Rule

WHY = """\
Sink what is common 共性下沉: a capability that two or more apps need becomes a service of a middle platform. Two apps
that run the same image for one of their components each pay for it, patch it and keep data in it that the other cannot
see; as a capability it is run once, has an owner and is open to the next app. The rule compares images without their
tag or digest. Images of the city's own catalogue are common already. It is advice: the same base image under two
different programs is no service."""


def check(policy_input: PolicyInput) -> Iterator[Finding]:
    """Images that are components of two or more apps."""
    found: dict[str, list[tuple[str, tuple[str, str], tuple[str | int, ...]]]] = {}
    for app in policy_input.city.apps:
        name = f"{app.tenant}/{app.name}"
        for index, part in enumerate(app.components if app.runs else ()):
            if part.canary is None and not is_of_catalogue(part.image):
                place = (name, ("App", name), ("spec", "components", index, "image"))
                found.setdefault(repository(part.image), []).append(place)
    for image, places in found.items():
        apps = list(dict.fromkeys(name for name, _, _ in places))
        if len(apps) > 1:
            _, document, path = next(place for place in places if place[0] == apps[1])
            yield Finding(
                subject=f"image {image}",
                message=f"{some(apps)} each run a component of their own from it",
                resolution="make it a capability of a platform and let the apps use it",
                document=document,
                path=path,
            )


RULE = Rule(
    name="common-capability",
    title="What apps have in common is a capability 共性下沉",
    why=WHY,
    check=check,
    of_files=True,
    level="advisory",
)
