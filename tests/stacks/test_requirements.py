"""Capabilities that use capabilities, proved with packages that this file writes: nothing else knows them."""

from __future__ import annotations

import re
import shutil
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from stacks import catalogue as registry
from stacks.catalogue import load_catalogue, loadable, registered
from stacks.platforms.account_jobs import script_of
from tests.stacks.cities import IMAGES, app, city, objects, one, record_city
from tests.stacks.partner import write_partner
from wecityctl import oci
from wecityctl.engine.context.ending_accounts import Account, is_own, planned_accounts
from wecityctl.engine.run.partial_failure import still_served, urns_of_apps
from wecityctl.errors import ConfigurationError
from wecityctl.inputs import Cluster
from wecityctl.model.city import Capability, City, Cloud, Flow, Platform, Use
from wecityctl.model.requirements import Consumer, find_cycle, in_order, requirements, uses_of
from wecityctl.placement import InfeasiblePlacementError, Placement, place
from wecityctl.placement.demand import Reader, items_of
from wecityctl.plan import make_plan
from wecityctl.policy.data import lodgings, store_users
from wecityctl.policy.model import PolicyInput
from wecityctl.policy.rules import crossing_plaintext, overcommitted_capability, unused_capability
from wecityctl.resource_graph import SECRET, Recording

POSTGRESQL = Capability("application", "postgresql", "postgresql")
BOARD = Capability("application", "board", "board", replicas=2)
LEDGER = Capability("data", "ledger", "ledger")
PLACES = {"board": "platform-application", "ledger": "platform-data"}


@pytest.fixture(scope="module", autouse=True)
def partners(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Two installed packages: `board` on PostgreSQL's own platform, `ledger` on another."""
    directory = tmp_path_factory.mktemp("site-packages")
    write_partner(directory, "board")
    write_partner(directory, "ledger", "data")
    images = dict(IMAGES)
    IMAGES.update({name: f"registry.example/{name}:1" for name in ("board", "ledger")})
    sys.path.insert(0, str(directory))
    yield
    sys.path.remove(str(directory))
    IMAGES.clear()
    IMAGES.update(images)
    for name in [name for name in sys.modules if name.startswith(("wecity_board", "wecity_ledger"))]:
        del sys.modules[name]


def whole(**changes: object) -> City:
    """A city in which the board comes before the PostgreSQL that it uses, and an app uses the board."""
    platforms = (Platform("data", (LEDGER,)), Platform("application", (BOARD, POSTGRESQL)))
    return replace(city(app("code", uses=(Use("board", "board"),), route=None), platforms=platforms), **changes)


@pytest.fixture(scope="module")
def recorded(partners: None) -> dict[str, Recording]:
    return record_city(whole())


def test_packages_are_found_with_their_recipes() -> None:
    assert {"gateway", "postgresql", "cache", "board", "ledger"} <= set(load_catalogue())
    assert {name for name, item in registered().items() if item.recipe is not None} >= {"postgresql", "board"}
    assert {recipe.name for recipe in oci.catalogue()} >= {"debian", "postgresql", "board"}
    assert re.search(r"/board:1-[0-9a-f]+$", oci.reference("board", source="built"))


def test_a_package_that_brings_no_type_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_partner(tmp_path, "empty")
    (tmp_path / "wecity_empty" / "__init__.py").write_text("")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(
        ConfigurationError, match=r"entry point 'empty' of wecityctl\.capabilities in the package empty 1 is module"
    ):
        load_catalogue()


@pytest.mark.parametrize(
    ("text", "cause"),
    [
        ("import nothing_of_that_name", "ModuleNotFoundError: No module named"),
        ("def", "SyntaxError: "),
        ("import sys; sys.exit()", "SystemExit: "),
        ("1 / 0", "ZeroDivisionError: "),
        ("def __getattr__(name): raise RuntimeError(name)", "RuntimeError: "),
        (None, "ModuleNotFoundError: No module named 'wecity_broken'"),
    ],
)
def test_a_package_that_cannot_be_loaded_is_named_with_the_cause(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str | None, cause: str
) -> None:
    write_partner(tmp_path, "broken")
    module = tmp_path / "wecity_broken" / "__init__.py"
    if text is None:
        shutil.rmtree(module.parent)
    else:
        module.write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "wecity_broken", raising=False)
    with pytest.raises(ConfigurationError) as caught:
        load_catalogue()
    start = "entry point 'broken' of wecityctl.capabilities in the package broken 1 cannot be loaded: "
    assert caught.value.message.startswith(start + cause)
    sys.modules.pop("wecity_broken", None)
    # The others are there for what mends it.
    found, (error,) = loadable()
    assert {"postgresql", "board"} <= set(found)
    assert error.message == caught.value.message
    sys.modules.pop("wecity_broken", None)


