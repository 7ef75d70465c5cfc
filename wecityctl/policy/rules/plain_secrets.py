"""No password, token or private key stands in clear in what the stacks register."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from wecityctl.graph import SECRET, UNKNOWN
from wecityctl.model.disclosure import holds_a_secret, names_a_secret
from wecityctl.policy.model import Finding, Posture, Rule
from wecityctl.policy.objects import Workload, name_of, namespace_of, source_of, workloads
from wecityctl.policy.plain_secrets_admission import admission

WHY = """\
What stands in clear in a ConfigMap, in a container's environment or on its command line is read by everybody who may
list pods, lies unencrypted in the cluster's store and in backups, and is shown by previews and logs. A secret belongs
into the city's secret store: the state keeps it encrypted, and pods get it as a Secret that only they mount. The files
of the city are checked for secrets in clear when they are read; this rule looks at what comes of them, so that a
capability's program or a template that puts one into a ConfigMap is found too. Marks go by the names of variables and
by the shape of private keys and of URLs with passwords: what looks like a secret and is none gets a waiver."""

ADVICE = "name it in the component's `secrets`; the value belongs in the city's secret store"


def check(posture: Posture) -> Iterator[Finding]:
    """ConfigMaps and containers that hold a secret in clear."""
    for recording, item in posture.objects("ConfigMap"):
        for kind in ("data", "binaryData"):
            for key, value in (item.inputs.get(kind) or {}).items():
                if _discloses(key, value):
                    source = source_of(posture, item)
                    place = f"ConfigMap {namespace_of(item)}/{name_of(item)}"
                    message = f"{place} has a secret in clear under {key!r}"
                    yield Finding(source.subject, message, ADVICE, recording.stack, source.document, source.path)
    for workload in workloads(posture):
        for place in _in_clear(workload):
            source = source_of(posture, workload.resource)
            message = f"{workload.resource.name}: {place} has a secret in clear"
            yield Finding(source.subject, message, ADVICE, workload.stack, source.document, source.path)


def _in_clear(workload: Workload) -> Iterator[str]:
    """The variables and arguments of the pods' containers that hold a secret."""
    for container in workload.containers:
        name = container.get("name", "")
        for entry in container.get("env") or ():
            if _discloses(str(entry.get("name", "")), entry.get("value")):
                yield f"variable {entry['name']!r} of container {name!r}"
        for kind in ("command", "args"):
            if any(isinstance(text, str) and holds_a_secret(text) for text in container.get(kind) or ()):
                yield f"the {kind} of container {name!r}"


def _discloses(name: str, value: object) -> bool:
    if not isinstance(value, str) or value in (SECRET, UNKNOWN):
        return False
    return names_a_secret(name, value) or holds_a_secret(value)


def evidence(posture: Posture) -> Iterator[str]:
    """How many Secrets there are, whose values the state encrypts."""
    count = sum(1 for _, item in posture.objects("Secret") if isinstance(item.inputs, Mapping))
    if count:
        yield f"{count} Secrets get their values from the encrypted state"


RULE = Rule(
    name="plain-secrets",
    title="No secret in clear 禁止明文密钥",
    why=WHY,
    check=check,
    controls=("8.1.4.1 身份鉴别", "8.1.4.8 数据保密性"),
    admission=admission,
    evidence=evidence,
    of_objects=True,
)
