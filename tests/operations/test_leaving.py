"""Accounts whose use ends: noted before a run, and what comes of the notes. What servers do is in `attack`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from stacks.platforms.account_jobs import account_job
from tests.engine.drive import CATALOGUE, make_city, plan_of, session_of
from wecityctl.engine.context import ending_accounts
from wecityctl.engine.context.context import Context
from wecityctl.engine.context.ending_accounts import Account, accounts_in, planned_accounts
from wecityctl.engine.context.options import RunOptions
from wecityctl.engine.context.secret_store import needed
from wecityctl.engine.process.provider_choice import choose_provider
from wecityctl.engine.run.tasks import note_leaving
from wecityctl.engine.state import layout
from wecityctl.engine.state.backend import Backend, open_backend
from wecityctl.engine.state.run_locks import part_of_city
from wecityctl.errors import ConfigurationError, DeploymentError, ExitCode
from wecityctl.inputs import Cluster, Clusters
from wecityctl.model.city import City
from wecityctl.model.events import Event, RunResult, StackResult
from wecityctl.model.outputs import Endpoint, PlatformOutputs, to_json
from wecityctl.operations import leftovers
from wecityctl.operations.account_servers import Server, provisioned_accounts
from wecityctl.operations.deprovision import end_access
from wecityctl.operations.leftovers import delete_leftovers, parse_inventory

ENDPOINT = Endpoint(
    "postgresql", "postgresql", "postgresql", "platform-application", "postgresql", 5432, {}, "postgresql-admin", "i:1"
)
HEALTH, TRAFFIC = (Account("main", "postgresql", f"{tenant}/app/db") for tenant in ("health", "traffic"))
SECOND = Account("main", "postgresql", "health/app/second")
CLUSTER = Cluster("main", "", "", "")


def job(account: Account) -> dict[str, Any]:
    """A provisioning Job as a state has it, as far as anybody looks at it."""
    container = {"env": [{"name": "OWNER", "value": account.owner}, {"name": "APP_ROLE", "valueFrom": {}}]}
    template = {
        "metadata": {"labels": {"wecity.dev/provisions": account.capability}},
        "spec": {"containers": [container]},
    }
    return resource("kubernetes:batch/v1:Job", f"provision-{account.owner}", {"spec": {"template": template}})


def resource(kind: str, name: str, inputs: Mapping[str, Any] | None = None) -> dict[str, Any]:
    urn = f"urn:pulumi:s::wecity::{kind}::{name}"
    return {"urn": urn, "type": kind, "custom": True, "id": name, "inputs": dict(inputs or {}), "outputs": {}}


def write(backend: Backend, stack: str, *resources: dict[str, Any], outputs: Mapping[str, Any] | None = None) -> None:
    root = resource("pulumi:pulumi:Stack", "root") | {"outputs": {"wecity": dict(outputs)} if outputs else {}}
    backend.store.create(stack)
    backend.store.write(stack, {"manifest": {}, "resources": [root, *resources]})


@pytest.fixture
def backend(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Backend:
    """The states of a city whose platform is up."""
    monkeypatch.setenv("PULUMI_CONFIG_PASSPHRASE", "test")
    city = make_city("leave", backend=f"file://{tmp_path}")
    found = open_backend(city)
    secret = resource("kubernetes:core/v1:Secret", "platform-application/postgresql-admin")
    outputs = to_json(PlatformOutputs("application", "main", (ENDPOINT,)))
    write(found, "leave.platform.application.main", secret, outputs=outputs)
    return found


def end(
    backend: Backend,
    operation: str = "up",
    clusters: Clusters | None = None,
    *,
    city: City | None = None,
    only: str = "",
) -> RunResult:
    session, events = session_of(city or make_city("leave", backend=backend.url)), list[Event]()
    results = (StackResult(only, "succeeded"),) if only else ()
    result = RunResult(operation, "leave", results, 1.0, 0, part=bool(only))  # type: ignore[arg-type]
    return end_access(session, clusters or Clusters(), backend, events.append, result)


def test_a_state_tells_its_accounts(backend: Backend) -> None:
    write(backend, "leave.tenant.health.main", job(HEALTH), resource("kubernetes:batch/v1:Job", "no-owner"))
    assert accounts_in("leave.tenant.health.main", backend.read_state("leave.tenant.health.main")) == {HEALTH}
    assert accounts_in("leave.tenant.none.main", None) == frozenset()
    now = provisioned_accounts(backend, CATALOGUE)
    assert now.accounts == {HEALTH}
    assert [(server.endpoint.capability, server.is_tls) for server in now.servers.values()] == [("postgresql", False)]


def test_the_files_tell_who_is_to_have_an_account() -> None:
    city = make_city("leave")
    assert planned_accounts(plan_of(city), CATALOGUE) == {HEALTH, TRAFFIC}
    apps = tuple(replace(app, uses=()) for app in city.apps)
    assert planned_accounts(plan_of(replace(city, apps=apps)), CATALOGUE) == frozenset()


def test_notes_stay_until_they_are_settled(backend: Backend) -> None:
    ending_accounts.note(backend, "leave.tenant.health.main", [HEALTH])
    ending_accounts.note(backend, "leave.tenant.health.main", [SECOND], delete=True)
    [items] = ending_accounts.noted(backend).values()
    assert [(item.account, item.delete, item.done) for item in items] == [
        (HEALTH, False, False),
        (SECOND, True, False),
    ]
    ending_accounts.settle(backend, "leave.tenant.health.main", {HEALTH: True})
    assert [item.done for item in ending_accounts.noted(backend)["leave.tenant.health.main"]] == [True, False]
    ending_accounts.settle(backend, "leave.tenant.health.main", {HEALTH: False, SECOND: False})
    assert ending_accounts.noted(backend) == {}
    # Another city's, in the same place.
    ending_accounts.note(backend, "other.tenant.health.main", [HEALTH])
    assert ending_accounts.noted(backend) == {}


@pytest.mark.parametrize(
    ("owner", "more"),
    [
        ("traffic/app/db", {}),
        ("traffic/app/db", {"delete": True}),
        ("capability/identity/db", {}),
        ("health/app/db\ntraffic.app.db traffic/app/db", {}),
        ("health/app/db\n", {}),
        ("health/app", {}),
        ("health/app/db/x", {}),
        ("health/../db", {}),
        ("health/app/d b", {}),
        ("health/app/db", {"delete": "yes"}),
        ("health/app/db", {"other": True}),
        (["health", "app", "db"], {}),
        ("health/app/db", {"account": {"cloud": "other", "capability": "postgresql"}}),
        ("health/app/db", {"account": {"cloud": "main", "capability": "postgresql\n"}}),
    ],
)
def test_a_note_or_state_that_names_what_is_not_its_stacks_is_refused(
    backend: Backend, owner: Any, more: Mapping[str, Any]
) -> None:
    """Who may write one stack's keys can write anything into them."""
    stack = "leave.tenant.health.main"
    ending_accounts.note(backend, stack, [HEALTH])
    place = ending_accounts._directory(backend) / f"{stack}.json"
    if backend.states is not None:
        place = Path(backend.url.removeprefix("file://")) / layout.leaving(stack)
    data = json.loads(place.read_bytes())
    (known,) = data["accounts"]
    forged = {**known, **more, "account": {**known["account"], **more.get("account", {}), "owner": owner}}
    data["accounts"] = [forged]
    place.write_text(json.dumps(data))
    assert ending_accounts.noted(backend) == {}
    result = end(backend)
    assert result.exit_code == 0
    [note] = result.notes
    assert note.startswith("the note of accounts of leave.tenant.health.main has ")
    assert "\n" not in note
    if isinstance(owner, str) and not more and owner != HEALTH.owner:
        write(backend, stack, job(replace(HEALTH, owner=owner)))
        assert provisioned_accounts(backend, CATALOGUE).accounts == frozenset()


