"""Each credential of an image registry is for a registry that an image of the city comes from."""

from __future__ import annotations

from collections.abc import Iterator

from wecityctl.model.city import App
from wecityctl.model.manifests import catalogue_images, images_of, owners
from wecityctl.model.registries import registry_of, resolve_image
from wecityctl.policy.model import Finding, PolicyInput, Rule

WHY = """\
A credential that nothing needs is one more to keep secret, to rotate and to lose. It is often a registry's name with a
mistake in it: its images are then pulled without a credential, and their pods do not start. With images.registry, all
images come from that registry, and credentials of others are used by nothing. The rule is advice: an app that needs the
credential may come later."""


def check(policy_input: PolicyInput) -> Iterator[Finding]:
    """Credentials for registries that no image of a capability or of an app that runs comes from."""
    city = policy_input.city
    images = city.images
    own = {image for item in city.capabilities for image in policy_input.catalogue[item.type].images}
    wanted = own.union(*(catalogue_images(owner) for owner in owners(city)))
    if not images.credentials or not wanted <= policy_input.images.keys():
        # The references of the city's own images are unknown, as in a city that cannot be placed.
        return
    references = [
        resolve_image(image, policy_input.images, images.registry)
        for owner in owners(city)
        if not isinstance(owner, App) or owner.stage != "retired"
        for image in images_of(owner)
    ]
    used = {registry_of(item) for item in (*references, *policy_input.images.values())}
    for registry in images.credentials:
        if registry not in used:
            yield Finding(
                subject="city",
                message=f"no image comes from {registry}, for which there is a credential",
                resolution=f"take it out; images come from {', '.join(sorted(used)) or 'nowhere'}",
                document=("City", city.name),
                path=("spec", "images", "credentials", registry),
            )


RULE = Rule(
    name="unused-registry",
    title="No credential without an image 凭据须有镜像",
    why=WHY,
    check=check,
    of_files=True,
    level="advisory",
    applies=lambda city: bool(city.images.credentials),
)
