"""A PostgreSQL of several members: its objects, and what its pods may do at the API server."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest

from stacks.catalogue import load_catalogue
from stacks.platforms.application.postgresql.program import start
from tests.stacks.cities import CLUSTER, app, application, city, objects, one, record_city
from wecityctl.engine.secrets.certificate_names import wanted_names
from wecityctl.model.city import City, Use
from wecityctl.model.members import claims_of
from wecityctl.model.service_tls import certificate_key
from wecityctl.plan import make_plan
from wecityctl.resource_graph import Recording

SPACE = "platform-application"
SETS = ("postgresql", "postgresql-member-1", "postgresql-member-2")
ROLE = "wecity.dev/role"
ALL = {
    "app.kubernetes.io/name": "postgresql",
    "app.kubernetes.io/component": "postgresql",
    "app.kubernetes.io/part-of": "application",
}


def with_members(count: int) -> City:
    platform = application()
    found = tuple(
        replace(item, replicas=count, has_members=count > 1) if item.type == "postgresql" else item
        for item in platform.capabilities
    )
    return city(app("code", uses=(Use("postgresql", "db"),)), platforms=(replace(platform, capabilities=found),))


@pytest.fixture(scope="module")
def three() -> dict[str, Recording]:
    return record_city(with_members(3), replace(CLUSTER, api_servers=("192.0.2.1:6443",)))


def spec_of(recorded: dict[str, Recording], kind: str, name: str) -> Any:
    return one(recorded, kind, f"{SPACE}/{name}").inputs["spec"]


def test_each_member_has_one_pod_and_a_volume_of_its_own(three: dict[str, Recording]) -> None:
    found = [spec_of(three, "StatefulSet", name) for name in SETS]
    volumes = [item["template"]["spec"]["volumes"] for item in found]
    claims = [
        volume["persistentVolumeClaim"]["claimName"]
        for each in volumes
        for volume in each
        if "persistentVolumeClaim" in volume
    ]
    whole = with_members(3).capability("postgresql")
    assert (
        tuple(claims) == claims_of(whole) == ("postgresql-data", "postgresql-member-1-data", "postgresql-member-2-data")
    )
    for index, (claim, item) in enumerate(zip(claims, found, strict=True)):
        assert spec_of(three, "PersistentVolumeClaim", claim)["accessModes"] == ["ReadWriteOnce"]
        assert item["replicas"] == 1
        assert item["selector"]["matchLabels"] == {**ALL, "wecity.dev/member": str(index)}
        assert item["template"]["metadata"]["labels"].items() >= item["selector"]["matchLabels"].items()


def test_members_start_one_after_the_other(three: dict[str, Recording]) -> None:
    """So that a change of all of them is never the end of the service."""
    sets = [one(three, "StatefulSet", f"{SPACE}/{name}") for name in SETS]
    for before, after in pairwise(sets):
        assert any(before.name in urn for urn in map(str, after.depends_on)), after.depends_on


def test_apps_reach_the_primary_alone(three: dict[str, Recording]) -> None:
    service = spec_of(three, "Service", "postgresql")
    assert service["selector"] == {**ALL, ROLE: "primary"}
    together = spec_of(three, "Service", "postgresql-members")
    assert together["selector"] == ALL and together["clusterIP"] == "None" and together["publishNotReadyAddresses"]
    single = record_city(with_members(1))
    assert spec_of(single, "Service", "postgresql")["selector"] == ALL
    bound = [one(each, "Secret", "health-internet/code-binding-db").inputs for each in (three, single)]
    assert bound[0] == bound[1]


def test_members_may_do_at_the_api_server_what_they_need_and_nothing_else(three: dict[str, Recording]) -> None:
    role = one(three, "Role", f"{SPACE}/postgresql-members").inputs
    notes = [f"postgresql-{what}" for what in ("config", "leader", "sync", "failover")]
    assert role["rules"] == [
        {"apiGroups": [""], "resources": ["pods", "configmaps"], "verbs": ["list", "watch"]},
        {
            "apiGroups": [""],
            "resources": ["pods"],
            "resourceNames": [f"{name}-0" for name in SETS],
            "verbs": ["get", "patch"],
        },
        {"apiGroups": [""], "resources": ["configmaps"], "resourceNames": notes, "verbs": ["get", "patch"]},
    ]
    bound = one(three, "RoleBinding", f"{SPACE}/postgresql-members").inputs
    assert [item["name"] for item in bound["subjects"]] == [bound["roleRef"]["name"]] == ["postgresql-members"]
    assert {one(three, "ConfigMap", f"{SPACE}/{name}").inputs["metadata"]["name"] for name in notes} == set(notes)
    for name in SETS:
        pod = spec_of(three, "StatefulSet", name)["template"]["spec"]
        assert (pod["serviceAccountName"], pod["automountServiceAccountToken"]) == ("postgresql-members", True)
    way = spec_of(three, "NetworkPolicy", "postgresql-to-api-servers")
    assert way["podSelector"]["matchLabels"] == ALL
    assert [rule["to"][0]["ipBlock"]["cidr"] for rule in way["egress"]] == ["192.0.2.1/32"]


def test_only_members_reach_the_port_on_which_they_ask_each_other(three: dict[str, Recording]) -> None:
    reaching = [
        item.inputs["spec"]
        for item in objects(three, "NetworkPolicy")
        if any(port["port"] == 8008 for rule in item.inputs["spec"].get("ingress", ()) for port in rule["ports"])
    ]
    (policy,) = reaching
    assert policy["podSelector"]["matchLabels"] == ALL
    assert [rule["from"] for rule in policy["ingress"]] == [[{"podSelector": {"matchLabels": ALL}}]]


def test_commits_wait_for_a_second_member_and_members_verify_each_other(three: dict[str, Recording]) -> None:
    noted = one(three, "ConfigMap", f"{SPACE}/postgresql-config").inputs["metadata"]["annotations"]["config"]
    shared = json.loads(noted)
    assert shared["synchronous_mode"] is True
    # The primary gives up before its lease ends: Patroni's own rule.
    assert shared["loop_wait"] + 2 * shared["retry_timeout"] <= shared["ttl"]
    (server, _) = spec_of(three, "StatefulSet", "postgresql")["template"]["spec"]["containers"]
    values = {item["name"]: item.get("value") for item in server["env"]}
    assert values["PATRONI_REPLICATION_SSLMODE"] == values["PATRONI_REWIND_SSLMODE"] == "verify-full"
    script = server["command"][-1]
    assert "hostssl replication wecity-replication all scram-sha-256" in script
    assert "host replication" not in script and "trust" not in script
    whole = with_members(3)
    names = wanted_names(make_plan(whole, load_catalogue()), {})[certificate_key("postgresql")].hosts
    assert "*.postgresql-members.platform-application.svc.cluster.local" in names
    host = values["PATRONI_POSTGRESQL_CONNECT_ADDRESS"]
    assert host == "postgresql-0.postgresql-members.platform-application.svc.cluster.local:5432"


def test_a_single_server_has_none_of_it() -> None:
    single = record_city(with_members(1))
    found = {item.name for recording in single.values() for item in recording.resources}
    assert not [name for name in found if "members" in name or "member-" in name]
    script = spec_of(single, "StatefulSet", "postgresql")["template"]["spec"]["containers"][0]["command"][-1]
    assert "patroni" not in script and start.__module__.endswith("postgresql.program")
