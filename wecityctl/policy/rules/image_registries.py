"""Images come from the registries that the city allows, and from nowhere else."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from wecityctl.model.city import City
from wecityctl.model.images import repository
from wecityctl.policy.admission import SPEC_CHANGED, WORKLOADS, Validation, policy, quote
from wecityctl.policy.findings import about
from wecityctl.policy.images import own_repositories, references
from wecityctl.policy.model import Finding, Manifest, PolicyInput, Rule
from wecityctl.policy.objects import workloads

NAME = "image-registries"

WHY = """\
What runs in a city is what its registries hold: there images are scanned, signed off and kept. An image pulled from
elsewhere has been looked at by nobody, may be another one tomorrow, and its name tells a stranger what the government
runs."""


def check(policy_input: PolicyInput) -> Iterable[Finding]:
    """Recorded images from anywhere else, where the city names registries."""
    if not policy_input.city.compliance.registries:
        return
    prefixes, exact = allowed(policy_input.city, policy_input.images)
    for workload in workloads(policy_input):
        for user, image in references(workload):
            if not image.startswith(prefixes) and repository(image) not in exact:
                yield about(
                    policy_input,
                    workload.stack,
                    workload.resource,
                    f"{user}: {image} is from none of the allowed registries",
                    f"take it from {', '.join(policy_input.city.compliance.registries)}, or add its registry to"
                    " compliance.registries",
                )


def allowed(city: City, images: Mapping[str, str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """What a reference may begin with, and the single repositories of the city's own services beside those."""
    registries = (*city.compliance.registries, *filter(None, [city.images.registry]))
    prefixes = tuple(dict.fromkeys(f"{item.rstrip('/')}/" for item in registries))
    return prefixes, tuple(sorted(item for item in own_repositories(images) if not item.startswith(prefixes)))


def admission(city: City, images: Mapping[str, str]) -> Iterator[Manifest]:
    """The same in the cluster; nothing where any registry will do."""
    if not city.compliance.registries:
        return
    prefixes, exact = allowed(city, images)
    known = f"{quote(prefixes)}.exists(p, i.startsWith(p))"
    if exact:
        known += f" || i.split('@')[0] in {quote(exact)} || {quote(exact)}.exists(p, i.startsWith(p + ':'))"
    yield from policy(
        city,
        NAME,
        WORKLOADS,
        [
            Validation(
                "size(variables.strange) == 0",
                f"an image is from none of the allowed registries ({', '.join(city.compliance.registries)}); push it"
                " there, or have its registry added to compliance.registries",
                "variables.strange.join(', ')",
            )
        ],
        variables=("spec", "containers", "images"),
        more_variables={"strange": f"variables.images.filter(i, !({known}))"},
        conditions=(SPEC_CHANGED,),
    )


RULE = Rule(
    name=NAME,
    title="Images from allowed registries only 镜像来源受控",
    why=WHY,
    check=check,
    controls=("8.2.4.4 镜像和快照保护",),
    admission=admission,
    applies=lambda city: bool(city.compliance.registries),
    of_objects=True,
)
