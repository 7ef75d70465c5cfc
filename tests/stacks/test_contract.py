"""What every capability type has to be, held over the registry: the built-in folders, and any that are added."""

from __future__ import annotations

import ast
import json
import re
import subprocess
from collections.abc import Mapping
from datetime import date
from itertools import chain, pairwise
from pathlib import Path

import pytest

from stacks.catalogue import Registered, registered
from stacks.platforms.probes import script_of
from stacks.platforms.provisioner import Provisioner
from stacks.references import load
from tests.stacks.cities import IMAGES, app, city, objects, record_city, services_of_jobs
from tests.support.some import some
from wecityctl import oci
from wecityctl.model.catalogue import SIZE_FACTORS, CapabilityType
from wecityctl.model.city import Capability, City, Platform, Use
from wecityctl.model.naming import COMPONENT_LABEL
from wecityctl.model.quantity import parse_quantity
from wecityctl.placement import place
from wecityctl.policy.check import judge
from wecityctl.policy.model import PolicyInput
from wecityctl.policy.rules import RULES
from wecityctl.resource_graph import RecordedResource, Recording

ROOT = Path(__file__).parent.parent.parent
REGISTRY = registered()
every_type = pytest.mark.parametrize("name", sorted(REGISTRY))


def found(name: str) -> tuple[CapabilityType, Path]:
    item: Registered = REGISTRY[name]
    assert item.folder is not None
    return item.type, item.folder


def whole(name: str) -> City:
    """A city with one instance of the type, of what it uses, directly or not, and an app that uses it."""
    wanted: list[str] = []
    pending = [name]
    while pending:
        item = pending.pop()
        wanted += [item] if item not in wanted else []
        pending += [use.type for use in REGISTRY[item].type.uses if use.type not in wanted]
    kinds = [REGISTRY[item].type for item in wanted]
    platforms = tuple(
        Platform(platform, tuple(_instance(kind) for kind in kinds if kind.platform == platform))
        for platform in dict.fromkeys(kind.platform for kind in kinds)
    )
    uses = (Use(name, "it"),) if REGISTRY[name].type.binding is not None else ()
    return city(app("user", uses=uses, route=None), platforms=platforms)


def _instance(kind: CapabilityType) -> Capability:
    return Capability(kind.platform, kind.name, kind.name, is_entry=bool(kind.entry))


@pytest.fixture(scope="module", params=sorted(REGISTRY))
def stacks(request: pytest.FixtureRequest) -> tuple[str, Mapping[str, Recording]]:
    """A type's name and the stacks of a city that has it."""
    return request.param, record_city(whole(request.param))


@pytest.fixture(scope="module")
def recorded(stacks: tuple[str, Mapping[str, Recording]]) -> tuple[str, list[RecordedResource]]:
    """A type's name and the objects of the platforms' stacks of a city that has it."""
    name, recordings = stacks
    return name, objects({stack: item for stack, item in recordings.items() if ".platform." in stack})


def test_no_pod_of_a_job_is_an_endpoint_of_a_service(stacks: tuple[str, Mapping[str, Recording]]) -> None:
    """A capability's account in another one is made by a Job in the other one's namespace, which may be its own."""
    assert objects(stacks[1], "Job")
    assert services_of_jobs(stacks[1]) == []


@every_type
def test_a_type_says_what_people_need(name: str) -> None:
    kind, folder = found(name)
    assert kind.health, "how is it known that it works, from end to end?"
    assert re.search(r"[\u4e00-\u9fff]", kind.title), "the title is in English and Chinese"
    assert re.search(r"[A-Za-z]", kind.title)
    assert kind.licence
    assert kind.engines
    assert len({port.name for port in kind.ports}) == len({port.number for port in kind.ports}) == len(kind.ports) > 0
    assert (folder / "program.py").is_file()
    assert f"\n## {name}\n" in (ROOT / "docs" / "reference" / "catalogue.md").read_text(encoding="utf-8")


@every_type
def test_a_type_has_a_probe_that_bounds_itself_and_cleans_up(name: str) -> None:
    kind, folder = found(name)
    assert kind.probe == f"{kind.program.rpartition('.')[0]}.health:PROBE", "what says that an instance really works?"
    assert (folder / "health.py").is_file()
    script = script_of(kind)
    assert "$HOST" in script
    assert "exit 1" in script, "it fails where what it reads is not what it wrote"
    assert subprocess.run(["/bin/sh", "-n"], input=script, text=True, check=False).returncode == 0