def test_a_job_takes_only_accounts_that_are_lines_of_two_words() -> None:
    for pair in (("a_b_c", "a/b/c\nx_y_z"), ("a b", "x/y/z"), ("", "x/y/z")):
        with pytest.raises(DeploymentError, match="no name or owner"):
            account_job(make_city("leave"), CATALOGUE["postgresql"], CLUSTER, ENDPOINT, "delete", [pair], is_tls=True)


def test_deleting_asks_no_server_for_a_name_of_another_capability(backend: Backend) -> None:
    session, events = session_of(make_city("leave", backend=backend.url)), list[Event]()
    for name in ("postgres/health_app_db", "postgresql", "postgresql/"):
        with pytest.raises(ConfigurationError, match="nothing that is left over has the name") as refused:
            delete_leftovers(session, [name], events.append)
        assert refused.value.details == "capabilities that are up and have accounts: postgresql"
    assert events == []


def test_what_a_state_has_is_in_use_whatever_is_noted(backend: Backend) -> None:
    """A stack that failed, or an app that is back, perhaps from another stack."""
    ending_accounts.note(backend, "leave.tenant.health.main", [HEALTH])
    write(backend, "leave.crossing.health.main", job(HEALTH))
    result = end(backend)
    assert (result.exit_code, result.notes) == (0, ())
    assert ending_accounts.noted(backend) == {}


def test_a_cloud_that_does_not_answer_leaves_the_note_and_fails(backend: Backend) -> None:
    ending_accounts.note(backend, "leave.tenant.health.main", [HEALTH])
    result = end(backend)
    assert result.exit_code == ExitCode.DEPLOYMENT
    assert result.notes == ("not locked yet, as cloud main does not answer: health/app/db",)
    assert [item.account for item in ending_accounts.noted(backend)["leave.tenant.health.main"]] == [HEALTH]


