"""The real API server refuses what crosses a policy rule, whoever asks, and takes what does not.

The namespaces of these tests carry no Pod Security labels, so that it is the policies that refuse.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from stacks.admin_rbac import bindings, cluster_roles
from stacks.base.kubernetes import manager
from stacks.tenants.deployers import clusterwide, namespaced
from tests.model.test_disclosure import FILES, TOKENS
from tests.policy.object_cases import NAMESPACE, OWN_IMAGES, Case, cases, namespace, strict_city
from tests.support.admission import of_city, operator
from tests.support.control_plane import ControlPlane
from tests.support.some import some
from wecityctl.model import naming
from wecityctl.model.city import City, Cloud, Compliance, Waiver, Zone
from wecityctl.model.disclosure import AUTHORIZATION, CONNECTION, QUERY, SETTING, TEXT, TOKEN, VARIABLE
from wecityctl.policy.admission import held_by
from wecityctl.policy.plain_secrets_admission import readable
from wecityctl.policy.rules import RULES, rule

pytestmark = pytest.mark.cluster

OPERATOR = "operator"
# What an operator of the cluster may do: everything in these groups, and nothing of ours.
GROUPS = ["", "apps", "batch", "networking.k8s.io", "rbac.authorization.k8s.io"]
ACTIVE_WITHIN = 20.0

CITY = strict_city()
# A second city on the same cluster, which allows every image.
OTHER = strict_city("seaside", compliance=Compliance(mlps=3))
LEGACY = Waiver("legacy", "privileged-pods", ("parks/legacy-*",), "a@x.example", "the supplier is late", "2027-01-01")


CREATED = [case for case in cases() if not case.going]
GOING = [case for case in cases() if case.going]


def held(city: City) -> list[dict[str, Any]]:
    return [of_city(item, city.name) for each in RULES for item in held_by(each, city, OWN_IMAGES)]


@pytest.fixture(scope="module")
def fenced(api_server: ControlPlane) -> Iterator[ControlPlane]:
    """A cluster with two cities' policies and roles, and namespaces in which they hold."""
    made: list[dict[str, Any]] = []
    for city in (CITY, OTHER):
        made += [*cluster_roles(city), *manager(city), *held(city)]
    made += [*operator(OPERATOR, GROUPS), *_namespaces(), *bindings(CITY, NAMESPACE)]
    made += [*namespaced(CITY.tenants[0], NAMESPACE), *clusterwide(CITY, CITY.tenants[0], [NAMESPACE])]
    api_server.kubectl("apply", "--server-side", "-f", "-", stdin=as_list(made))
    until(lambda: all(refusal(api_server, case) for case in last_of_each_rule()))
    yield api_server
    api_server.kubectl("delete", "--wait=false", "-f", "-", stdin=as_list(reversed(made)))


def _namespaces() -> Iterator[dict[str, Any]]:
    for each in (namespace(CITY.name), namespace(OTHER.name, "seaside-parks"), _plain("nobodys")):
        each["metadata"]["labels"].pop("pod-security.kubernetes.io/enforce", None)
        yield each
        name = each["metadata"]["name"]
        for account in ("default", "worker"):
            yield {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": account, "namespace": name}}
        yield _default_deny(name)


def _plain(name: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": {"colour": "grey"}}}


def _default_deny(name: str) -> dict[str, Any]:
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {"name": "default-deny", "namespace": name},
        "spec": {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]},
    }


def as_list(objects: Any) -> str:
    return json.dumps({"apiVersion": "v1", "kind": "List", "items": list(objects)})


def last_of_each_rule() -> list[Case]:
    return list({case.rule: case for case in CREATED if case.refused}.values())


def until(holds: Callable[[], bool]) -> None:
    """Wait until the API server has taken the policies up; that takes it a moment."""
    deadline = time.monotonic() + ACTIVE_WITHIN
    while not holds():
        assert time.monotonic() < deadline, "the policies are not active"
        time.sleep(0.2)


def attempt(plane: ControlPlane, *arguments: str, who: str = "", stdin: str | None = None) -> str:
    """What kubectl is told; empty when it is obeyed."""
    try:
        plane.kubectl(*arguments, *([f"--as={who}"] if who else []), stdin=stdin)
    except RuntimeError as error:
        return str(error)
    return ""