def test_the_job_of_a_probe_follows_everything_of_its_capability(stacks: tuple[str, Mapping[str, Recording]]) -> None:
    name, recordings = stacks
    items = objects({stack: item for stack, item in recordings.items() if ".platform." in stack})
    [job] = [item for item in items if item.inputs["metadata"]["labels"].get("wecity.dev/probes") == name]
    own = [item for item in items if item.parent == job.parent and item is not job]
    made = {item.urn for item in own if item.inputs["metadata"]["name"] != f"{name}-provisioning-jobs"}
    assert {item.urn for item in own if item.type.endswith((":Deployment", ":StatefulSet", ":Service"))} <= made
    assert made <= set(job.depends_on)
    assert job.inputs["spec"]["activeDeadlineSeconds"] <= 300
    [container] = job.inputs["spec"]["template"]["spec"]["containers"]
    assert not any(item["name"] == "ADMIN_PASSWORD" and "value" in item for item in container["env"])


def test_a_new_password_of_the_administrator_reaches_the_server(stacks: tuple[str, Mapping[str, Recording]]) -> None:
    """With its next start, as its pods have a digest of it, or by the Job of a type whose server keeps it itself."""
    name, recordings = stacks
    kind, folder = found(name)
    items = objects({stack: item for stack, item in recordings.items() if ".platform." in stack})
    of_kind = [item for item in items if item.inputs["metadata"]["labels"].get("app.kubernetes.io/name") == name]
    jobs = [item for item in of_kind if item.inputs["metadata"]["labels"][COMPONENT_LABEL] == "rotation"]
    if not kind.rotation:
        assert jobs == []
        return
    assert (folder / "rotation.py").is_file()
    assert subprocess.run(["/bin/sh", "-n"], input=load(kind.rotation, name), text=True, check=False).returncode == 0
    [job] = jobs
    [probe] = [item for item in of_kind if "wecity.dev/probes" in item.inputs["metadata"]["labels"]]
    assert job.urn in probe.depends_on
    [container] = job.inputs["spec"]["template"]["spec"]["containers"]
    secrets = {item["name"]: item["valueFrom"]["secretKeyRef"] for item in container["env"] if "valueFrom" in item}
    assert secrets == {
        "ADMIN_PASSWORD": {"name": f"{name}-admin", "key": "password"},
        "PREVIOUS_PASSWORDS": {"name": f"{name}-rotation", "key": "previous"},
    }
    # No other pod reads those that were replaced.
    readers = [item for item in of_kind if f"{name}-rotation" in json.dumps(item.inputs.get("spec", {}), default=str)]
    assert readers == [job]


@every_type
def test_versions_and_architectures_are_those_of_the_recipe(name: str) -> None:
    kind, folder = found(name)
    assert kind.versions
    assert kind.architectures
    if not (folder / "image").is_dir():
        return
    recipe = next(recipe for recipe in oci.catalogue() if recipe.name == name)
    # An image of a base and a Go program has no packages of its own, so that its architectures are the base's.
    locked = folder / "image" if recipe.is_locked else ROOT / "images" / str(recipe.base)
    lock = json.loads((locked / "lock.json").read_text(encoding="utf-8"))
    packages = {item["package"]: item["version"] for item in chain.from_iterable(lock["debian"].values())}
    names = recipe.debian.packages if recipe.debian is not None else ()
    # What Debian packages has the version of its upstream after an epoch; the recipe's packages are the software.
    wanted = [packages[item].partition(":")[2] or packages[item] for item in names if item in packages]
    built, *others = kind.versions
    assert _is_of(built, recipe.version) or _is_of(recipe.version, built)
    software = [recipe.version] if recipe.go or recipe.maven or recipe.npm or recipe.python else wanted
    assert any(_is_of(built, item) for item in software), (built, software)
    module_of = next((item.package for item in recipe.go if "." in item.package.partition("/")[0][1:]), "")
    if module_of:
        text = (folder / "image" / "go" / "go.mod").read_text(encoding="utf-8")
        required = dict(re.findall(r"(?m)^(?:require )?\s*(\S+) (v[0-9]\S*)(?: // indirect)?$", text))
        own = [version for module, version in required.items() if module_of.startswith(f"{module}/")]
        assert own == [f"v{recipe.version}"]
    if recipe.upstream:
        tag = recipe.upstream.rpartition(":")[2]
        assert any(_is_of(item, tag) for item in kind.versions), tag
        assert all(_is_of(item, tag) for item in others)
    else:
        assert not others
    # Public images may cover more than the lock, which is what can be built.
    assert set(lock["debian"]) <= set(kind.architectures)
    assert recipe.upstream or set(lock["debian"]) == set(kind.architectures)