def test_a_server_that_cannot_be_reached_leaves_the_note_and_fails(backend: Backend) -> None:
    ending_accounts.note(backend, "leave.tenant.health.main", [HEALTH])
    result = end(backend, clusters=Clusters(found={"main": replace(CLUSTER, kubeconfig="{}")}))
    assert result.exit_code == ExitCode.DEPLOYMENT
    assert "not locked yet in postgresql, the next run tries again: health/app/db: " in result.notes[0]
    assert len(ending_accounts.noted(backend)) == 1


def test_runs_that_build_on_a_platform_keep_nobody_from_locking_in_it(backend: Backend) -> None:
    ending_accounts.note(backend, "leave.tenant.health.main", [HEALTH])
    with part_of_city(backend, ("leave.platform.application.main",), ("leave.tenant.traffic.main",)):
        result = end(backend, only="leave.tenant.health.main")
    assert result.notes == ("not locked yet, as cloud main does not answer: health/app/db",)
    assert result.exit_code == ExitCode.DEPLOYMENT


def test_what_another_run_has_noted_is_told_and_fails_no_other_run(backend: Backend) -> None:
    ending_accounts.note(backend, "leave.tenant.health.main", [HEALTH])
    with part_of_city(backend, (), ("leave.tenant.health.main",)):
        result = end(backend, only="leave.tenant.traffic.main")
    assert result.exit_code == 0
    [note] = result.notes
    assert note.startswith(
        "accounts that another run has noted are not locked yet: another run is changing leave.tenant.health.main"
    )
    assert end(backend, only="leave.tenant.traffic.main").exit_code == 0
    assert len(ending_accounts.noted(backend)) == 1


def test_a_back_end_that_fails_after_the_stacks_leaves_their_result(backend: Backend, tmp_path: Path) -> None:
    broken = tmp_path / layout.LEAVING
    broken.parent.mkdir(exist_ok=True)
    broken.symlink_to(broken)
    result = end(backend, only="leave.tenant.traffic.main")
    assert [item.outcome for item in result.results] == ["succeeded"]
    assert result.exit_code == ExitCode.DEPLOYMENT
    assert result.notes[0].startswith("accounts whose use has ended are not locked yet: ")


def test_accounts_of_a_capability_that_the_city_no_longer_has_are_settled(backend: Backend) -> None:
    backend.delete_stack("leave.platform.application.main")
    ending_accounts.note(backend, "leave.tenant.health.main", [HEALTH])
    whole = make_city("leave", backend=backend.url)
    with part_of_city(backend, (), ("leave.tenant.health.main",)):
        # It may be brought up again with its volume, so there is nothing to do, and no lock to wait for.
        assert end(backend) == end(backend, city=whole)
        assert end(backend).notes == ()
    city = replace(
        whole,
        platforms=tuple(replace(item, capabilities=item.capabilities[:1]) for item in whole.platforms),
        apps=tuple(replace(app, uses=()) for app in whole.apps),
    )
    result = end(backend, city=city)
    assert result.exit_code == 0
    assert result.notes == (
        "postgresql is no longer on main, nor are the accounts in it: health/app/db; their data is in its volume if "
        "that was kept",
    )
    assert ending_accounts.noted(backend) == {}


@pytest.mark.parametrize(
    ("options", "tenants", "leaves"),
    [
        (RunOptions("up"), ("health", "traffic"), []),
        (RunOptions("up"), ("traffic",), [(HEALTH, False)]),
        (RunOptions("up", delete_data=True), ("traffic",), [(HEALTH, True)]),
        (RunOptions("destroy"), ("health", "traffic"), [(HEALTH, False)]),
    ],
)
def test_a_run_notes_what_it_takes_away_and_no_more(
    backend: Backend, options: RunOptions, tenants: tuple[str, ...], leaves: list[tuple[Account, bool]]
) -> None:
    stack = "leave.tenant.health.main"
    write(backend, stack, job(HEALTH))
    session = session_of(make_city("leave", tenants, backend=backend.url))
    note_leaving(Context(session, options, Clusters(), backend, choose_provider("builtin")), stack)
    found = ending_accounts.noted(backend).get(stack, ())
    assert [(item.account, item.delete) for item in found] == leaves


def test_who_comes_back_gets_another_password(backend: Backend) -> None:
    ending_accounts.note(backend, "leave.tenant.health.main", [HEALTH, TRAFFIC])
    ending_accounts.settle(backend, "leave.tenant.health.main", {HEALTH: True})
    session = session_of(make_city("leave", backend=backend.url))
    context = Context(session, RunOptions("up"), Clusters(), backend, choose_provider("builtin"))
    assert context.stale_secrets == {"binding/health/app/db"}
    kept = dict.fromkeys(needed(session.plan), "old")
    write(backend, "leave.secrets", outputs={"values": kept})
    assert "binding/health/app/db" in context.new_secrets()
    made = context.secrets()
    assert made["binding/health/app/db"] != "old"
    assert made["binding/traffic/app/db"] == "old"


