"""Departments that deploy themselves: on an adopted cluster, each with a user of its own who may deploy its tenant.

What they may do is done, side by side; all else is tried with the same credentials. The tests follow each other.
"""

from __future__ import annotations

import copy
import json
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from stacks.tenants.quota import LEAST
from tests.e2e.files import CityFiles, app, hamlet
from tests.e2e.machine import Cluster, Machine, machine, objects_in_state
from tests.support.s3_server import S3Server, deployers_policy, s3_server
from wecityctl.model.naming import SIMULATED_LABEL
from wecityctl.toolchain import locate

pytestmark = pytest.mark.cluster

NAME = "quay"
PASSPHRASE = "two keepers, one lighthouse"
ROLE = Path(__file__).parents[2] / "docs/reference/operator-role.yaml"
TENANTS = ("parks", "library")
ACCOUNT = "system:serviceaccount:default:{}-ci"


@dataclass(frozen=True, slots=True)
class Quay:
    """The city; `files` are the operator's, `of` a tenant's deployer's: the same but for the kubeconfig."""

    operator: Machine
    files: CityFiles
    cluster: Cluster
    backend: Path
    desks: dict[str, Machine]

    def of(self, tenant: str) -> CityFiles:
        """The files as the deployer of a tenant has them checked out."""
        copied = self.files.copy(self.operator.root / f"{tenant}-city")
        copied.cloud["spec"]["kubernetes"] = {"kubeconfig": str(self.kubeconfig(tenant))}
        return copied.save()

    def kubeconfig(self, who: str) -> Path:
        return self.operator.root / f"{who}.kubeconfig"

    def token(self, who: str) -> Path:
        return self.operator.root / f"{who}.token"

    def kubectl(self, tenant: str) -> Cluster:
        """kubectl with a deployer's credentials."""
        return Cluster(self.kubeconfig(tenant))

    def states(self) -> dict[str, bytes]:
        """The state of every stack, as it is stored."""
        return {path.name: path.read_bytes() for path in (self.backend / ".pulumi" / "stacks").rglob("*.json")}


def _credentials(cluster: Cluster, account: str, path: Path, token_file: Path | None = None) -> Path:
    """The kubeconfig of a service account, which stands for a user of the cluster's sign-in; with its token in it, or
    in a file beside it."""
    cluster.kubectl("create", "serviceaccount", account, "-n", "default")
    config = yaml.safe_load(cluster.kubeconfig.read_text())
    token = cluster.kubectl("create", "token", account, "-n", "default", "--duration=24h").strip()
    config["users"][0]["user"] = {"tokenFile": str(token_file)} if token_file else {"token": token}
    if token_file:
        token_file.write_text(token)
    path.write_text(yaml.safe_dump(config))
    path.chmod(0o600)
    return path


@pytest.fixture(scope="module")
def quay(home: Machine) -> Iterator[Quay]:
    home.run("local", "start", "--name", "lab", "--nodes", "simulated")
    cluster = Cluster(home.state / "clouds" / "lab" / "kubeconfig")
    cluster.kubectl("taint", "nodes", "--all", f"{SIMULATED_LABEL}-")
    cluster.kubectl("apply", "-f", str(ROLE))
    bound = ("--clusterrole=wecityctl", "--serviceaccount=default:operator")
    cluster.kubectl("create", "clusterrolebinding", "wecityctl", *bound)
    with machine(PASSPHRASE) as operator, machine(PASSPHRASE) as parks, machine(PASSPHRASE) as library:
        access = _credentials(
            cluster, "operator", operator.root / "operator.kubeconfig", operator.root / "operator.token"
        )
        for tenant in TENANTS:
            _credentials(cluster, f"{tenant}-ci", operator.root / f"{tenant}.kubeconfig")
        backend = operator.root / "share"
        cloud = {"provider": "kubernetes", "kubernetes": {"kubeconfig": str(access)}}
        files = hamlet(operator.root / "city", NAME, cloud, backend=f"file://{backend}", tenants=TENANTS)
        for tenant in TENANTS:
            files.one("Tenant", tenant)["spec"]["deployers"] = [ACCOUNT.format(tenant)]
        yield Quay(operator, files.save(), cluster, backend, {"parks": parks, "library": library})