def _is_of(series: str, version: str) -> bool:
    """Whether a version belongs to a series: `15` has `15.20-0+deb12u1`, and not `150`."""
    return re.match(rf"{re.escape(series)}(?![0-9])", version) is not None


@every_type
def test_what_people_see_in_a_browser_speaks_http(name: str) -> None:
    kind, _ = found(name)
    assert all(port.protocol in ("http", "https") for port in kind.ports if port.ui or port.metrics)


def test_placement_counts_what_pods_request(recorded: tuple[str, list[RecordedResource]]) -> None:
    name, items = recorded
    kind, _ = found(name)
    for item in (item for item in items if item.type.endswith((":Deployment", ":StatefulSet", ":DaemonSet"))):
        if item.inputs["metadata"]["labels"]["app.kubernetes.io/name"] != name:
            continue
        requests = [each["resources"]["requests"] for each in item.inputs["spec"]["template"]["spec"]["containers"]]
        asked = tuple(sum(parse_quantity(each[what]) for each in requests) for what in ("cpu", "memory"))
        on_each_node = item.type.endswith(":DaemonSet")
        counted = [each.total for each in kind.workloads("small") if each.each_node == on_each_node]
        assert asked in [(parse_quantity(each["cpu"]), parse_quantity(each["memory"])) for each in counted]


@every_type
def test_metadata_loads_no_program(name: str) -> None:
    """A type's own module imports the model alone, so that `validate` stays fast."""
    tree = ast.parse((found(name)[1] / "__init__.py").read_text(encoding="utf-8"))
    imports = [node for node in ast.walk(tree) if isinstance(node, ast.Import | ast.ImportFrom)]
    modules = [node.module or "" for node in imports if isinstance(node, ast.ImportFrom)]
    modules += [item.name for node in imports if isinstance(node, ast.Import) for item in node.names]
    assert [module for module in modules if not module.startswith(("wecityctl.model", "__future__"))] == []


@every_type
def test_images_are_those_of_recipes(name: str) -> None:
    kind, folder = found(name)
    recipes = {recipe.name: recipe for recipe in oci.catalogue()}
    assert set(kind.images) <= set(recipes)
    if (folder / "image").is_dir():
        assert recipes[name].directory == folder / "image"
        assert name in kind.images
        assert recipes[name].licence == kind.licence


@every_type
def test_what_it_uses_is_there_and_larger_sizes_have_more(name: str) -> None:
    kind, _ = found(name)
    served = {item.type.name for item in REGISTRY.values()} | set(
        chain.from_iterable(item.type.provides for item in REGISTRY.values())
    )
    assert {use.type for use in kind.uses} <= served
    assert all(REGISTRY[use.type].type.binding for use in kind.uses if use.type in REGISTRY)
    assert len({use.alias for use in kind.uses}) == len(kind.uses)
    assert not (kind.entry and kind.uses), "copies of an entry point have no accounts of their own"
    sizes = [kind.workloads(size) for size in SIZE_FACTORS]
    for small, large in pairwise(sizes):
        assert all(
            parse_quantity(a.cpu) < parse_quantity(b.cpu) and parse_quantity(a.memory) < parse_quantity(b.memory)
            for a, b in zip(small, large, strict=True)
        )


