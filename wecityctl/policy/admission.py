"""ValidatingAdmissionPolicies as manifests: the parts that the rules' own policies share. Pure functions.

Every policy is a city's own: it carries the city's name, and its binding selects by the city's label, so that two
cities on one cluster do not meet and nothing of anybody else's is judged. What a policy refuses is the rule's business.

Source of the shape: admissionregistration.k8s.io/v1. Expressions go through `dyn`, because one policy judges several
kinds and the API server would otherwise warn of every field that one of them lacks.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from wecityctl.model import naming
from wecityctl.model.city import City, Waiver
from wecityctl.model.naming import CITY_LABEL, NAME_LABEL, PART_OF_LABEL, TENANT_LABEL, ZONE_LABEL
from wecityctl.policy.model import Manifest, Rule

# A resource that no server serves, made for RBAC alone: who may `manage` or `fence` a city is who its cluster says.
GUARDED_GROUP = naming.LABEL_PREFIX
GUARDED_RESOURCE = "cities"
MANAGE = "manage"
FENCE = "fence"
# A tenant of a city, of the same group and as little served: who may `deploy` it runs `up` for it and nothing else.
TENANT_RESOURCE = "tenants"
DEPLOY = "deploy"

VARIABLES: Mapping[str, str] = {
    "spec": (
        "object.kind == 'Pod' ? dyn(object).spec : object.kind == 'CronJob'"
        " ? dyn(object).spec.jobTemplate.spec.template.spec : dyn(object).spec.template.spec"
    ),
    "containers": (
        "variables.spec.?containers.orValue([]) + variables.spec.?initContainers.orValue([])"
        " + variables.spec.?ephemeralContainers.orValue([])"
    ),
    # `docker.io/library/` is what a reference without a host means; CRI and registries agree on that.
    "images": (
        "(variables.containers.map(c, c.?image.orValue(''))"
        " + variables.spec.?volumes.orValue([]).filter(v, has(v.image)).map(v, v.image.?reference.orValue(''))).map(i,"
        " !i.contains('/') ? 'docker.io/library/' + i :"
        " (i.split('/')[0].matches('[.:]') || i.split('/')[0] == 'localhost') ? i : 'docker.io/' + i)"
    ),
}


@dataclass(frozen=True, slots=True)
class Validation:
    """What must hold, and what is said where it does not: the line that was crossed, then what to do.

    `detail` is an expression whose value is added to the message.
    """

    expression: str
    message: str
    detail: str = ""


def resources(group: str, *names: str, versions: Sequence[str] = ("v1",), delete: bool = False) -> Manifest:
    """A resource rule over creations and updates, and over deletions where asked."""
    return {
        "apiGroups": [group],
        "apiVersions": list(versions),
        "operations": ["CREATE", "UPDATE", *(["DELETE"] if delete else [])],
        "resources": list(names),
    }


# Workloads too, not their pods alone: who applies a Deployment is told at once and not by pods that never come.
# Of their subresources only this one changes containers: a status, a scale and a resize leave them as they are.
WORKLOADS = (
    resources("", "pods", "pods/ephemeralcontainers", "replicationcontrollers"),
    resources("apps", "deployments", "statefulsets", "daemonsets", "replicasets"),
    resources("batch", "jobs", "cronjobs"),
)

# A pod from before the policy can still lose a finalizer and go; its containers are judged when they change.
SPEC_CHANGED = {
    "name": "spec-changed",
    "expression": "request.operation == 'CREATE' || dyn(object).spec != dyn(oldObject).spec",
}

# What is being deleted may lose its finalizers, whoever takes them off: the garbage collector and other controllers of
# the cluster are not the city's manager. An object counts until it is gone, so a change of anything else is judged.
_STATED = ("spec", "data", "binaryData", "stringData", "rules", "roleRef", "subjects")
_NOT_ONLY_GOING = {
    "name": "not-only-going",
    "expression": (
        "request.operation != 'UPDATE' || !has(oldObject.metadata.deletionTimestamp)"
        f" || {json.dumps(_STATED)}.exists(f, dyn(object)[?f] != dyn(oldObject)[?f])"
        " || ['labels', 'annotations'].exists(f, dyn(object).metadata[?f] != dyn(oldObject).metadata[?f])"
    ),
}


def in_city(city: City, zones: Sequence[str] | None = None) -> Manifest:
    """The match of a binding: objects in the city's namespaces, or in those of some of its zones."""
    selector: Manifest = {"matchLabels": {CITY_LABEL: city.name}}
    if zones is not None:
        selector["matchExpressions"] = [{"key": ZONE_LABEL, "operator": "In", "values": list(zones)}]
    return {"namespaceSelector": selector}


