"""Cities with landing zones as values, their recordings, and what a vendor's SDK knows of its own properties."""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import lru_cache
from importlib import import_module
from pathlib import Path
from typing import Any

import pulumi
import yaml

from stacks.catalogue import load_catalogue
from stacks.clouds.alicloud import AlicloudSettings
from stacks.clouds.huaweicloud import HuaweiCloudSettings
from stacks.clouds.openstack import OpenStackSettings
from stacks.clouds.tencentcloud import TencentCloudSettings
from wecityctl.engine.sdk.recorder import Answers, record
from wecityctl.inputs import StackInputs
from wecityctl.model.balancers import Balancer
from wecityctl.model.city import City, Cloud, Compliance, Flow, Network, Pool, ProviderKind, Zone
from wecityctl.model.outputs import LandingOutputs
from wecityctl.model.vendors import VendorSettings, vendors
from wecityctl.plan import make_plan
from wecityctl.resource_graph import RecordedResource, Recording

_OUTPUTS = ("region", "network", "subnets", "cluster", "bucket", "key", "balancers", "addresses", "public_zones")
EXPECTED = Path(__file__).parent / "expected"
INTERNET = Zone("internet", "internet", egress=True)
EXTRANET = Zone("extranet", "government-extranet")
EXCHANGE = Zone("exchange", "data-exchange")
GENERAL = Pool("general", "amd64", 3, "16", "64Gi", "500Gi", {"disk": "ssd"}, instance_types=("amd.large",))
KUNPENG = Pool("kunpeng", "arm64", 2, "64", "256Gi", "2Ti", domestic=True, instance_types=("arm.large", "arm.huge"))

VENDORS = tuple(vendors())
SETTINGS: dict[str, VendorSettings] = {
    "openstack": OpenStackSettings(
        external_network="0f3e1c9a-6d2b-4c55-9a7e-2b8d4f6a1c30",
        image="fcos-40",
        images={"arm64": "fcos-40-arm64"},
        master_flavor="m1.large",
        masters=3,
        key_pair="ops",
        availability_zone="nova",
        key_manager=True,
    ),
    "alicloud": AlicloudSettings(("region-1-a", "region-1-b")),
    "tencentcloud": TencentCloudSettings(("region-1-a", "region-1-b"), app_id="1250000000"),
    "huaweicloud": HuaweiCloudSettings(("region-1-a", "region-1-b"), key_pair="ops"),
}


def cloud(provider: ProviderKind, *zones: Zone, **changes: Any) -> Cloud:
    """A cloud of a vendor with two pools of different architectures and every setting that it needs."""
    base = Cloud(
        "main",
        provider,
        tuple(zone.name for zone in zones),
        pools=(GENERAL, replace(KUNPENG, zones=(zones[-1].name,))),
        region="region-1",
        network=Network("10.8.0.0/16"),
        settings=SETTINGS[provider],
    )
    return replace(base, **changes)


def city(*clouds: Cloud, sm: bool = False, **changes: Any) -> City:
    """A city with three zones, two declared flows and the clouds."""
    base = City(
        name="xc",
        domain="xc.example",
        zones=(INTERNET, EXTRANET, EXCHANGE),
        flows=(
            Flow("internet", "exchange", (443,), "data-bureau", "one-stop service"),
            Flow("exchange", "extranet", (443, 8443), "data-bureau", "one-stop service"),
        ),
        clouds=clouds,
        compliance=Compliance(sm=sm),
    )
    return replace(base, **changes)


def inputs_of(base: City, name: str = "main", balancers: tuple[Balancer, ...] = ()) -> StackInputs:
    """What the landing stack of a cloud is given."""
    catalogue = load_catalogue()
    plan = make_plan(base, catalogue)
    return StackInputs(
        city=base,
        stack=plan.stack(f"{base.name}.landing.{name}"),
        placement=plan.placement,
        catalogue=catalogue,
        cluster=None,
        upstream={},
        images={},
        provider_version="",
        balancers=balancers,
    )


def recorded(
    base: City, name: str = "main", answers: Answers | None = None, balancers: tuple[Balancer, ...] = ()
) -> Recording:
    """The landing stack of a cloud, recorded."""
    return record(inputs_of(base, name, balancers), answers=answers)


def outputs_of(recording: Recording) -> LandingOutputs:
    assert isinstance(recording.outputs, LandingOutputs)
    return recording.outputs


def by_type(recording: Recording, token: str) -> dict[str, RecordedResource]:
    """The resources of a type by logical name."""
    return {item.name: item for item in recording.resources if item.type == token}


def tokens(recording: Recording) -> set[str]:
    return {item.type for item in recording.resources}


