"""No password, token or private key stands in clear in what the stacks register."""

from __future__ import annotations

from base64 import b64decode
from collections.abc import Iterator, Mapping
from typing import TypeGuard

from wecityctl.model.disclosure import file_holds_a_secret, names_a_secret, value_holds_a_secret, words_hold_a_secret
from wecityctl.policy.model import Finding, PolicyInput, Rule
from wecityctl.policy.objects import Workload, name_of, namespace_of, source_of, workloads
from wecityctl.policy.plain_secrets_admission import admission
from wecityctl.resource_graph import SECRET, UNKNOWN

WHY = """\
What stands in clear in a ConfigMap, in a container's environment or on its command line is read by everybody who may
list pods, lies unencrypted in the cluster's store and in backups, and is shown by previews and logs. A secret belongs
into the city's secret store: the state keeps it encrypted, and pods get it as a Secret that only they mount. The files
of the city are checked for secrets in clear when they are read; this rule looks at what comes of them, so that a
capability's program or a template that puts one into a ConfigMap is found too. Marks go by the names of variables,
settings and options (`--password=…`), and by the shape of keys, tokens and of URLs, headers and connection strings with
passwords. In settings of programs (JSON, YAML, ini, properties) a password may be any word but a label such as
`Passwort`; in translations and programs only what is no word of a language counts. References, paths, switches and
empty values are none; a default such as `changeme` is one. What looks like a secret and is none gets a waiver."""

ADVICE = "name it in the component's `secrets`; the value belongs in the city's secret store"


def check(policy_input: PolicyInput) -> Iterator[Finding]:
    """ConfigMaps and containers that hold a secret in clear."""
    for recording, item in policy_input.objects("ConfigMap"):
        for kind in ("data", "binaryData"):
            for key, value in (item.inputs.get(kind) or {}).items():
                text = _decoded(value) if kind == "binaryData" else value
                if _is_clear(text) and (names_a_secret(key, text) or file_holds_a_secret(key, text)):
                    source = source_of(policy_input, item)
                    place = f"ConfigMap {namespace_of(item)}/{name_of(item)}"
                    message = f"{place} has a secret in clear under {key!r}"
                    yield Finding(source.subject, message, ADVICE, recording.stack, source.document, source.path)
    for workload in workloads(policy_input):
        for place in _in_clear(workload):
            source = source_of(policy_input, workload.resource)
            message = f"{workload.resource.name}: {place} has a secret in clear"
            yield Finding(source.subject, message, ADVICE, workload.stack, source.document, source.path)


def _in_clear(workload: Workload) -> Iterator[str]:
    """The variables and arguments of the pods' containers that hold a secret."""
    for container in workload.containers:
        name = container.get("name", "")
        for entry in container.get("env") or ():
            value = entry.get("value")
            if _is_clear(value) and (names_a_secret(str(entry.get("name", "")), value) or value_holds_a_secret(value)):
                yield f"variable {entry['name']!r} of container {name!r}"
        for kind in ("command", "args"):
            if words_hold_a_secret([text for text in container.get(kind) or () if _is_clear(text)]):
                yield f"the {kind} of container {name!r}"


def _is_clear(value: object) -> TypeGuard[str]:
    """Whether it is a text whose letters are known."""
    return isinstance(value, str) and value not in (SECRET, UNKNOWN)


def _decoded(value: object) -> object:
    """What a value of `binaryData` stands for; what is no base64, as it is."""
    if not _is_clear(value):
        return value
    try:
        return b64decode(value).decode("latin-1")
    except ValueError:
        return value


def evidence(policy_input: PolicyInput) -> Iterator[str]:
    """How many Secrets there are, whose values the state encrypts."""
    count = sum(1 for _, item in policy_input.objects("Secret") if isinstance(item.inputs, Mapping))
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