def test_accounts_of_a_server_that_was_taken_down_stay_noted_for_its_volume(backend: Backend) -> None:
    backend.delete_stack("leave.platform.application.main")
    ending_accounts.note(backend, "leave.tenant.health.main", [HEALTH])
    assert end(backend, "destroy").exit_code == 0
    assert len(ending_accounts.noted(backend)) == 1
    # Its volume went as well.
    ending_accounts.note(backend, "leave.tenant.health.main", [HEALTH], delete=True)
    end(backend, "destroy")
    assert ending_accounts.noted(backend) == {}


def test_a_list_tells_owner_size_and_age() -> None:
    text = (
        "NOTICE: something else\n"
        "account health_app_db health/app/db 7500000 locked 1700000000\n"
        "account old_one - 12 open -\n"
        "account broken\n"
    )
    first, second = parse_inventory(text, Server("main", "s", ENDPOINT, CATALOGUE["postgresql"], is_tls=True), {})
    assert (first.name, first.owner, first.bytes, first.locked) == (
        "postgresql/health_app_db", "health/app/db", 7500000, True
    )  # fmt: skip
    assert first.since == "2023-11-14T22:13:20+00:00"
    assert (second.owner, second.locked, second.since) == ("", False, "")
    # The cache's names say whose they are.
    cache = Server("main", "s", replace(ENDPOINT, capability="cache", type="cache"), CATALOGUE["cache"], is_tls=True)
    [found] = parse_inventory("account health.app.c - 5 open -", cache, {})
    assert found.owner == "health/app/c"


def test_what_an_owner_left_under_the_name_of_another_is_listed_and_deleted(
    backend: Backend, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`health/ap/p-db` and `health/ap-p/db` come to one role, and the Job of the second waits for the first to go."""
    old, new = (Account("main", "postgresql", f"health/{owner}") for owner in ("ap/p-db", "ap-p/db"))
    write(backend, "leave.tenant.health.main", job(new))
    ending_accounts.note(backend, "leave.tenant.health.main", [old, HEALTH])
    ran: list[tuple[str, Any]] = []

    def run(server: Server, city: Any, cluster: Any, task: str, accounts: Any = ()) -> str:
        ran.append((task, accounts))
        return f"account health_ap_p_db {recorded} 7500000 locked 1700000000\n"

    monkeypatch.setattr(Server, "run", run)
    monkeypatch.setattr(
        leftovers, "_open", lambda *_: (backend, Clusters(found={"main": replace(CLUSTER, kubeconfig="{}")}))
    )
    session, events = session_of(make_city("leave", backend=backend.url)), list[Event]()
    # The server records no owner: it may be the one that is in use.
    recorded = "-"
    assert leftovers.list_leftovers(session, events.append).items == ()
    recorded = new.owner
    assert leftovers.list_leftovers(session, events.append).items == ()
    recorded = old.owner
    [found] = leftovers.list_leftovers(session, events.append).items
    assert (found.name, found.owner, found.planned) == ("postgresql/health_ap_p_db", old.owner, False)
    assert leftovers.delete_leftovers(session, [found.name], events.append) == ((found,), ())
    assert ran[-1] == ("delete", [("health_ap_p_db", old.owner)])
    assert [item.done for item in ending_accounts.noted(backend)["leave.tenant.health.main"]] == [True, False]


def test_the_job_is_one_of_those_that_may_reach_the_server_and_tells_no_password() -> None:
    city, kind = make_city("leave"), CATALOGUE["postgresql"]
    made = account_job(city, kind, CLUSTER, ENDPOINT, "delete", [("health_app_db", "health/app/db")], is_tls=True)
    template = made["spec"]["template"]
    assert template["metadata"]["labels"]["wecity.dev/provisions"] == "postgresql"
    [container] = template["spec"]["containers"]
    values = {item["name"]: item.get("value") for item in container["env"]}
    assert values["ACCOUNTS"] == "health_app_db health/app/db"
    assert values["ADMIN_PASSWORD"] is None
    assert values["PGSSLMODE"] == "verify-full"
    assert template["spec"]["securityContext"]["runAsNonRoot"]
    assert container["securityContext"]["readOnlyRootFilesystem"]
    names = {account_job(city, kind, CLUSTER, ENDPOINT, "inventory", is_tls=False)["metadata"]["name"] for _ in "12"}
    assert len(names) == 2
    assert made["metadata"]["name"] == "postgresql-accounts"