def test_the_operator_brings_the_city_up_with_its_deployers(quay: Quay) -> None:
    quay.operator.run("up", quay.files, "--yes")
    assert set(objects_in_state(quay.backend, NAME)) == quay.cluster.objects_of(NAME)
    assert "nothing to change" in quay.operator.run("preview", quay.files, "--detailed-exitcode").out


def test_a_deployer_changes_an_app_and_makes_one(quay: Quay) -> None:
    quay.files.component("parks-app")["env"] = {"SEASON": "summer"}
    ponds = app("ponds", "parks")
    part = {"image": "catalogue:sample-app", "resources": {"cpu": "20m", "memory": "64Mi"}}
    ponds["spec"]["components"] += [
        {**part, "name": "migrate", "run": "before-release"},
        {**part, "name": "report", "schedule": "0 3 * * *"},
        {**part, "name": "files", "volumes": [{"name": "uploads", "path": "/data", "size": "64Mi"}]},
    ]
    quay.files.add("parks.yaml", ponds)
    quay.files.save()
    done = quay.desks["parks"].run("up", quay.of("parks"), "--only", "parks", "--yes", "-o", "json")
    assert "update Deployment parks-internet/parks-app-web" in done.changes()
    assert "create Deployment parks-internet/ponds-web" in done.changes()
    assert "create StatefulSet parks-internet/ponds-files" in done.changes()
    assert "create CronJob parks-internet/ponds-report" in done.changes()
    assert done.stack("tenant.parks.main")["outcome"] == "succeeded"
    assert done.stack("base.main")["outcome"] == "skipped"
    again = quay.desks["parks"].run("up", quay.of("parks"), "--only", "parks", "--yes")
    assert "nothing to change" in again.out
    theirs = quay.backend / ".wecity" / "releases" / NAME / "library.json"
    own = {"update Deployment parks-internet/parks-app-web"}
    for decision in ("undo", "retry"):
        done = quay.desks["parks"].run("rollout", decision, quay.of("parks"), "parks-app", "--yes", "-o", "json")
        assert done.changes() == own
    # What it may not undo is not left to the operator's next run either.
    (before,) = json.loads(theirs.read_text())["apps"]
    foreign = quay.of("parks")
    foreign.component("library-app")["env"] = {"SEASON": "winter"}
    refused = quay.desks["parks"].run("rollout", "undo", foreign.save(), "library-app", "--yes", code=3)
    assert f"manage cities.wecity.dev/{NAME}" in refused.err
    (after,) = json.loads(theirs.read_text())["apps"]
    assert after == before | {"generation": before["generation"] + 2}
    # Nothing was asked that is not a deployer's and then let go of.
    assert "Unclosed" not in done.err + again.err


def test_the_operator_serves_the_new_app_and_sees_nothing_else_to_change(quay: Quay) -> None:
    """Routes are the entry point's, which all tenants share."""
    done = quay.operator.run("up", quay.files, "--yes", "-o", "json")
    assert done.stack("entry")["outcome"] == "succeeded"
    assert not [item for item in done.result()["stacks"] if item["changes"] and not item["stack"].endswith("entry")]
    assert "nothing to change" in quay.operator.run("preview", quay.files, "--detailed-exitcode").out
    assert set(objects_in_state(quay.backend, NAME)) == quay.cluster.objects_of(NAME)