def create(plane: ControlPlane, item: dict[str, Any], who: str = "") -> str:
    return attempt(plane, "create", "--dry-run=server", "-f", "-", who=who, stdin=json.dumps(item))


def refusal(plane: ControlPlane, case: Case) -> str:
    return create(plane, case.objects[-1], case.who)


@pytest.mark.parametrize("case", CREATED, ids=str)
def test_the_api_server_judges_as_the_case_says(fenced: ControlPlane, case: Case) -> None:
    answer = refusal(fenced, case)
    if not case.refused:
        assert answer == ""
        return
    assert_refused(case, answer)


def assert_refused(case: Case, answer: str) -> None:
    assert "Forbidden" in answer
    if case.also and f"red line {case.also}: " in answer:
        return
    assert case.refused in answer
    assert f"red line {case.rule}: " in answer


@pytest.fixture(scope="module")
def leaving(fenced: ControlPlane) -> str:
    """A namespace in which the objects of the cases about going ones are being deleted, each held by a finalizer."""
    name = "redline-leaving"
    held = [_placed(case.objects[0], name, finalizers=["x.example/held"]) for case in GOING]
    fenced.kubectl("create", "-f", "-", stdin=as_list([_plain(name), *held]))
    fenced.kubectl("delete", "--wait=false", "-f", "-", stdin=as_list(held))
    labels = namespace(CITY.name, name)["metadata"]["labels"]
    fenced.kubectl("label", "namespace", name, *(f"{key}={value}" for key, value in labels.items()))
    new = _placed(_default_deny(name), name) | {"spec": {"podSelector": {}, "policyTypes": ["Egress"]}}
    until(lambda: "red line network-fences" in create(fenced, new, OPERATOR))
    return name


def _placed(item: dict[str, Any], place: str, **metadata: Any) -> dict[str, Any]:
    return {**item, "metadata": {**item["metadata"], "namespace": place, **metadata}}


@pytest.mark.parametrize("case", GOING, ids=str)
def test_what_is_being_deleted_may_go_and_not_change(fenced: ControlPlane, leaving: str, case: Case) -> None:
    before, after = case.objects
    changed = {key: value for key, value in after.items() if before[key] != value and key != "metadata"}
    patch = json.dumps({"metadata": {"finalizers": None}, **changed})
    what = (f"{after['kind'].lower()}/{after['metadata']['name']}", "-n", leaving)
    answer = attempt(fenced, "patch", *what, "--type=merge", "--dry-run=server", "-p", patch, who=case.who)
    if case.refused:
        assert_refused(case, answer)
    else:
        assert answer == ""


def test_foreground_deletion_of_a_network_policy_ends(cluster: ControlPlane) -> None:
    """The cluster's garbage collector, which is not the city's manager, takes the last finalizer off."""
    city = strict_city("leaving")
    policies = [
        *cluster_roles(city),
        *manager(city),
        *held_by(rule("network-fences"), city, OWN_IMAGES),
        *operator(OPERATOR, GROUPS),
    ]
    space = namespace(city.name, "leaving-space")
    cluster.kubectl("apply", "--server-side", "-f", "-", stdin=as_list(policies))
    cluster.kubectl("create", "-f", "-", stdin=as_list([space, _default_deny("leaving-space")]))
    try:
        deleting = ("delete", "networkpolicy", "default-deny", "-n", "leaving-space")
        until(lambda: "red line network-fences" in attempt(cluster, *deleting, "--dry-run=server", who=OPERATOR))
        # Fails after 30 seconds.
        cluster.kubectl(*deleting, "--cascade=foreground", "--timeout=30s")
    finally:
        cluster.kubectl("delete", "--wait=false", "-f", "-", stdin=as_list([space, *reversed(policies)]))


def test_nothing_is_judged_in_a_namespace_that_is_nobodys(fenced: ControlPlane) -> None:
    for case in some(case for case in CREATED if case.refused and "namespace" in case.objects[-1]["metadata"]):
        item = case.objects[-1]
        elsewhere = {**item, "metadata": {**item["metadata"], "namespace": "nobodys"}}
        assert create(fenced, elsewhere) == "", str(case)


