"""Builds ValidatingAdmissionPolicies as manifests: the parts that the rules' policies share. Pure functions.

Every policy belongs to one city: it has the city's name, and its binding selects by the city's label. So two cities on
one cluster do not affect each other, and other objects are not validated. Each rule defines what its policy rejects.

Source of the format: admissionregistration.k8s.io/v1. Expressions use `dyn`, because one policy validates several kinds
and the API server would otherwise warn about every field that one of them lacks.
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

# A resource that no server serves, used for RBAC only: the cluster's RBAC decides who may `manage` or `fence` a city.
GUARDED_GROUP = naming.LABEL_PREFIX
GUARDED_RESOURCE = "cities"
MANAGE = "manage"
FENCE = "fence"
# A tenant of a city, in the same group and not served either. Who may `deploy` it runs `up` for this tenant only.
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
    # A reference without a host means `docker.io/library/`; CRI and registries agree on that.
    "images": (
        "(variables.containers.map(c, c.?image.orValue(''))"
        " + variables.spec.?volumes.orValue([]).filter(v, has(v.image)).map(v, v.image.?reference.orValue(''))).map(i,"
        " !i.contains('/') ? 'docker.io/library/' + i :"
        " (i.split('/')[0].matches('[.:]') || i.split('/')[0] == 'localhost') ? i : 'docker.io/' + i)"
    ),
}


@dataclass(frozen=True, slots=True)
class Validation:
    """What must hold, and the message otherwise: the rule that was broken, then what to do.

    `detail` is an expression whose value is appended to the message.
    """

    expression: str
    message: str
    detail: str = ""


def resources(group: str, *names: str, versions: Sequence[str] = ("v1",), delete: bool = False) -> Manifest:
    """A resource rule for creations and updates, and with `delete` for deletions."""
    return {
        "apiGroups": [group],
        "apiVersions": list(versions),
        "operations": ["CREATE", "UPDATE", *(["DELETE"] if delete else [])],
        "resources": list(names),
    }


# Workloads are validated as well as pods: who applies a Deployment gets the error at once. Of their subresources, only
# this one changes containers; status, scale and resize do not.
WORKLOADS = (
    resources("", "pods", "pods/ephemeralcontainers", "replicationcontrollers"),
    resources("apps", "deployments", "statefulsets", "daemonsets", "replicasets"),
    resources("batch", "jobs", "cronjobs"),
)

# A pod that is older than the policy can still lose a finalizer and be deleted. Its containers are validated when they
# change.
SPEC_CHANGED = {
    "name": "spec-changed",
    "expression": "request.operation == 'CREATE' || dyn(object).spec != dyn(oldObject).spec",
}

# An object that is being deleted may lose its finalizers, no matter who removes them: the garbage collector and other
# controllers of the cluster are not the city's manager. The object is in force until it is gone, so any other change is
# validated.
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
    """A policy and its binding.

    `variables` names some of `VARIABLES`. `match` is the binding's, by default `in_city`. `parameters` is a kind
    (apiVersion, kind): every object of it in the request's namespace is `params` once. `name` is the rule's name,
    unless a rule has several policies. The policy allows what the city's waivers of the rule cover, and updates that
    only remove finalizers from an object that is being deleted.
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
    """The policies that enforce `rule` in each of the city's clusters. For an advisory rule they only warn."""
    if rule.admission is None:
        return
    advisory = not rule.veto and rule.level_for(city) == "advisory"
    for manifest in rule.admission(city, images):
        if advisory and manifest["kind"] == "ValidatingAdmissionPolicyBinding":
            yield {**manifest, "spec": {**manifest["spec"], "validationActions": ["Warn", "Audit"]}}
        else:
            yield manifest


def may(city: City, verb: str) -> str:
    """An expression: the requester has the right to `manage` or `fence` this city.

    The cluster's own authorizer decides. So an administrator of the cluster (system:masters, or a role with all rights)
    has the right without being named anywhere.
    """
    return (
        f"authorizer.group({quote(GUARDED_GROUP)}).resource({quote(GUARDED_RESOURCE)})"
        f".name({quote(city.name)}).check({quote(verb)}).allowed()"
    )


def deploys(city: City) -> str:
    """An expression: the requester may `deploy` the tenant of the request's namespace, and may not `manage` the city.

    It needs `namespaceObject`, so it can be used in validations and variables but not in match conditions.
    """
    tenant = f"namespaceObject.metadata.?labels[?{quote(TENANT_LABEL)}].orValue('')"
    name = f"{quote(tenant_resource(city.name, ''))} + {tenant}"
    deploying = f"authorizer.group({quote(GUARDED_GROUP)}).resource({quote(TENANT_RESOURCE)}).name({name})"
    return f"!({may(city, MANAGE)}) && {deploying}.check({quote(DEPLOY)}).allowed()"


def tenant_resource(city: str, tenant: str) -> str:
    """The resource name of a tenant among the resources that no server serves."""
    return f"{city}.{tenant}"


def right(city: City, *verbs: str) -> Manifest:
    """The RBAC rule that grants these rights over the city."""
    return {
        "apiGroups": [GUARDED_GROUP],
        "resources": [GUARDED_RESOURCE],
        "resourceNames": [city.name],
        "verbs": list(verbs),
    }


def quote(value: Any) -> str:
    """A string, or a list of strings, as a CEL literal.

    CEL has all escapes of JSON, except that JSON writes a character beyond U+FFFF as two.
    """
    return "".join(map(_escaped, json.dumps(value, ensure_ascii=False)))


def _escaped(character: str) -> str:
    if character.isascii():
        return character
    code = ord(character)
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def waived_expression(city: City, rule: str) -> str:
    """An expression: a waiver of `rule` covers one of the object's subjects. Empty if there is no waiver.

    Dates are not checked here: stacks get a city with the waivers that are valid on the day of the run.
    """
    patterns = sorted({text for waiver in city.waivers if waiver.rule == rule for text in waiver.subjects})
    if not patterns:
        return ""
    expression = "^(" + "|".join(map(_matching, patterns)) + ")$"
    return f"{_COVERED}{quote(expression)}))"


# The beginning of the expression that allows what waivers cover; an RE2 pattern follows.
_COVERED = "variables.subjects.exists(s, s.matches("


def lets_pass(waiver: Waiver, policy: Mapping[str, Any]) -> bool:
    """Whether an admission policy of the waiver's rule allows what the waiver covers."""
    patterns = {quote(_matching(text))[1:-1] for text in waiver.subjects}
    for text in _texts(policy.get("spec")):
        # Alternatives are separated by bars that are not escaped.
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


# The same names as a finding's subject (`wecityctl.policy.objects.source_of`). In a tenant's namespace, the tenant
# comes from the namespace's label, which only the city's manager can change.
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
    """Literal text in an RE2 pattern, whose escapes differ from Python's."""
    return "".join(f"\\{char}" if char in r"\.+*?()|[]{}^$" else char for char in text)