def policy(
    city: City,
    rule: str,
    constraints: Sequence[Manifest],
    validations: Sequence[Validation],
    *,
    name: str = "",
    match: Manifest | None = None,
    variables: Sequence[str] = (),
    more_variables: Mapping[str, str] | None = None,
    conditions: Sequence[Manifest] = (),
    parameters: Manifest | None = None,
    waivable: bool = True,
) -> Iterator[Manifest]:
    """A policy and its binding. `variables` name those of `VARIABLES`; `match` is the binding's, by default `in_city`.
    `parameters` is the kind (apiVersion, kind) of which every object in the request's namespace is `params` once.

    `name` is the rule's unless a rule has several policies. What the city's waivers of the rule cover is let pass, and
    so are updates that only take finalizers off an object that is being deleted.
    """
    full_name = policy_name(city, name or rule)
    declared = [{"name": key, "expression": VARIABLES[key]} for key in variables]
    declared += [{"name": key, "expression": text} for key, text in (more_variables or {}).items()]
    waived = waived_expression(city, rule) if waivable else ""
    if waived:
        declared.append({"name": "subjects", "expression": _SUBJECTS})
        declared.append({"name": "waived", "expression": waived})
    spec: Manifest = {
        "failurePolicy": "Fail",
        "matchConstraints": {"matchPolicy": "Equivalent", "resourceRules": list(constraints)},
        "matchConditions": [_NOT_ONLY_GOING, *conditions],
        "validations": [_validation(rule, item, waived=bool(waived)) for item in validations],
    }
    if declared:
        spec["variables"] = declared
    if parameters is not None:
        spec["paramKind"] = parameters
    yield {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "ValidatingAdmissionPolicy",
        "metadata": {"name": full_name},
        "spec": spec,
    }
    binding: Manifest = {"policyName": full_name, "validationActions": ["Deny"]}
    if parameters is not None:
        binding["paramRef"] = {"selector": {}, "parameterNotFoundAction": "Allow"}
    matched = in_city(city) if match is None else match
    if matched:
        binding["matchResources"] = matched
    yield {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "ValidatingAdmissionPolicyBinding",
        "metadata": {"name": full_name},
        "spec": binding,
    }


def policy_name(city: City, name: str) -> str:
    """The name of a city's admission policy and of its binding."""
    return naming.fit(f"{city.name}-{name}")


def held_by(rule: Rule, city: City, images: Mapping[str, str]) -> Iterator[Manifest]:
    """What holds `rule` in each of the city's clusters; where the rule is advisory, it warns and refuses nothing."""
    if rule.admission is None:
        return
    advisory = not rule.veto and rule.level_for(city) == "advisory"
    for manifest in rule.admission(city, images):
        if advisory and manifest["kind"] == "ValidatingAdmissionPolicyBinding":
            yield {**manifest, "spec": {**manifest["spec"], "validationActions": ["Warn", "Audit"]}}
        else:
            yield manifest


def may(city: City, verb: str) -> str:
    """The expression: whoever asks has the right to `manage` or `fence` this city.

    It is the cluster's own authorizer that is asked, so an administrator of the cluster (system:masters, or a role
    that holds everything) has it without being named anywhere.
    """
    return (
        f"authorizer.group({quote(GUARDED_GROUP)}).resource({quote(GUARDED_RESOURCE)})"
        f".name({quote(city.name)}).check({quote(verb)}).allowed()"
    )