def test_an_extranets_entry_point_may_be_at_a_balancer_that_is_there_already(fenced: ControlPlane) -> None:
    # A zone whose platform namespace no other test makes: nobody empties it here, so it is never gone.
    zones = (Zone("internet", "internet"), Zone("quayside", "government-extranet"), Zone("ex", "data-exchange"))
    vendor = Cloud("main", "tencentcloud", tuple(zone.name for zone in zones), region="ap-guangzhou")
    harbour = strict_city("harbour", clouds=(vendor,), zones=zones)
    place = naming.platform_namespace("application", "quayside")
    space = namespace(harbour.name, place, zone="quayside")
    space["metadata"]["labels"].pop("pod-security.kubernetes.io/enforce")
    held = [of_city(item, harbour.name) for item in held_by(rule("extranet-exposure"), harbour, OWN_IMAGES)]
    made = [*cluster_roles(harbour), *manager(harbour), space, *held]
    fenced.kubectl("apply", "--server-side", "-f", "-", stdin=as_list(made))

    def service(name: str, kind: str, **annotations: str) -> dict[str, Any]:
        metadata = {"name": name, "namespace": place, "annotations": annotations}
        spec = {"type": kind, "ports": [{"port": 80}]}
        return {"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": spec}

    named = {"service.kubernetes.io/tke-existed-lbid": "lb-1"}
    try:
        until(lambda: bool(create(fenced, service("entry", "LoadBalancer"))))
        # Without a name the vendor's controller would make one, on the internet.
        assert "no load balancer" in create(fenced, service("entry", "LoadBalancer"))
        assert "no load balancer" in create(
            fenced, service("entry", "LoadBalancer", **{"kubernetes.io/elb.id": "lb-1"})
        )
        assert "no load balancer" in create(fenced, service("other", "LoadBalancer", **named))
        assert create(fenced, service("entry", "LoadBalancer", **named)) == ""
        assert create(fenced, service("entry", "NodePort")) == ""
    finally:
        fenced.kubectl("delete", "--wait=false", "-f", "-", stdin=as_list(reversed(made)))


def test_each_city_holds_its_own_lines(fenced: ControlPlane) -> None:
    """The second city allows every image, and its other lines are the same."""
    by_name = {str(case): case.objects[-1] for case in cases()}
    for name, told in {
        "image-registries/fail-other-registry": "",
        "privileged-pods/fail-host-path": "seaside-",
    }.items():
        item = by_name[name]
        moved = {**item, "metadata": {**item["metadata"], "namespace": "seaside-parks"}}
        answer = create(fenced, moved)
        assert told in answer
        assert bool(answer) == bool(told)
        assert "redline" not in answer


def test_the_labels_of_a_namespace_are_changed_by_the_manager_alone(fenced: ControlPlane) -> None:
    for change in ("wecity.dev/city-", "wecity.dev/zone=internet", "pod-security.kubernetes.io/enforce=privileged"):
        labelling = ("label", "namespace", NAMESPACE, change, "--overwrite", "--dry-run=server")
        assert "red line namespace-labels" in attempt(fenced, *labelling, who=OPERATOR), change
        assert attempt(fenced, *labelling) == ""
    assert attempt(fenced, "label", "namespace", NAMESPACE, "colour=red", "--overwrite", who=OPERATOR) == ""
    assert attempt(fenced, "label", "namespace", "nobodys", "colour=red", "--overwrite", who=OPERATOR) == ""
    joining = attempt(fenced, "label", "namespace", "nobodys", "wecity.dev/city=redline", who=OPERATOR)
    assert "red line namespace-labels" in joining
    leaving = attempt(fenced, "delete", "namespace", NAMESPACE, "--dry-run=server", who=OPERATOR)
    assert "red line namespace-labels" in leaving


def test_whoever_is_given_the_managers_role_is_not_locked_out(fenced: ControlPlane) -> None:
    """An identity that is no administrator of the cluster can run `up`, once the cluster's owner says so."""
    new = namespace(CITY.name, "redline-more")
    assert "red line namespace-labels" in create(fenced, new, OPERATOR)
    binding = ("clusterrolebinding", "redline-manager")
    fenced.kubectl("create", *binding, "--clusterrole=redline-manager", f"--user={OPERATOR}")
    try:
        until(lambda: create(fenced, new, OPERATOR) == "")
        assert "red line" in create(fenced, namespace(OTHER.name, "seaside-more"), OPERATOR)
    finally:
        fenced.kubectl("delete", *binding)
    until(lambda: create(fenced, new, OPERATOR) != "")


