"""Where commercial cryptography is required, everything that encrypts can do it, or is refused."""

from __future__ import annotations

from collections.abc import Iterator

from wecityctl.model.vendors import vendors
from wecityctl.policy.landing import is_key, is_sm_key, landing_zones
from wecityctl.policy.model import Finding, PolicyInput, Rule

WHY = """\
The Cryptography Law and the commercial-cryptography assessment 密评 (GB/T 39786) ask important systems to use SM2, SM3
and SM4 国密. A city says so with compliance.sm. Nothing may then fall back to AES or RSA in silence: each cloud must
have a key management with SM keys, the keys that its landing zone makes must be of that kind, and every capability must
be one whose engine offers SM for what it stores and sends. What has none is an error. A city that may keep a part of
its systems outside of the assessment waives that part, with an owner, a reason and a date."""


def _sm_keys() -> dict[str, str]:
    """The specifications of SM keys of the vendors that have some, by provider."""
    return {name: vendor.sm_keys for name, vendor in vendors().items() if vendor.sm_keys}


def check(policy_input: PolicyInput) -> Iterator[Finding]:
    """Clouds, keys and capabilities without SM where it is required."""
    if policy_input.city.compliance.sm:
        yield from _clouds(policy_input)
        yield from _keys(policy_input)
        yield from _capabilities(policy_input)


def _clouds(policy_input: PolicyInput) -> Iterator[Finding]:
    known = _sm_keys()
    for cloud in policy_input.city.clouds:
        if cloud.provider not in known:
            yield Finding(
                subject=f"cloud {cloud.name}",
                message=f"the city requires SM cryptography, and provider {cloud.provider} has no SM keys",
                resolution=f"use a cloud that has: {', '.join(known)}",
                document=("Cloud", cloud.name),
                path=("spec", "provider"),
            )


def _keys(policy_input: PolicyInput) -> Iterator[Finding]:
    known = _sm_keys()
    for cloud, recording in landing_zones(policy_input):
        keys = [item for item in recording.resources if is_key(item)]
        if cloud.provider not in known:
            continue
        faults = [f"key {item.name} is of another algorithm" for item in keys if not is_sm_key(item)]
        for fault in faults or ([] if keys else ["its landing zone makes no key"]):
            yield Finding(
                subject=f"cloud {cloud.name}",
                message=f"the city requires SM cryptography, and {fault}",
                resolution=f"make it one of {known[cloud.provider]}",
                stack=recording.stack,
                document=("Cloud", cloud.name),
                path=("spec", "provider"),
            )


def _capabilities(policy_input: PolicyInput) -> Iterator[Finding]:
    for platform in policy_input.city.platforms:
        for index, item in enumerate(platform.capabilities):
            kind = policy_input.catalogue[item.type]
            if not kind.sm:
                yield Finding(
                    subject=f"capability {item.name}",
                    message=f"the city requires SM cryptography, and {item.engine or kind.engines[0]} offers none",
                    resolution="use a capability whose type offers SM, such as a partner's",
                    document=("Platform", platform.name),
                    path=("spec", "capabilities", index),
                )


def evidence(policy_input: PolicyInput) -> Iterator[str]:
    """The keys of SM algorithms that landing zones would make."""
    for cloud, recording in landing_zones(policy_input):
        for item in recording.resources:
            if is_key(item) and is_sm_key(item):
                yield f"cloud {cloud.name}: key {item.name} is of an SM algorithm"


RULE = Rule(
    name="sm-cryptography",
    title="SM cryptography where it is required 国密",
    why=WHY,
    check=check,
    controls=("8.1.2.2 通信传输", "8.1.4.7 数据完整性", "8.1.4.8 数据保密性"),
    evidence=evidence,
    applies=lambda city: city.compliance.sm,
    enforced="elsewhere",
)