def deploys(city: City) -> str:
    """The expression: whoever asks may `deploy` the tenant of the request's namespace, and not `manage` the city.

    It needs the `namespaceObject`, so it fits validations and variables, and no match condition.
    """
    tenant = f"namespaceObject.metadata.?labels[?{quote(TENANT_LABEL)}].orValue('')"
    name = f"{quote(tenant_resource(city.name, ''))} + {tenant}"
    deploying = f"authorizer.group({quote(GUARDED_GROUP)}).resource({quote(TENANT_RESOURCE)}).name({name})"
    return f"!({may(city, MANAGE)}) && {deploying}.check({quote(DEPLOY)}).allowed()"


def tenant_resource(city: str, tenant: str) -> str:
    """The name of a tenant among the resources that no server serves."""
    return f"{city}.{tenant}"


def right(city: City, *verbs: str) -> Manifest:
    """The RBAC rule that gives these rights over the city."""
    return {
        "apiGroups": [GUARDED_GROUP],
        "resources": [GUARDED_RESOURCE],
        "resourceNames": [city.name],
        "verbs": list(verbs),
    }


def quote(value: Any) -> str:
    """A string, or a list of strings, as a literal of CEL.

    JSON's escapes are all CEL's as well, except that JSON writes a character beyond U+FFFF as two.
    """
    return "".join(map(_escaped, json.dumps(value, ensure_ascii=False)))


def _escaped(character: str) -> str:
    if character.isascii():
        return character
    code = ord(character)
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def waived_expression(city: City, rule: str) -> str:
    """Whether one of the object's subjects is covered by a waiver of `rule`; empty where there is none.

    Here there is no calendar: stacks are given a city with the waivers that hold on the day of the run.
    """
    patterns = sorted({text for waiver in city.waivers if waiver.rule == rule for text in waiver.subjects})
    if not patterns:
        return ""
    expression = "^(" + "|".join(map(_matching, patterns)) + ")$"
    return f"{_COVERED}{quote(expression)}))"


# How the part of an expression begins that lets pass what waivers cover: a pattern of RE2 follows.
_COVERED = "variables.subjects.exists(s, s.matches("


def lets_pass(waiver: Waiver, policy: Mapping[str, Any]) -> bool:
    """Whether an admission policy of the waiver's rule lets pass what the waiver covers."""
    patterns = {quote(_matching(text))[1:-1] for text in waiver.subjects}
    for text in _texts(policy.get("spec")):
        # Alternatives are told apart by bars that are no literal text.
        _, _, covered = text.partition(f'{_COVERED}"^(')
        if patterns & set(re.split(r"(?<!\\)[|]", covered.partition(')$"')[0])):
            return True
    return False


def _matching(pattern: str) -> str:
    return ".*".join(map(_escape, pattern.split("*")))


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping | list | tuple):
        for item in value.values() if isinstance(value, Mapping) else value:
            yield from _texts(item)


# The same names as a finding's subject (`wecityctl.policy.objects.source_of`). In a tenant's namespace the tenant is
# what the namespace says, which nobody but the city's manager can change.
_SUBJECTS = (
    "namespaceObject == null ? [request.kind.kind + ' ' + request.name] :"
    f" [namespaceObject.metadata.?labels[?'{TENANT_LABEL}'].orValue("
    f"dyn(object).metadata.?labels[?'{PART_OF_LABEL}'].orValue(''))"
    f" + '/' + dyn(object).metadata.?labels[?'{NAME_LABEL}'].orValue(''),"
    f" namespaceObject.metadata.?labels[?'{TENANT_LABEL}'].hasValue() ? '' :"
    f" 'capability ' + dyn(object).metadata.?labels[?'{NAME_LABEL}'].orValue(''),"
    " request.kind.kind + ' ' + request.namespace + '/' + request.name]"
)


def _validation(rule: str, item: Validation, *, waived: bool) -> Manifest:
    message = f"red line {rule}: {item.message}"
    manifest: Manifest = {
        "expression": f"variables.waived || ({item.expression})" if waived else item.expression,
        "message": message,
        "reason": "Forbidden",
    }
    if item.detail:
        manifest["messageExpression"] = f"{quote(message)} + ' – ' + {item.detail}"
    return manifest


def _escape(text: str) -> str:
    """Literal text in RE2, whose escapes are not Python's."""
    return "".join(f"\\{char}" if char in r"\.+*?()|[]{}^$" else char for char in text)