@pytest.mark.parametrize(("who", "told"), [(OPERATOR, "are kept by the city"), ("sec@x.example", "stays as it is")])
def test_default_deny_stays(fenced: ControlPlane, who: str, told: str) -> None:
    deleting = attempt(fenced, "delete", "networkpolicy", "default-deny", "-n", NAMESPACE, "--dry-run=server", who=who)
    assert told in deleting
    opened = json.dumps([{"op": "add", "path": "/spec/ingress", "value": [{}]}])
    opening = ("patch", "networkpolicy", "default-deny", "-n", NAMESPACE, "--type=json", "-p", opened)
    answer = attempt(fenced, *opening, "--dry-run=server", who=who)
    # Which of the two policies answers is the API server's to choose.
    assert told in answer or "red line entry-zones: nothing in this zone is open to everybody" in answer


def test_somebody_who_looks_into_a_pod_is_judged_too(fenced: ControlPlane) -> None:
    (case,) = (item for item in cases() if str(item) == "privileged-pods/pass-restricted-pod")
    pod = {**case.objects[-1], "metadata": {"name": "looked-at", "namespace": NAMESPACE}}
    fenced.kubectl("create", "-f", "-", stdin=json.dumps(pod))
    container = {**pod["spec"]["containers"][0], "name": "debug", "securityContext": {"privileged": True}}
    patch = json.dumps({"spec": {"ephemeralContainers": [container]}})
    looking = ("patch", "pod", "looked-at", "-n", NAMESPACE, "--subresource=ephemeralcontainers", "-p", patch)
    try:
        assert "red line privileged-pods" in attempt(fenced, *looking)
    finally:
        fenced.kubectl("delete", "pod", "looked-at", "-n", NAMESPACE, "--force", "--grace-period=0")


BINDING = {
    "apiVersion": "rbac.authorization.k8s.io/v1",
    "kind": "ClusterRoleBinding",
    "metadata": {"name": "more"},
}


@pytest.mark.parametrize(
    ("role", "subjects", "who", "told"),
    [
        ("redline-security-admin", ["wecity:redline:system-admins"], "", "the duty of another"),
        ("redline-audit-admin", ["sec@x.example"], "", "the duty of another"),
        ("redline-audit-admin-in-city", ["sec@x.example"], "", "the duty of another"),
        ("redline-audit-admin", ["new@x.example"], OPERATOR, "are named in its files"),
        (
            "view",
            ["wecity:redline:system-admins", "wecity:redline:audit-admins"],
            "",
            "two of the three administrators",
        ),
        ("cluster-admin", ["wecity:redline:system-admins"], "", "every right there is"),
        ("redline-audit-admin", ["new@x.example"], "", ""),
        ("view", ["wecity:redline:audit-admins"], "", ""),
        ("cluster-admin", ["root@x.example"], "", ""),
    ],
)
def test_bindings_keep_the_three_administrators_apart(
    fenced: ControlPlane, role: str, subjects: list[str], who: str, told: str
) -> None:
    group = "rbac.authorization.k8s.io"
    named = [{"apiGroup": group, "kind": "User" if "@" in name else "Group", "name": name} for name in subjects]
    binding = {**BINDING, "roleRef": {"apiGroup": group, "kind": "ClusterRole", "name": role}, "subjects": named}
    answer = create(fenced, binding, who)
    assert told in answer
    assert bool(answer) == bool(told)


@pytest.mark.parametrize(
    ("duty", "may"),
    [
        ("sys", {"delete pods", "list nodes"}),
        ("sec", {"update networkpolicies", "list clusterrolebindings"}),
        ("aud", {"list events", "list clusterrolebindings"}),
    ],
)
def test_the_three_may_do_their_own_duty_in_the_citys_namespaces_alone(
    fenced: ControlPlane, duty: str, may: set[str]
) -> None:
    who = f"{duty}@x.example"
    wide = {"list nodes", "list clusterrolebindings"}
    asked = {"create pods", "delete pods", "update networkpolicies", "list events", *wide}

    def allowed(namespace: str) -> set[str]:
        return {each for each in asked if not attempt(fenced, "auth", "can-i", *each.split(), "-n", namespace, who=who)}

    assert allowed(NAMESPACE) == may
    for elsewhere in ("nobodys", "kube-system", "seaside-parks"):
        assert allowed(elsewhere) == may & wide