def test_a_deployer_looks_into_its_own_apps_alone(quay: Quay) -> None:
    parks, files = quay.desks["parks"], quay.of("parks")
    own = parks.run("events", files, "parks-app", "-o", "json").json()
    assert own["namespace"] == "parks-internet"
    assert any(item["kind"] == "Pod" for item in own["events"])
    for command, right in (("logs", "list pods"), ("events", "list events")):
        done = parks.run(command, files, "library-app", code=3)
        assert f"the right is missing to {right} in namespace library-internet" in done.err
    # What runs is what the files say: nobody enters a container.
    for words, right in (
        (("exec", files, "parks-app/web", "--", "ls"), "create pods/exec"),
        (("open", files, "parks-app/web", "--forward"), "create pods/portforward"),
    ):
        done = parks.run(*words, code=3)
        assert f"the right is missing to {right} in namespace parks-internet" in done.err
    tried = [
        item
        for item in parks.run("history", files, "-o", "json").json()["updates"]
        if item["operation"] in ("exec", "forward")
    ]
    assert [item["result"] for item in tried] == ["failed", "failed"]
    assert all(item["who"].endswith(f" as {ACCOUNT.format('parks')}") for item in tried)


def test_two_deployers_side_by_side(quay: Quay) -> None:
    for tenant in TENANTS:
        quay.files.component(f"{tenant}-app")["env"] = {"SEASON": "autumn"}
    quay.files.save()
    of = {tenant: quay.of(tenant) for tenant in TENANTS}
    with (
        quay.desks["parks"].running("up", of["parks"], "--only", "parks", "--yes") as one,
        quay.desks["library"].running("up", of["library"], "--only", "library", "--yes") as two,
    ):
        told = [each.communicate(timeout=200)[0] for each in (one, two)]
    assert (one.returncode, two.returncode) == (0, 0), told
    for tenant in TENANTS:
        found = quay.cluster.get("deployment", f"{tenant}-app-web", "-n", f"{tenant}-internet")
        env = found["spec"]["template"]["spec"]["containers"][0]["env"]
        assert {"name": "SEASON", "value": "autumn"} in env


def test_what_is_no_deployers_is_refused_before_anything_is_done(quay: Quay) -> None:
    """Exit code 3, and the message names the missing right."""
    quay.files.component("library-app")["env"] = {"SEASON": "winter"}
    quay.files.save()
    parks, files, before = quay.desks["parks"], quay.of("parks"), quay.states()
    refused = [
        ("up", files, "--yes"),
        ("up", files, "--yes", "--only", "library"),
        ("up", files, "--yes", "--only", "parks", "--only", "base"),
        ("up", files, "--yes", "--only", "application", f"--confirm={NAME}", "--take-over"),
        ("destroy", files, f"--confirm={NAME}"),
        ("destroy", files, f"--confirm={NAME}", "--only", "library"),
        ("destroy", files, f"--confirm={NAME}", "--only", "parks", "--delete-data"),
        ("refresh", files),
        ("policy", "refresh", files, "--yes"),
    ]
    for command in refused:
        done = parks.run(*command, code=3)
        assert f"manage cities.wecity.dev/{NAME}" in done.err, done
        assert "→" in done.err
    assert quay.states() == before


def test_changes_of_what_bounds_a_tenant_are_the_operators(quay: Quay) -> None:
    quay.files.one("Tenant", "parks")["spec"]["quota"]["cpu"] = "200"
    quay.files.component("parks-app")["env"] = {"SEASON": "spring"}
    before = quay.states()
    done = quay.desks["parks"].run("up", quay.of("parks"), "--only", "parks", "--yes", code=3)
    assert "patch resourcequotas in namespace parks-internet" in done.err
    assert "nothing was changed" in done.err
    assert "--only parks" in done.err
    assert quay.states() == before
    quay.files.one("Tenant", "parks")["spec"]["quota"]["cpu"] = "2"
    # A first use of a capability: its password, and the Job that makes its account with the administrator's.
    quay.files.add("parks.yaml", app("meadows", "parks", uses=({"capability": "cache", "as": "store"},)))
    done = quay.desks["parks"].run("up", quay.of("parks"), "--only", "parks", "--yes", code=3)
    assert "the secret store lacks 1 value" in done.err
    assert quay.states() == before
    quay.files.remove("App", "meadows")


