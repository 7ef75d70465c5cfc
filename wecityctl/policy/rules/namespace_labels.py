"""The labels by which every other line is drawn are the city's: whose a namespace is, its zone, its Pod Security."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from wecityctl.model import naming
from wecityctl.model.city import City
from wecityctl.model.naming import CITY_LABEL
from wecityctl.policy.admission import MANAGE, Validation, may, policy, quote, resources
from wecityctl.policy.findings import about
from wecityctl.policy.model import Finding, Manifest, PolicyInput, Rule
from wecityctl.policy.objects import labels_of

NAME = "namespace-labels"

WHY = """\
Which zone a namespace belongs to, whose it is and how strict it is with pods are labels, and every network policy and
admission policy goes by them. Whoever can change a label can walk through every other line without breaking it: move
a namespace into another zone, or lower its Pod Security. So the labels belong to the city's manager, and nobody else
may set, change or remove them."""
POD_SECURITY = "pod-security.kubernetes.io"
PREFIXES = (f"{naming.LABEL_PREFIX}/", f"{POD_SECURITY}/")
LEVEL = "restricted"


def check(policy_input: PolicyInput) -> Iterable[Finding]:
    """Recorded namespaces that do not say whose they are, or ask for less than restricted pods."""
    for recording, item in policy_input.objects("Namespace"):
        labels = labels_of(item)
        faults = []
        if labels.get(CITY_LABEL) != policy_input.city.name:
            faults.append(f"does not carry the label {CITY_LABEL}={policy_input.city.name}")
        if labels.get(f"{POD_SECURITY}/enforce") != LEVEL:
            faults.append(f"does not enforce Pod Security level {LEVEL}")
        for fault in faults:
            resolution = "make it with the labels that every namespace of a city has"
            yield about(policy_input, recording.stack, item, fault, resolution)


def admission(city: City, _: Mapping[str, str]) -> Iterator[Manifest]:
    """Namespaces of the city are made, relabelled and removed by its manager alone.

    The binding selects by object, before or after the change, so that the city's label cannot be taken off either.
    Both subresources of a namespace take its labels too; whoever writes them only as they are is let pass.
    """
    guarded = f"{quote(PREFIXES)}.exists(p, k.startsWith(p))"
    manages = may(city, MANAGE)
    return policy(
        city,
        NAME,
        [resources("", "namespaces", "namespaces/status", "namespaces/finalize", delete=True)],
        [
            Validation(
                f"request.operation == 'UPDATE' || {manages}",
                f"namespaces of the city {city.name} are made and removed by `wecityctl`; change the city's files",
            ),
            Validation(
                "request.operation != 'UPDATE' || ("
                f"variables.new.all(k, !{guarded} || variables.old[?k].orValue('') == variables.new[k])"
                f" && variables.old.all(k, !{guarded} || k in variables.new)) || {manages}",
                f"the labels {' and '.join(f'{item}*' for item in PREFIXES)} say where the red lines run;"
                " `wecityctl` sets them from the city's files",
            ),
        ],
        match={"objectSelector": {"matchLabels": {CITY_LABEL: city.name}}},
        more_variables={
            "new": "request.operation == 'DELETE' ? {} : object.metadata.?labels.orValue({})",
            "old": "request.operation == 'CREATE' ? {} : oldObject.metadata.?labels.orValue({})",
        },
        waivable=False,
    )


RULE = Rule(
    name=NAME,
    title="Namespaces keep their labels 命名空间标签受控",
    why=WHY,
    check=check,
    veto=True,
    controls=("8.1.4.2 访问控制", "8.1.3.1 边界防护"),
    admission=admission,
    of_objects=True,
)