def test_a_waiver_lets_its_subject_pass_and_nobody_else(fenced: ControlPlane) -> None:
    (case,) = (item for item in cases() if str(item) == "privileged-pods/fail-host-path")
    waiving = strict_city(waivers=(LEGACY,))
    try:
        fenced.kubectl("apply", "--server-side", "-f", "-", stdin=as_list(held(waiving)))
        legacy = json.loads(json.dumps(case.objects[-1]))
        legacy["metadata"]["labels"]["app.kubernetes.io/name"] = "legacy-map"
        until(lambda: create(fenced, legacy) == "")
        assert "red line privileged-pods" in refusal(fenced, case)
        foreign = {**legacy, "metadata": {**legacy["metadata"], "namespace": "seaside-parks"}}
        assert "red line privileged-pods" in create(fenced, foreign)
    finally:
        fenced.kubectl("apply", "--server-side", "-f", "-", stdin=as_list(held(CITY)))
    until(lambda: "red line privileged-pods" in create(fenced, legacy))


def test_a_pod_from_before_can_still_lose_its_finalizer(api_server: ControlPlane, fenced: ControlPlane) -> None:
    """What is there already is left to run and to go: only a change of its containers is judged."""
    (case,) = (item for item in cases() if str(item) == "privileged-pods/fail-host-path")
    pod = json.loads(json.dumps(case.objects[-1]))
    pod["metadata"] |= {"name": "older", "namespace": "nobodys", "finalizers": ["x.example/held"]}
    fenced.kubectl("create", "-f", "-", stdin=json.dumps(pod))
    fenced.kubectl("label", "namespace", "nobodys", "wecity.dev/city=redline")
    try:
        until(lambda: create(fenced, {**pod, "metadata": {"name": "newer", "namespace": "nobodys"}}) != "")
        freeing = ("patch", "pod", "older", "-n", "nobodys", "--type=merge", "-p", '{"metadata":{"finalizers":null}}')
        assert attempt(fenced, *freeing) == ""
    finally:
        fenced.kubectl("label", "namespace", "nobodys", "wecity.dev/city-")
        attempt(fenced, "delete", "pod", "older", "-n", "nobodys", "--force", "--grace-period=0")


def test_a_namespace_that_goes_takes_its_policies_with_it(fenced: ControlPlane) -> None:
    """Whatever clears a namespace out, such as the cluster's own controllers, need not be the manager."""
    going = namespace(CITY.name, "redline-going")
    fenced.kubectl("create", "-f", "-", stdin=as_list([going, _default_deny("redline-going")]))
    deleting = ("delete", "networkpolicy", "default-deny", "-n", "redline-going")
    assert "red line network-fences" in attempt(fenced, *deleting, "--dry-run=server", who=OPERATOR)
    fenced.kubectl("delete", "namespace", "redline-going", "--wait=false")
    until(lambda: attempt(fenced, *deleting, "--ignore-not-found", who=OPERATOR) == "")


GATEWAY_GROUP = "gateway.networking.k8s.io"


def _definition(kind: str) -> dict[str, Any]:
    plural = f"{kind.lower()}s"
    schema = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {
            "name": f"{plural}.{GATEWAY_GROUP}",
            "annotations": {"api-approved.kubernetes.io": "unapproved, for a test"},
        },
        "spec": {
            "group": GATEWAY_GROUP,
            "scope": "Namespaced",
            "names": {"kind": kind, "plural": plural},
            "versions": [{"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": schema}}],
        },
    }