@pytest.mark.parametrize(
    "name", sorted(name for name, item in REGISTRY.items() if item.type.binding and item.type.binding.provisioner)
)
def test_a_binding_that_needs_an_account_has_a_provisioner_with_limits(name: str) -> None:
    kind, _ = found(name)
    assert kind.binding is not None
    module, _, attribute = kind.binding.provisioner.partition(":")
    provisioner = getattr(__import__(module, fromlist=[attribute]), attribute)
    assert isinstance(provisioner, Provisioner)
    assert set(kind.binding.credentials) <= set(kind.binding.keys)
    use = Use(name, "it")
    settings = provisioner.settings(_instance(kind), use, kind.limits_of(use))
    assert settings
    # A setting that the script does not read bounds nobody.
    credentials = [f"APP_{key.upper().replace('-', '_')}" for key in kind.binding.credentials]
    wanted = (*settings, "APP_ROLE", *credentials, "HOST", "PORT")
    assert [key for key in wanted if key not in provisioner.script] == []
    assert kind.limits_of(use) == kind.limits
    # Who can lock accounts can list and delete them too, by the names that it is given.
    scripts = (provisioner.deprovision, provisioner.delete, provisioner.inventory)
    assert len({bool(script) for script in scripts}) == 1
    assert all("HOST" in script and "ADMIN_PASSWORD" in script for script in scripts if script)
    assert all("ACCOUNTS" in script for script in scripts[:2] if script)


def test_every_object_has_the_labels_and_lies_behind_default_deny(recorded: tuple[str, list[RecordedResource]]) -> None:
    name, items = recorded
    denies = {
        item.inputs["metadata"]["namespace"]: item.urn
        for item in items
        if item.type.endswith(":NetworkPolicy") and item.inputs["metadata"]["name"] == "default-deny"
    }
    workloads = [item for item in some(items) if item.type.endswith((":Deployment", ":StatefulSet", ":DaemonSet"))]
    own = [item for item in workloads if item.inputs["metadata"]["labels"]["app.kubernetes.io/name"] == name]
    assert own
    assert len(own) == len(found(name)[0].pods)
    for item in items:
        labels = item.inputs["metadata"]["labels"]
        assert {"app.kubernetes.io/managed-by": "wecityctl", "wecity.dev/city": "xc"}.items() <= labels.items()
    for item in workloads:
        assert denies[item.inputs["metadata"]["namespace"]] in item.depends_on, item.name


def test_pods_are_restricted_and_request_resources(recorded: tuple[str, list[RecordedResource]]) -> None:
    _, items = recorded
    workloads = [item for item in items if item.type.endswith((":Deployment", ":StatefulSet"))]
    for item in some(workloads):
        spec = item.inputs["spec"]["template"]["spec"]
        assert spec["securityContext"]["runAsNonRoot"] is True
        assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        # A token is for pods that observe, which are none of those that the capability's Service selects.
        labels = item.inputs["spec"]["template"]["metadata"]["labels"]
        assert spec["automountServiceAccountToken"] is (labels["app.kubernetes.io/component"] == "observer")
        for container in (*spec["containers"], *spec.get("initContainers", ())):
            assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
            assert container["securityContext"]["allowPrivilegeEscalation"] is False
            assert container["securityContext"]["readOnlyRootFilesystem"] is True
            assert {"cpu", "memory"} <= container["resources"]["requests"].keys()
        assert any("readinessProbe" in container for container in spec["containers"]), item.name


def test_its_objects_break_no_policy_rule(stacks: tuple[str, Mapping[str, Recording]]) -> None:
    """What `up` would refuse, of the platforms and of the user's stack, where provisioning is."""
    name, recordings = stacks
    city = whole(name)
    kinds = {item: each.type for item, each in REGISTRY.items()}
    policy_input = PolicyInput(city, kinds, place(city, kinds), IMAGES, tuple(recordings.values()))
    violations = judge(policy_input, date(2026, 1, 1), RULES).mandatory
    assert [f"{item.rule}: {item.finding.message}" for item in violations] == []


def test_only_ports_of_the_type_are_served(recorded: tuple[str, list[RecordedResource]]) -> None:
    name, items = recorded
    kind, _ = found(name)
    services = [
        item
        for item in items
        if item.type.endswith(":Service") and item.inputs["metadata"]["labels"]["app.kubernetes.io/name"] == name
    ]
    ports = {port["port"] for item in some(services) for port in item.inputs["spec"]["ports"]}
    assert ports == {port.number for port in kind.ports}
