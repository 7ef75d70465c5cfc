"""Shared capabilities speak TLS."""

from __future__ import annotations

from collections.abc import Iterator

from wecityctl.model.service_tls import speaks_tls
from wecityctl.policy.model import Finding, PolicyInput, Rule

WHY = """\
What an app sends to a database or a cache is its data, and to a cache its password as well. Network policies say who
may connect; they keep nobody on the way from reading or changing it. Capabilities whose type can do so speak TLS with a
certificate of the city's own authority and refuse plain connections, unless the files say `tls: false`, for a client
that cannot, say. The rule is advice: it tells what is not encrypted, whoever has decided it."""


def check(policy_input: PolicyInput) -> Iterator[Finding]:
    """Capabilities whose TLS the files turn off."""
    for platform in policy_input.city.platforms:
        for index, item in enumerate(platform.capabilities):
            if policy_input.catalogue[item.type].tls and not speaks_tls(item, policy_input.catalogue):
                yield Finding(
                    subject=f"capability {item.name}",
                    message="apps speak to it in plain text: its TLS is turned off",
                    resolution="remove tls: false, and let its clients check the server with ca.crt of their bindings",
                    document=("Platform", platform.name),
                    path=("spec", "capabilities", index, "tls"),
                )


def evidence(policy_input: PolicyInput) -> Iterator[str]:
    """How apps speak to each capability that they can bind to."""
    for item in policy_input.city.capabilities:
        kind = policy_input.catalogue[item.type]
        if kind.binding:
            is_tls = speaks_tls(item, policy_input.catalogue)
            how = "TLS with a certificate of the city's own authority" if is_tls else "in plain text"
            by_itself = kind.is_always_encrypted and not is_tls
            yield f"capability {item.name}: {'encrypted by its protocol' if by_itself else how}"


RULE = Rule(
    name="plain-capability",
    title="Shared capabilities speak TLS 共享能力加密传输",
    why=WHY,
    check=check,
    level="advisory",
    controls=("8.1.2.2 通信传输", "8.1.4.8 数据保密性"),
    evidence=evidence,
    of_files=True,
)
