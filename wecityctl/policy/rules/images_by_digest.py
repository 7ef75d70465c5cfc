"""Where the city asks for it, images are named by digest: what was examined is what runs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from wecityctl.model.city import City
from wecityctl.policy.admission import SPEC_CHANGED, WORKLOADS, Validation, policy, quote
from wecityctl.policy.findings import about
from wecityctl.policy.images import built_repositories, has_digest, references
from wecityctl.policy.model import Finding, Manifest, PolicyInput, Rule
from wecityctl.policy.objects import workloads

NAME = "images-by-digest"

WHY = """\
A tag is a promise that whoever may push can break. With the digest in the reference the image that was tested and
signed off is the one that starts, on every node and after every restart. The city's own images that this program builds
are named by what they are made of, under built.wecity.invalid, a name that no registry can serve."""


def check(policy_input: PolicyInput) -> Iterable[Finding]:
    """Recorded images that a registry could exchange for others under the same name."""
    if not policy_input.city.compliance.image_digests:
        return
    built = built_repositories(policy_input.images)
    for workload in workloads(policy_input):
        for user, image in references(workload):
            if not has_digest(image, built):
                yield about(
                    policy_input,
                    workload.stack,
                    workload.resource,
                    f"{user}: {image} is named by a tag alone",
                    "add @sha256:… to the reference; for the city's own services name it in images.digests",
                )


def admission(city: City, images: Mapping[str, str]) -> Iterator[Manifest]:
    """The same in the cluster; nothing where tags will do."""
    if not city.compliance.image_digests:
        return
    known = "i.matches('@sha256:[0-9a-f]{64}$')"
    if built := built_repositories(images):
        known += f" || {quote(built)}.exists(p, i.startsWith(p + ':'))"
    yield from policy(
        city,
        NAME,
        WORKLOADS,
        [
            Validation(
                "size(variables.loose) == 0",
                "an image is named by a tag alone; add its digest, @sha256:…",
                "variables.loose.join(', ')",
            )
        ],
        variables=("spec", "containers", "images"),
        more_variables={"loose": f"variables.images.filter(i, !({known}))"},
        conditions=(SPEC_CHANGED,),
    )


RULE = Rule(
    name=NAME,
    title="Images by digest 镜像按摘要引用",
    why=WHY,
    check=check,
    controls=("8.2.4.4 镜像和快照保护", "8.1.4.7 数据完整性"),
    admission=admission,
    applies=lambda city: city.compliance.image_digests,
    of_objects=True,
)