def test_drift_of_what_a_deployer_builds_on_is_the_operators(quay: Quay) -> None:
    quay.cluster.kubectl("delete", "priorityclass", f"{NAME}-platform")
    done = quay.desks["parks"].run("up", quay.of("parks"), "--only", "parks", "--yes", "-o", "json")
    assert done.changes() == {"update Deployment parks-internet/parks-app-web"}
    done = quay.operator.run("up", quay.files, "--yes", "--only", "base", "-o", "json")
    assert f"create PriorityClass {NAME}-platform" in done.changes()


def test_a_deployer_has_no_right_beyond_its_namespaces(quay: Quay) -> None:
    """All that the authorizer gives in any namespace that is not the tenant's, and over the whole cluster."""
    for place in ("library-internet", "platform-application", "kube-system", "default"):
        assert _rights(quay.kubectl("parks"), place) == {
            ("deploy", "tenants.wecity.dev", f"{NAME}.parks"),
            ("get", "namespaces", "kube-system"),
            ("get", "namespaces", "parks-internet"),
        }, place


def _rights(who: Cluster, place: str) -> set[tuple[str, str, str]]:
    """(verb, resource, name) of everything that is given in a namespace, but what everybody has who has signed in."""
    review = {"apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectRulesReview", "spec": {"namespace": place}}
    status = json.loads(who.kubectl("create", "--validate=false", "-f", "-", "-o", "json", stdin=json.dumps(review)))[
        "status"
    ]
    assert not status["incomplete"]
    found = {
        (verb, f"{resource}.{group}" if group else resource, name)
        for rule in status["resourceRules"]
        for verb in rule["verbs"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for name in rule.get("resourceNames") or [""]
    }
    return {right for right in found if not right[1].startswith("self")}


def test_within_its_namespaces_a_deployer_writes_apps_and_no_more(quay: Quay) -> None:
    parks, space = quay.kubectl("parks"), ("-n", "parks-internet")
    tried: list[tuple[str, ...]] = [
        ("label", "namespace", "parks-internet", "pod-security.kubernetes.io/enforce=privileged", "--overwrite"),
        ("delete", "namespace", "parks-internet"),
        ("delete", "networkpolicy", "default-deny", *space),
        ("delete", "networkpolicy", "allow-dns", *space),
        ("patch", "networkpolicy", "allow-dns", *space, "--type=merge", "-p", '{"spec": {"egress": [{}]}}'),
        ("patch", "resourcequota", "quota", *space, "--type=merge", "-p", '{"spec": {"hard": {"requests.cpu": "99"}}}'),
        ("delete", "resourcequota", "quota", *space),
        ("delete", "limitrange", "defaults", *space),
        ("delete", "role", "tenant-deployer", *space),
        ("create", "rolebinding", "mine", "--clusterrole=cluster-admin", "--user=x", *space),
        ("create", "role", "mine", "--verb=*", "--resource=*", *space),
        ("create", "clusterrolebinding", "mine", "--clusterrole=cluster-admin", "--user=x"),
        ("run", "shell", "--image=registry.example/shell", *space),
        ("exec", "-it", "deploy/parks-app-web", *space, "--", "id"),
        ("create", "token", "parks-app", *space),
        ("create", "token", "operator", "-n", "default"),
        ("get", "pods", *space, "--as=system:admin"),
        ("get", "nodes"),
        ("get", "secrets", "-A"),
        ("delete", "validatingadmissionpolicy", f"{NAME}-privileged-pods"),
        ("delete", "clusterrole", f"{NAME}.parks.deployer"),
        ("get", "secret", "-n", "library-internet"),
        ("get", "secret", "-n", "platform-application"),
        ("delete", "deployment", "--all", "-n", "library-internet"),
    ]
    for command in tried:
        assert "orbidden" in parks.kubectl(*command, code=1), command
    for item in _objects(quay):
        refused = item["metadata"].pop("refused")
        told = parks.kubectl("create", "--dry-run=server", "-f", "-", stdin=json.dumps(item), code=None)
        assert refused in told if refused else "created" in told, (item, told)


def test_a_tenant_takes_no_more_of_the_cluster_than_its_quota(quay: Quay) -> None:
    """Neither by what its pods use past what they request, nor by the number of its objects."""
    template = quay.cluster.get("deployment", "parks-app-web", "-n", "parks-internet")["spec"]["template"]
    for resource, hard in (("memory", "limits.memory"), ("ephemeral-storage", "limits.ephemeral-storage")):
        pod = _object("v1", "Pod", "", spec=copy.deepcopy(template["spec"]))
        pod["metadata"] = {"name": "tried", "namespace": "parks-internet", "labels": template["metadata"]["labels"]}
        of = pod["spec"]["containers"][0]["resources"]
        of["requests"][resource], of["limits"][resource] = "1Mi", "500Gi"
        told = quay.cluster.kubectl("create", "--dry-run=server", "-f", "-", stdin=json.dumps(pod), code=1)
        assert f"exceeded quota: quota, requested: {hard}=500Gi" in told, told
    many = [_object("v1", "Service", "", spec={"ports": [{"port": 80}]}) for _ in range(2 * LEAST)]
    for number, service in enumerate(many):
        named = {"name": f"many-{number}", "namespace": "parks-internet", "labels": {"many": "yes"}}
        service["metadata"] = named
    made = {"apiVersion": "v1", "kind": "List", "items": many}
    told = quay.kubectl("parks").kubectl("create", "-f", "-", stdin=json.dumps(made), code=1)
    assert "exceeded quota: quota, requested: services=1" in told, told
    quay.kubectl("library").kubectl("create", "service", "clusterip", "own", "--tcp=80", "-n", "library-internet")
    quay.kubectl("library").kubectl("delete", "service", "own", "-n", "library-internet")
    quay.kubectl("parks").kubectl("delete", "service", "-l", "many=yes", "-n", "parks-internet")


def _objects(quay: Quay) -> Iterator[dict[str, Any]]:
    """Objects of a deployer's kinds; each says in its metadata with which words it is refused, if it is."""
    live = quay.cluster.get("deployment", "parks-app-web", "-n", "parks-internet")
    spec = live["spec"]["template"]["spec"]
    red = "red line "
    pods: list[tuple[str, dict[str, Any]]] = [
        ("", {}),
        (f"{red}privileged-pods", {"hostNetwork": True}),
        (f"{red}privileged-pods", {"volumes": [*spec["volumes"], {"name": "root", "hostPath": {"path": "/"}}]}),
        (f"{red}tenant-deployers", {"priorityClassName": "system-node-critical"}),
        (f"{red}tenant-deployers", {"priorityClassName": f"{NAME}-platform"}),
        (f"{red}tenant-deployers", {"nodeName": "simulated-0"}),
        (f"{red}tenant-deployers", {"nodeSelector": {"kubernetes.io/hostname": "simulated-0"}}),
    ]
    for refused, more in pods:
        template = {**live["spec"]["template"], "spec": {**spec, **more}}
        yield _object("apps/v1", "Deployment", refused, spec={**live["spec"], "template": template})
    services: list[tuple[str, dict[str, Any]]] = [
        ("", {}),
        (f"{red}tenant-deployers", {"type": "NodePort"}),
        (f"{red}tenant-deployers", {"type": "LoadBalancer"}),
        (f"{red}tenant-deployers", {"type": "ExternalName", "externalName": "registry.example"}),
        (f"{red}tenant-deployers", {"externalIPs": ["203.0.113.7"]}),
    ]
    for refused, more in services:
        yield _object("v1", "Service", refused, spec={"ports": [{"port": 80}], "selector": {"a": "b"}, **more})
    token = {"kubernetes.io/service-account.name": "parks-app"}
    yield _object(
        "v1", "Secret", f"{red}tenant-deployers", type="kubernetes.io/service-account-token", annotations=token
    )
    own = {"matchLabels": {"app.kubernetes.io/part-of": "parks"}}
    cache = {
        "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "platform-application"}},
        "podSelector": {"matchLabels": {"app.kubernetes.io/name": "cache"}},
    }
    gateway = {**cache, "podSelector": {"matchLabels": {"app.kubernetes.io/name": "gateway"}}}
    other = {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "library-internet"}}}
    policies: list[tuple[str, dict[str, Any]]] = [
        ("", {"podSelector": own, "ingress": [{"from": [{"podSelector": own}]}]}),
        ("", {"podSelector": own, "ingress": [{"from": [gateway]}]}),
        ("", {"podSelector": own, "egress": [{"to": [cache]}]}),
        (f"{red}network-fences", {"podSelector": {}, "egress": [{"to": [cache]}]}),
        (f"{red}network-fences", {"podSelector": own, "egress": [{"to": [gateway]}]}),
        (f"{red}network-fences", {"podSelector": own, "egress": [{"to": [other]}]}),
        (f"{red}network-fences", {"podSelector": own, "egress": [{}]}),
        (f"{red}network-fences", {"podSelector": own, "egress": [{"to": [{"ipBlock": {"cidr": "0.0.0.0/0"}}]}]}),
        (f"{red}network-fences", {"podSelector": own, "ingress": [{"from": [other]}]}),
        (f"{red}network-fences", {"podSelector": own, "ingress": [{}]}),
        (f"{red}network-fences", {"podSelector": own, "ingress": [{"from": [{"namespaceSelector": {}}]}]}),
    ]
    for refused, spec in policies:
        types = [name for name, rules in (("Ingress", "ingress"), ("Egress", "egress")) if rules in spec]
        yield _object("networking.k8s.io/v1", "NetworkPolicy", refused, spec={**spec, "policyTypes": types})