@pytest.mark.parametrize(("text", "cause"), [("import sys; sys.exit(0)", "SystemExit: 0"), ("", "AttributeError: ")])
def test_a_part_of_a_package_that_cannot_be_loaded_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, cause: str
) -> None:
    name = f"made_part_{len(text)}"
    (tmp_path / f"{name}.py").write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    postgresql = load_catalogue()["postgresql"]
    assert postgresql.binding is not None
    kind = replace(postgresql, binding=replace(postgresql.binding, provisioner=f"{name}:PROVISIONER"))
    with pytest.raises(ConfigurationError, match=f"{name}:PROVISIONER of the capability type 'postgresql' .*{cause}"):
        script_of(kind, "inventory")


def test_a_folder_is_a_type_of_its_platform(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is said to be built in is found by its folder alone, and has to be what the folder says."""
    write_partner(tmp_path, "board")
    folder = tmp_path / "made_platforms" / "application" / "board"
    (tmp_path / "wecity_board").rename(folder.parent.parent.parent / "moved")
    folder.parent.mkdir(parents=True)
    (tmp_path / "moved").rename(folder)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(registry, "_PLATFORMS", tmp_path / "made_platforms")
    monkeypatch.setattr(registry, "_PACKAGE", "made_platforms")
    (found,) = registry._folders()
    assert (found.type.name, found.type.program) == ("board", "made_platforms.application.board.program:Board")
    assert found.recipe == folder / "image" / "image.yaml"
    folder.rename(folder.with_name("bulletin"))
    with pytest.raises(ConfigurationError, match="no TYPE with platform 'application' and name 'bulletin'"):
        tuple(registry._folders())


@pytest.mark.parametrize("name", ["board", "ledger"])
def test_a_capability_is_given_an_account_as_an_app_is(recorded: dict[str, Recording], name: str) -> None:
    """In the namespace of what it uses: the Job and its credentials; in its own: the binding."""
    job = one(recorded, "Job", f"provision-capability-{name}-db")
    assert job.inputs["metadata"]["namespace"] == "platform-application"
    (runner,) = job.inputs["spec"]["template"]["spec"]["containers"]
    environment = {item["name"]: item.get("value") for item in runner["env"]}
    assert environment["OWNER"] == f"capability/{name}/db"
    assert environment["CONNECTIONS"] == "7"  # as the type says; the rest is the used type's
    assert environment["STATEMENT_SECONDS"] == "600"
    place = PLACES[name]
    binding = one(recorded, "Secret", f"{place}/{name}-binding-db").inputs
    assert binding["type"] == "servicebinding.io/postgresql"
    assert binding["stringData"] == SECRET
    assert environment["HOST"] == "postgresql.platform-application.svc.cluster.local"
    assert environment["PORT"] == "5432"


@pytest.mark.parametrize("name", ["board", "ledger"])
def test_one_flow_leads_to_what_it_uses(recorded: dict[str, Recording], name: str) -> None:
    place = PLACES[name]
    out = one(recorded, "NetworkPolicy", f"{place}/{name}-to-db").inputs["spec"]
    assert out["podSelector"]["matchLabels"]["app.kubernetes.io/name"] == name
    assert out["egress"][0]["ports"] == [{"protocol": "TCP", "port": 5432}]
    assert out["egress"][0]["to"][0]["podSelector"]["matchLabels"]["app.kubernetes.io/name"] == "postgresql"
    arrives = one(recorded, "NetworkPolicy", f"platform-application/from-capability-{name}-db").inputs["spec"]
    assert arrives["podSelector"]["matchLabels"]["app.kubernetes.io/name"] == "postgresql"
    assert arrives["ingress"][0]["from"][0]["namespaceSelector"]["matchLabels"] == {
        "kubernetes.io/metadata.name": place
    }


def test_a_capability_waits_for_what_it_uses_and_for_nothing_else(recorded: dict[str, Recording]) -> None:
    board = one(recorded, "Deployment", "platform-application/board")
    job = one(recorded, "Job", "provision-capability-board-db")
    server = one(recorded, "StatefulSet", "platform-application/postgresql")
    binding = one(recorded, "Secret", "platform-application/board-binding-db")
    assert {job.urn, binding.urn} <= set(board.depends_on)
    assert server.urn in job.depends_on
    assert not [name for name in server.depends_on if "board" in name]
    assert "ledger" not in " ".join(board.depends_on)


def test_what_is_used_in_another_zones_namespace_is_waited_for() -> None:
    """On the same platform: nothing is put into a namespace that is not there yet."""
    zoned = (replace(BOARD, zone="internet"), replace(POSTGRESQL, zone="extranet"))
    stacks = record_city(whole(platforms=(Platform("application", zoned),), apps=()))
    there = one(stacks, "Namespace", "platform-application-extranet")
    for kind, name in (
        ("NetworkPolicy", "platform-application-extranet/from-capability-board-db"),
        ("Secret", "provision-capability-board-db-credentials"),
        ("Job", "provision-capability-board-db"),
    ):
        server = one(stacks, "StatefulSet", "platform-application-extranet/postgresql")
        assert server.urn in one(stacks, kind, name).depends_on
    assert there.urn in server.depends_on
    assert one(stacks, "Secret", "platform-application-internet/board-binding-db")


def test_the_pods_find_the_binding_and_roll_with_it(recorded: dict[str, Recording]) -> None:
    template = one(recorded, "Deployment", "platform-data/ledger").inputs["spec"]["template"]
    assert {"name": "binding-db", "secret": {"secretName": "ledger-binding-db"}} in template["spec"]["volumes"]
    (server,) = template["spec"]["containers"]
    mounts = {item["mountPath"] for item in server["volumeMounts"]}
    assert "/bindings/db" in mounts
    assert template["metadata"]["annotations"]["wecity.dev/content"]


def test_all_ports_are_in_the_service_and_the_first_is_opened(recorded: dict[str, Recording]) -> None:
    service = one(recorded, "Service", "platform-application/board").inputs["spec"]
    assert [(port["name"], port["port"]) for port in service["ports"]] == [("http", 8080), ("metrics", 9090)]
    opened = one(recorded, "NetworkPolicy", "platform-application/from-health-code-board").inputs["spec"]["ingress"]
    assert opened[0]["ports"] == [{"protocol": "TCP", "port": 8080}]


def test_placement_and_program_count_the_same_pods(recorded: dict[str, Recording]) -> None:
    kind = load_catalogue()["board"]
    first, second = kind.workloads("small", 2)
    assert (first.replicas, first.cpu, second.name, second.replicas, second.cpu) == (2, "50m", "worker", 1, "20m")
    assert [item.memory for item in kind.workloads("large")] == ["1024Mi", "512Mi"]
    # What the files say is of its main pods.
    assert [item.cpu for item in kind.workloads("large", cpu="30m")] == ["30m", "320m"]
    board = one(recorded, "Deployment", "platform-application/board").inputs["spec"]
    assert board["replicas"] == first.replicas
    assert board["template"]["spec"]["containers"][0]["resources"]["requests"] == first.requests


def test_stacks_come_in_the_order_of_the_graph_with_their_secrets() -> None:
    plan = make_plan(whole(), load_catalogue())
    names = [stack.name for stack in plan.stacks]
    data, application = plan.stack("xc.platform.data.main"), plan.stack("xc.platform.application.main")
    assert application.name in data.depends_on
    assert data.name not in application.depends_on
    assert names.index(application.name) < names.index(data.name)
    assert "binding/capability/board/db" in application.secrets
    assert {"binding/capability/ledger/db", "service/authority"} <= set(data.secrets)
    assert "binding/health/code/board" not in [key for stack in plan.stacks for key in stack.secrets]


def test_every_object_of_a_partner_is_as_ours_are(recorded: dict[str, Recording]) -> None:
    names = [(item.type, item.inputs["metadata"].get("namespace"), item.name) for item in objects(recorded)]
    assert len(names) == len(set(names))
    for item in objects(recorded, "Deployment"):
        spec = item.inputs["spec"]["template"]["spec"]
        assert spec["securityContext"]["runAsNonRoot"] is True, item.name
        denies = one(recorded, "NetworkPolicy", f"{item.inputs['metadata']['namespace']}/default-deny")
        assert denies.urn in item.depends_on


def test_what_provides_a_type_is_used_as_that_type() -> None:
    catalogue = dict(load_catalogue())
    catalogue["kingbase"] = replace(catalogue["postgresql"], name="kingbase", provides=("postgresql",))
    base = Capability("application", "base", "kingbase")
    alone = whole(platforms=(Platform("data", (LEDGER,)), Platform("application", (base,))), apps=())
    (use,) = uses_of(LEDGER, alone.capabilities, catalogue)
    assert (use.capability, use.alias, use.connections) == ("base", "db", 7)
    plan = make_plan(alone, catalogue)
    assert "xc.platform.application.main" in plan.stack("xc.platform.data.main").depends_on
    assert "binding/capability/ledger/db" in plan.stack("xc.platform.data.main").secrets


def test_the_files_choose_among_several_and_the_nearest_is_the_default() -> None:
    far = replace(POSTGRESQL, name="archive", zone="extranet")
    everything = (POSTGRESQL, far, BOARD)
    assert uses_of(BOARD, everything, load_catalogue())[0].capability == "postgresql"
    chosen = replace(BOARD, uses=(Use("archive", "db", connections=3),))
    (use,) = uses_of(chosen, everything, load_catalogue())
    assert (use.capability, use.connections) == ("archive", 3)
    assert uses_of(replace(BOARD, zone="extranet"), everything, load_catalogue())[0].capability == "archive"


def test_the_graph_is_in_order_and_tells_a_cycle() -> None:
    graph = requirements(whole().capabilities, load_catalogue())
    assert graph == {"ledger": ("postgresql",), "board": ("postgresql",), "postgresql": ()}
    assert list(in_order(graph)) == ["postgresql", "ledger", "board"]
    assert find_cycle(graph) == ()
    assert find_cycle({"c": ["a"], "a": ["b"], "b": ["c"], "d": ["a"]}) == ("a", "b", "c")
    assert Consumer.of(BOARD).parts(Use("postgresql", "db")) == ("capability", "board", "db")


TWO = (Cloud("north", "local", ("internet", "ex")), Cloud("south", "local", ("internet", "ex")))
CROSSING = Flow("internet", "internet", (5432,), "data-bureau", "notices")
CLUSTERS = {
    "north": Cluster("north", "KUBECONFIG", "admin", "uid-n", address="198.18.0.2", sources=("198.18.2.0/23",)),
    "south": Cluster("south", "KUBECONFIG", "admin", "uid-s", address="198.18.8.2", sources=("198.18.10.0/23",)),
}


def apart(*flows: Flow, board: Capability = BOARD, postgresql: Capability = POSTGRESQL, **changes: object) -> City:
    """The board on `north`, and the PostgreSQL that it uses on `south`."""
    pinned = (replace(board, cloud="north"), replace(postgresql, cloud="south"))
    return whole(clouds=TWO, platforms=(Platform("application", pinned),), flows=flows, **changes)


def test_a_capability_shares_the_cloud_of_what_it_uses_unless_a_flow_lets_it_cross() -> None:
    pinned = tuple(replace(item, cloud="south") for item in (POSTGRESQL, BOARD))
    together = whole(clouds=TWO, platforms=(Platform("data", (LEDGER,)), Platform("application", pinned)))
    assert set(place(together, load_catalogue()).capabilities.values()) == {"south"}
    with pytest.raises(InfeasiblePlacementError) as refused:
        place(apart(), load_catalogue())
    assert (
        "capability board uses capability postgresql (as db), and no declared flow "
        "{from: internet, to: internet, ports: [5432]} lets that cross clouds" in str(refused.value.details)
    )
    placed = place(apart(CROSSING), load_catalogue())
    assert placed.capabilities == {"board": "north", "postgresql": "south"}


@pytest.mark.parametrize(
    ("zones", "board", "postgresql", "needed"),
    [
        # Without a zone, the board is in those of the apps that use it.
        (("internet",), "", "", [("internet", "internet")]),
        (("internet", "ex"), "", "", [("internet", "internet"), ("ex", "ex")]),
        (("internet", "ex"), "", "ex", [("internet", "ex"), ("ex", "ex")]),
        (("internet", "ex"), "internet", "ex", [("internet", "ex")]),
        # Nobody uses it: it may be anywhere.
        ((), "", "", [("internet", "internet"), ("extranet", "extranet"), ("ex", "ex")]),
    ],
)
def test_each_zone_of_a_capability_needs_a_flow(
    zones: tuple[str, ...], board: str, postgresql: str, needed: list[tuple[str, str]]
) -> None:
    apps = tuple(
        app(f"code-{zone}", uses=(Use("board", "board"),), route=None, zone=zone, cloud="north") for zone in zones
    )
    parts = {"board": replace(BOARD, zone=board), "postgresql": replace(POSTGRESQL, zone=postgresql)}
    closed = apart(apps=apps, **parts)
    placement = Placement(
        {"board": "north", "postgresql": "south"}, {(item.tenant, item.name): "north" for item in apps}, "north"
    )
    with pytest.raises(ConfigurationError) as refused:
        make_plan(closed, load_catalogue(), placement)
    told = "capability board on cloud north uses postgresql on cloud south: "
    expected = [
        f"{told}in the government extranet {target} nothing is offered to other clouds"
        if target == "extranet"
        else f"{told}no declared flow lets it; it would be {{from: {source}, to: {target}, ports: [5432]}} in the City"
        for source, target in needed
    ]
    assert refused.value.details.splitlines() == expected
    flows = tuple(Flow(source, target, (5432,), "x", "y") for source, target in needed)
    if zones:
        (found,) = make_plan(replace(closed, flows=flows), load_catalogue(), placement).interconnects.uses
        assert found.flows == flows


def test_what_a_capability_uses_across_clouds_is_made_in_a_stack_between_the_two() -> None:
    plan = make_plan(apart(CROSSING), load_catalogue())
    crossing, user = plan.stack("xc.crossing.capability.south"), plan.stack("xc.platform.application.north")
    assert crossing.depends_on == ("xc.secrets", "xc.base.south", "xc.platform.application.south")
    assert crossing.secrets == ("binding/capability/board/db",)
    assert (crossing.builds_on, user.builds_on) == (("postgresql",), ("postgresql",))
    assert {crossing.name, "xc.platform.application.south"} <= set(user.depends_on)
    # Its account is the stack's own, so that it is locked when the use ends.
    account = Account("south", "postgresql", "capability/board/db")
    assert account in planned_accounts(plan, load_catalogue())
    assert is_own(crossing.name, account)
    names = [stack.name for stack in plan.stacks]
    assert names.index("xc.platform.application.south") < names.index(crossing.name) < names.index(user.name)
    # Both stacks wait for PostgreSQL if it is broken; an app that uses it on its own cloud waits for nothing else.
    broken = {f"urn:pulumi:{names[0]}::{names[0]}::wecity:application:PostgreSQL$x::postgresql"}
    served = still_served(plan, load_catalogue(), plan.stack("xc.platform.application.south"), broken)
    assert not served.keys() & {crossing.name, user.name}


def test_a_use_across_clouds_is_open_to_exactly_that_cloud_and_that_port() -> None:
    recorded = record_city(apart(CROSSING), CLUSTERS)
    service = one(recorded, "Service", "platform-application/postgresql-crossing").inputs["spec"]
    port = service["ports"][0]["nodePort"]
    leaves = one(recorded, "NetworkPolicy", "platform-application/board-to-db").inputs["spec"]
    assert leaves["egress"] == [
        {"to": [{"ipBlock": {"cidr": "198.18.8.2/32"}}], "ports": [{"protocol": "TCP", "port": port}]}
    ]
    arrives = one(recorded, "NetworkPolicy", "crossing-capability-board-db").inputs["spec"]
    assert arrives["ingress"] == [
        {"from": [{"ipBlock": {"cidr": "198.18.2.0/23"}}], "ports": [{"protocol": "TCP", "port": 5432}]}
    ]
    stacks = {item.name: name for name, found in recorded.items() for item in found.resources}
    assert stacks["crossing-capability-board-db"] == "xc.crossing.capability.south"
    assert "provision-capability-board-db" not in stacks
    assert "platform-application/from-capability-board-db" not in stacks
    assert stacks["platform-application/board-binding-db"] == "xc.platform.application.north"
    north = recorded["xc.platform.application.north"].resources
    assert "postgresql-admin" not in str([dict(item.inputs) for item in north])


def test_capabilities_that_use_each_other_across_clouds_in_both_directions_are_refused() -> None:
    """A stack of a platform is one for each cloud: the two of them would wait for each other."""
    second = Capability("application", "postgresql-2", "postgresql", cloud="north")
    other = replace(BOARD, name="board-2", cloud="south", zone="internet", uses=(Use("postgresql-2", "db"),))
    first = replace(BOARD, cloud="north", uses=(Use("postgresql", "db"),))
    parts = (first, replace(POSTGRESQL, cloud="south"), second, other)
    both = whole(clouds=TWO, platforms=(Platform("application", parts),), flows=(CROSSING,))
    with pytest.raises(ConfigurationError) as refused:
        make_plan(both, load_catalogue())
    way = refused.value.message.partition(": ")[2].split(" → ")
    assert way[0] == way[-1]
    assert set(way) == {"xc.platform.application.north", "xc.platform.application.south"}
    assert refused.value.details.splitlines() == [
        "capability board on cloud north uses postgresql on cloud south",
        "capability board-2 on cloud south uses postgresql-2 on cloud north",
    ]


@pytest.mark.parametrize("is_tls", [True, False])
def test_important_data_of_its_users_crosses_encrypted_alone(is_tls: bool) -> None:
    """Placement keeps both together unless both are pinned; then the policy refuses, which nothing waives."""
    code = app("code", uses=(Use("board", "board"),), route=None, data_class="L3", cloud="north")
    pinned = apart(CROSSING, postgresql=replace(POSTGRESQL, tls=is_tls), apps=(code,))
    policy_input = PolicyInput(pinned, load_catalogue(), place(pinned, load_catalogue()).bare, IMAGES, ())
    findings = [(item.subject, item.message) for item in crossing_plaintext.RULE.check(policy_input)]
    message = "data of class L3 crosses from cloud north to south in plain text: its use of postgresql"
    assert findings == ([] if is_tls else [("capability board", message)])
    assert crossing_plaintext.RULE.evidence is not None
    how = "encrypted" if is_tls else "in plain text"
    line = f"capability board (L3): its use of postgresql crosses from north to south {how}"
    assert line in list(crossing_plaintext.RULE.evidence(policy_input))
    # The app keeps the board on its own cloud.
    board, postgresql = pinned.platforms[0].capabilities
    free = replace(pinned, platforms=(Platform("application", (replace(board, cloud=""), postgresql)),))
    if is_tls:
        assert place(free, load_catalogue()).capabilities == {"board": "north", "postgresql": "south"}
    else:
        with pytest.raises(InfeasiblePlacementError) as refused:
            place(free, load_catalogue())
        assert "data of its class crosses only between clouds" in str(refused.value.details)


def test_an_app_keeps_data_in_what_its_capabilities_use() -> None:
    """The board keeps nothing itself; its rows lie in PostgreSQL, which then holds data of the app's class."""
    policy_input = PolicyInput(whole(), load_catalogue(), place(whole(), load_catalogue()).bare, IMAGES, ())
    assert {name: [user.name for user in users] for name, users in store_users(policy_input).items()} == {
        "postgresql": ["code"]
    }
    stores = [item for item in lodgings(policy_input) if item.capability is not None]
    assert [(item.where, item.path) for item in stores] == [("capability 'postgresql'", ("spec", "uses", 0))]
    items = {item.subject: item.data_class for item in items_of(whole(), load_catalogue(), Reader())}
    assert items["capability postgresql"] == "L2"
    assert items["capability ledger"] == ""


def test_a_broken_capability_stops_only_what_needs_it() -> None:
    base = whole()
    apps = (
        *base.apps,
        app("rows", tenant="archive", uses=(Use("postgresql", "db"),), route=None),
        app("notes", tenant="parks", uses=(Use("ledger", "ledger"),), route=None),
        app("news", tenant="sports", uses=(Use("board", "board"),), route=None),
        app("table", tenant="sports", uses=(Use("postgresql", "db"),), route=None),
        app("goals", tenant="sports", uses=(), route=None),
    )
    plan = make_plan(
        replace(base, apps=apps, tenants=city(*apps).tenants),
        load_catalogue(),
    )
    stack = plan.stack("xc.platform.application.main")

    def served(*failed: str) -> dict[str, set[str]]:
        urns = [f"urn:pulumi:{stack.name}::wecity::{chain}::it" for chain in failed]
        found = still_served(plan, load_catalogue(), stack, urns)
        return {name.removeprefix("xc."): set(apps) for name, apps in found.items()}

    board = "wecity:application:Board$kubernetes:apps/v1:Deployment"
    server = "wecity:application:PostgreSQL$kubernetes:apps/v1:StatefulSet"
    sports = "tenant.sports.main"
    assert served(board) == {"platform.data.main": set(), "tenant.archive.main": set(), sports: {"news"}}
    # The board and the ledger need the server themselves.
    assert served(server) == {sports: {"news", "table"}}
    assert served(board, "kubernetes:core/v1:Namespace") == {}
    assert served() == {}


def test_what_a_state_has_of_an_app_is_found_by_its_parents() -> None:
    root, app_urn = "urn:pulumi:s::wecity::pulumi:pulumi:Stack::wecity-s", "urn:pulumi:s::wecity::wecity:tenant:App::"
    parents = {
        root: "",
        f"{app_urn}news": root,
        "job": f"{app_urn}news",
        "below": "job",
        f"{app_urn}table": root,
        "other": f"{app_urn}table",
        "namespace": root,
    }
    assert urns_of_apps("s", {"news"}, parents) == (f"{app_urn}news", "job", "below")
    assert urns_of_apps("s", {"new"}, {}) == (f"{app_urn}new",)
    assert urns_of_apps("s", (), parents) == ()


def test_policy_counts_capabilities_that_use_one() -> None:
    found = whole(apps=(), platforms=(Platform("application", (replace(BOARD, replicas=1), POSTGRESQL)),))
    policy_input = PolicyInput(found, load_catalogue(), place(found, load_catalogue()).bare, IMAGES, ())
    assert [item.subject for item in unused_capability.check(policy_input)] == ["capability board"]
    many = tuple(replace(BOARD, name=f"board-{number}") for number in range(14))
    crowded = whole(apps=(), platforms=(Platform("application", (*many, POSTGRESQL)),))
    policy_input = PolicyInput(crowded, load_catalogue(), place(crowded, load_catalogue()).bare, IMAGES, ())
    (finding,) = overcommitted_capability.check(policy_input)
    assert "98 connections where there are 95" in finding.message
