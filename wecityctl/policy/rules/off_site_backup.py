"""Backups lie in another region than the data they are made of."""

from __future__ import annotations

from collections.abc import Iterator

from wecityctl.policy.data import lodgings
from wecityctl.policy.model import Finding, PolicyInput, Rule

WHY = """\
A backup beside the data burns, floods and is encrypted by the same intruder together with it. From level 3 on GB/T
22239 asks for a backup at another place 异地备份. The files should name a backup target, in another region than every
cloud on which running apps keep data. A cloud whose region is not said could be the very same place, so it should be
said. Where the data may go at all is the business of its class: the target's region is held against the city's
residency too. All of this is advice. With `endpoint` the city takes backups, and the compliance report looks at the
target for the newest complete one of each account; without it, what the files say is declared and not enforced."""


def check(policy_input: PolicyInput) -> Iterator[Finding]:
    """No backup target, or one that may be in the region of the data."""
    city = policy_input.city
    clouds = {place.cloud.name for place in lodgings(policy_input) if place.capability and place.cloud is not None}
    backup = city.compliance.backup
    document = ("City", city.name)
    if clouds and not backup.target:
        message = f"there is no backup target, and data is kept on {', '.join(sorted(clouds))}"
        resolution = "name an object store in another region under compliance.backup"
        path: tuple[str, ...] = ("spec", "compliance", "backup")
        yield Finding("city", message, resolution, document=document, path=path, unsaid=True)
        return
    for name in sorted(clouds):
        region = city.cloud(name).region
        if not region:
            message = f"data is kept on cloud {name!r} of no known region, so its backups may lie beside it"
            resolution = "say in the Cloud's spec.region where it lies"
            yield Finding(
                f"cloud {name}", message, resolution, document=("Cloud", name), path=("spec", "region"), unsaid=True
            )
        elif region == backup.region:
            message = f"backups of what is kept on cloud {name!r} lie in the same region {region!r}"
            resolution = "name a backup target in another region"
            path = ("spec", "compliance", "backup", "region")
            yield Finding(f"cloud {name}", message, resolution, document=document, path=path)


def evidence(policy_input: PolicyInput) -> Iterator[str]:
    """The target that the files name."""
    backup = policy_input.city.compliance.backup
    if backup.is_taken:
        yield f"backups go to {backup.target} in region {backup.region} by the schedule {backup.schedule!r}"
    elif backup.target:
        yield f"backups are to go to {backup.target} in region {backup.region}; nothing takes them"


RULE = Rule(
    name="off-site-backup",
    title="Backups lie in another region 异地备份",
    why=WHY,
    check=check,
    mlps=3,
    controls=("8.1.4.9 数据备份恢复",),
    evidence=evidence,
    observed=lambda city: city.compliance.backup.is_taken,
    enforced="nobody",
)