def _object(api_version: str, kind: str, refused: str, annotations: Any = None, **content: Any) -> dict[str, Any]:
    metadata = {"name": "tried", "namespace": "parks-internet", "annotations": annotations or {}, "refused": refused}
    return {"apiVersion": api_version, "kind": kind, "metadata": metadata, **content}


def test_no_state_has_the_credentials_of_an_operator_with_a_token_file(quay: Quay) -> None:
    """Whoever has the passphrase and may read a stack reads the kubeconfig of its last run."""
    token = quay.token("operator").read_text()
    told = quay.operator.run("env", quay.files, "-o", "json").json()
    command = [str(locate("pulumi")), "-C", told["directory"], "stack", "export", "--show-secrets", "--stack"]
    for stack in (f"{NAME}.base.main", f"{NAME}.platform.application.main"):
        done = subprocess.run(
            [*command, stack],
            env=quay.operator.environment(**told["variables"]),
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        )
        assert "tokenFile" in done.stdout
        assert token not in done.stdout


def test_on_s3_a_deployers_keys_write_its_own_stack_alone(quay: Quay) -> None:
    stack, keys = f"{NAME}.tenant.parks.main", ("parkskey", "parkssecret0123")
    with s3_server(quay.operator.root, "states", iam=True) as s3:
        s3.add_user(*keys)
        s3.put_policy("states", deployers_policy(keys[0], stack, NAME))
        root, own = s3.environment, s3.environment_of(*keys)
        quay.operator.run("state", "move", quay.files, "--to", s3.url("states"), "--yes", env=root)
        next(quay.files.documents("City"))["spec"]["state"]["backend"] = s3.url("states")
        quay.files.component("parks-app")["env"] = {"SEASON": "monsoon"}
        quay.files.save()
        parks, files = quay.desks["parks"], quay.of("parks")
        done = parks.run("up", files, "--only", "parks", "--yes", "-o", "json", env=own)
        assert done.changes() == {"update Deployment parks-internet/parks-app-web"}
        before = _stored(s3)
        told = parks.run("secrets", "set", files, "library/token", env=own, stdin="mine", code=4)
        assert "the secret store could not be written" in told.err
        assert _stored(s3) == before
        quay.operator.run("secrets", "set", quay.files, "library/token", env=root, stdin="theirs")


def _stored(s3: S3Server) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in s3.buckets.rglob("*.json")}