def test_a_gateway_in_an_extranet_is_refused_and_a_route_is_the_managers(fenced: ControlPlane) -> None:
    kinds = [_definition("Gateway"), _definition("HTTPRoute"), _definition("ListenerSet")]
    fenced.kubectl("apply", "-f", "-", stdin=as_list(kinds))
    try:
        gateway, route, listeners = (
            {
                "apiVersion": f"{GATEWAY_GROUP}/v1",
                "kind": kind,
                "metadata": {"name": "way", "namespace": NAMESPACE},
                "spec": {},
            }
            for kind in ("Gateway", "HTTPRoute", "ListenerSet")
        )
        until(lambda: "has no gateway of its own" in create(fenced, gateway))
        until(lambda: "has no gateway of its own" in create(fenced, listeners))
        until(lambda: create(fenced, route) == "")
        elsewhere = {**gateway, "metadata": {"name": "way", "namespace": "nobodys"}}
        assert create(fenced, elsewhere) == ""
    finally:
        fenced.kubectl("delete", "--wait=false", "-f", "-", stdin=as_list(kinds))


def test_files_are_judged_as_the_rule_judges_them(fenced: ControlPlane) -> None:
    for path in FILES:
        metadata = {"name": "file", "namespace": NAMESPACE}
        item = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {path.name: path.read_text()}}
        answer = create(fenced, item)
        assert ("has a secret in clear" in answer) == (path.parent.name == "secret"), (path.name, answer)
        assert bool(answer) == (path.parent.name == "secret"), (path.name, answer)
    for token in TOKENS:
        assert "has a secret in clear" in create(fenced, {**item, "data": {"notes.txt": f"key: {token}"}}), token


def test_a_volume_with_one_writer_gets_no_second_by_its_number_alone(fenced: ControlPlane) -> None:
    (case,) = (item for item in cases() if str(item) == "single-writer/pass-one-pod-over-a-claim")
    made = {**case.objects[0], "metadata": {"name": "store", "namespace": NAMESPACE}}
    other = json.loads(json.dumps(made))
    other["metadata"]["name"] = "counters"
    other["spec"]["template"]["spec"].pop("volumes")
    fenced.kubectl("apply", "--server-side", "-f", "-", stdin=as_list([made, other]))

    def scale(name: str, count: int) -> str:
        return attempt(fenced, "scale", f"statefulset/{name}", f"--replicas={count}", "-n", NAMESPACE)

    try:
        until(lambda: "write one volume" in scale("store", 2))
        assert "write one volume" in attempt(
            fenced, "patch", "statefulset/store", "-n", NAMESPACE, "-p", '{"spec":{"replicas":2}}'
        )
        # None, and one again; others by any number.
        assert scale("store", 0) == "" and scale("store", 1) == "" and scale("counters", 3) == ""
    finally:
        fenced.kubectl("delete", "statefulset", "store", "counters", "-n", NAMESPACE)


def test_large_objects_fit_the_servers_budget(fenced: ControlPlane) -> None:
    """An expression that costs too much fails, and would refuse what nobody meant to."""
    (case,) = (item for item in cases() if str(item) == "privileged-pods/pass-restricted-pod")
    pod = json.loads(json.dumps(case.objects[-1]))
    (first,) = pod["spec"]["containers"]
    env = [{"name": f"SETTING_{number}", "value": f"http://host-{number}:8080/" + "x" * 40} for number in range(100)]
    pod["spec"]["containers"] = [{**first, "name": f"c{number}", "env": env} for number in range(40)]
    assert create(fenced, pod) == ""
    text = "endpoint: http://service:8080/path\n"
    for count, size in ((1, 1_000_000), (60, 6_000)):
        data = {f"file-{number}": text * (size // len(text)) for number in range(count)}
        metadata = {"name": "large", "namespace": NAMESPACE}
        assert create(fenced, {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data}) == ""
    # As large as each pattern of theirs reads, and full of what is worth a look.
    line = "db.password=${DB_PASSWORD} # see https://wiki.example/db\n"
    for pattern in (TEXT, CONNECTION, QUERY, TOKEN, AUTHORIZATION, VARIABLE, SETTING):
        rest = readable(pattern) - 100 * len(line) - 10
        data = {"app.conf": line * 100 + text * (rest // len(text))}
        assert create(fenced, {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data}) == ""
    data["key"] = "-----BEGIN PRIVATE KEY-----"
    large = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data}
    assert "has a secret in clear" in create(fenced, large)