def snapshot(recording: Recording) -> str:
    """A recording as a text that a person can review, in an order of its own: resources by type and name, what each
    waits for, its inputs; the outputs but the kubeconfig."""
    urns = {item.urn: f"{item.type.rpartition(':')[2]} {item.name}" for item in recording.resources}
    lines: list[dict[str, Any]] = []
    for item in sorted(recording.resources, key=lambda each: (each.type, each.name)):
        entry: dict[str, Any] = {"type": item.type, "name": item.name}
        if item.protect:
            entry["protect"] = True
        if item.depends_on:
            entry["after"] = sorted(urns.get(urn, urn.rpartition("::")[2]) for urn in item.depends_on)
        entry["inputs"] = _sorted(item.inputs)
        lines.append(entry)
    found = outputs_of(recording)
    outputs = {name: getattr(found, name) for name in _OUTPUTS}
    return yaml.safe_dump({"resources": lines, "outputs": outputs}, sort_keys=False, allow_unicode=True, width=110)


def _sorted(value: Any) -> Any:
    """Mappings in order of their keys, since the engine's protocol keeps none."""
    if isinstance(value, Mapping):
        return {key: _sorted(value[key]) for key in sorted(value)}
    return [_sorted(item) for item in value] if isinstance(value, list) else value


def check_snapshot(name: str, recording: Recording) -> None:
    """The recording is what the file says. A file that is not there is written, and the test fails once."""
    path = EXPECTED / f"{name}.yaml"
    text = snapshot(recording)
    if not path.exists():
        path.write_text(text, encoding="utf-8")
        raise AssertionError(f"{path} was not there and is written: read it, then run the test again")
    assert text == path.read_text(encoding="utf-8")


def unknown_inputs(recording: Recording) -> list[str]:
    """The recorded inputs that the SDK's own resource types do not know, also inside of nested arguments."""
    return [
        f"{item.type} {item.name}: {name}"
        for item in recording.resources
        if not item.type.startswith("pulumi:")
        for name in _unknown(item.inputs, _resource_properties(item.type))
    ]


def _unknown(inputs: Mapping[str, Any], known: Mapping[str, Any]) -> Iterator[str]:
    for name, value in inputs.items():
        if name not in known:
            yield name
            continue
        nested = known[name]
        for part in value if isinstance(value, list) else [value]:
            if nested is not None and isinstance(part, dict):
                yield from (f"{name}.{inner}" for inner in _unknown(part, _nested_properties(nested)))


def _resource_properties(token: str) -> Mapping[str, Any]:
    if token == "kubernetes" or token.startswith("pulumi:providers:"):
        return {}
    package = token.partition(":")[0]
    if token not in _resource_classes(package):
        # Some SDKs import a class when it is first used.
        _resource_classes.cache_clear()
    return _resource_classes(package)[token]


@lru_cache(maxsize=8)
def _resource_classes(package: str) -> Mapping[str, Mapping[str, Any]]:
    """By token, the properties of every resource class that the vendor's module has imported."""
    prefix = {"tencentcloud": "tencentcloud_iac_pulumi"}.get(package, f"pulumi_{package}")
    found: dict[str, Mapping[str, Any]] = {}
    for name, module in sorted(sys.modules.items()):
        if name.startswith(f"{prefix}.") and module is not None:
            for kind in vars(module).values():
                if isinstance(kind, type) and issubclass(kind, pulumi.CustomResource):
                    token = getattr(kind, "pulumi_type", "") or _token(kind)
                    home = sys.modules[kind.__module__]
                    # A resource whose own arguments had its name would conflict with a nested one has `InitArgs`.
                    arguments = getattr(home, f"{kind.__name__}InitArgs", getattr(home, f"{kind.__name__}Args", None))
                    if token and arguments is not None:
                        found[token] = _nested_properties(arguments)
    return found


def _token(kind: type) -> str:
    """The token that a generated class registers: a literal in its constructors."""
    for member in vars(kind).values():
        for literal in getattr(getattr(member, "__code__", None), "co_consts", ()):
            if isinstance(literal, str) and re.fullmatch(r"[a-z]+:[\w./-]+:\w+", literal):
                return literal
    return ""


@lru_cache(maxsize=512)
def _nested_properties(kind: type) -> Mapping[str, Any]:
    """The properties of an argument class by the name that the engine is given, each with its own argument class."""
    properties: dict[str, Any] = {}
    for name, member in vars(kind).items():
        getter = getattr(member, "fget", None)
        if getter is not None:
            properties[getattr(getter, "_pulumi_name", name)] = _argument_class(kind, getter)
    return properties


def _argument_class(kind: type, getter: Any) -> type | None:
    """The nested argument class that a property's annotation names, if it names one."""
    annotation = str(inspect.signature(getter).return_annotation)
    package = kind.__module__.rpartition(".")[0]
    for module_name in (f"{package}._inputs", kind.__module__):
        module = import_module(module_name) if module_name in sys.modules else None
        for word in re.findall(r"\w+Args\b", annotation):
            found = getattr(module, word, None)
            if isinstance(found, type):
                return found
    return None
