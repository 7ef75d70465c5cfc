"""Cases about single objects, as files: `tests/policy/objects/<rule>/<name>.yaml`.

The first document says what is expected: `refused`, part of what the API server says (absent: it takes the object),
and `found`, part of what the rule finds in the graph (absent: nothing); `as`, who asks (absent: the city's manager).
With `going: true` the last but one is being deleted, and the last is written over it: for the API server alone.
The others are the objects; the last of them is the one in question. One set of cases for both makes sure that a graph
rule and its admission policy draw the same line.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from stacks.catalogue import load_catalogue
from tests.stacks.cities import IMAGES, app, city
from wecityctl.model.city import (
    Administrators,
    AppUse,
    City,
    Cloud,
    Compliance,
    KubernetesSettings,
    Provided,
    Quota,
    Tenant,
)
from wecityctl.model.outputs import TenantOutputs
from wecityctl.placement import place
from wecityctl.policy.model import Manifest, PolicyInput
from wecityctl.resource_graph import RecordedResource, Recording

DIRECTORY = Path(__file__).with_name("objects")
NAMESPACE = "parks-extranet"
# Who deploys the tenant that the namespace is of.
DEPLOYER = "dep@x.example"
# The built images of the recipes; the other references of the tests are of no registry that this city allows.
OWN_IMAGES = {
    **IMAGES,
    "postgresql": "docker.io/library/postgres:15",
    "sample-app": "built.wecity.invalid/sample-app:1-0123456789ab",
}


@dataclass(frozen=True)
class Case:
    """One file."""

    path: Path
    objects: tuple[Manifest, ...]
    refused: str = ""
    found: str = ""
    who: str = ""
    going: bool = False
    # Another rule that refuses it as well: which of two policies answers is the API server's to choose.
    also: str = ""

    @property
    def rule(self) -> str:
        return self.path.parent.name

    def __str__(self) -> str:
        return f"{self.rule}/{self.path.stem}"


@cache
def cases() -> list[Case]:
    """Every case, by rule and name."""
    return [_load(path) for path in sorted(DIRECTORY.rglob("*.yaml"))]


def _load(path: Path) -> Case:
    head, *objects = yaml.load_all(path.read_text(), yaml.CSafeLoader)
    assert set(head) <= {"refused", "found", "as", "going", "also"}, path
    going = head.get("going", False)
    assert not going or len(objects) == 2, path
    texts = (head.get(name, "") for name in ("refused", "found", "as"))
    return Case(path, tuple(objects), *texts, going, head.get("also", ""))


def strict_city(name: str = "redline", **changes: Any) -> City:
    """A city with every line drawn: its registries, digests and administrators are named."""
    compliance = Compliance(
        mlps=3,
        registries=("registry.redline.example", "mirror.example:5000/gov"),
        image_digests=True,
        administrators=Administrators(("sys@x.example",), ("sec@x.example",), ("aud@x.example",)),
    )
    settings = KubernetesSettings(zone_ingress_classes={"ex": "between"})
    main = Cloud("main", "local", ("internet", "extranet", "ex"), kubernetes=settings)
    quota = Quota("8", "16Gi", "100Gi")
    parks = Tenant("parks", "parks", "digital-government", quota, deployers=(DEPLOYER,))
    library = Tenant("library", "library", "digital-government", quota)
    # Each of the two uses the other; `hall` uses nothing.
    benches = app("benches", "parks", "extranet", app_uses=(AppUse("library", "shelves", "shelves"),), route=None)
    shelves = app("shelves", "library", "extranet", app_uses=(AppUse("parks", "benches", "benches"),), route=None)
    apps = (
        replace(benches, provides=(Provided("api", to=("library/*",)),)),
        replace(shelves, provides=(Provided("api", to=("parks/benches",)),)),
        app("hall", "library", "extranet", route=None),
    )
    given = {"name": name, "compliance": compliance, "clouds": (main,), "tenants": (parks, library), "apps": apps}
    return city(**{**given, **changes})


def policy_input(objects: tuple[Mapping[str, Any], ...], whole: City | None = None) -> PolicyInput:
    """The objects as what the stack of tenant `parks` would register, in the namespace of an extranet."""
    whole = whole or strict_city()
    known = [namespace(whole.name), *objects]
    stack = f"{whole.name}.tenant.parks.main"
    resources = tuple(_recorded(stack, item) for item in known)
    recording = Recording(stack, resources, TenantOutputs("parks", "main", (NAMESPACE,), ()))
    return PolicyInput(whole, load_catalogue(), place(whole, load_catalogue()), OWN_IMAGES, (recording,))


def namespace(city_name: str, name: str = NAMESPACE, zone: str = "extranet", tenant: str = "parks") -> Manifest:
    """A tenant's namespace as the tenants' stacks make it, without what Pod Security would refuse first."""
    labels = {"wecity.dev/city": city_name, "wecity.dev/zone": zone, "wecity.dev/tenant": tenant}
    labels["pod-security.kubernetes.io/enforce"] = "restricted"
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}}


def _recorded(stack: str, item: Mapping[str, Any]) -> RecordedResource:
    version = item["apiVersion"] if "/" in item["apiVersion"] else f"core/{item['apiVersion']}"
    token = f"kubernetes:{version}:{item['kind']}"
    metadata = item["metadata"]
    name = f"{metadata['namespace']}/{metadata['name']}" if "namespace" in metadata else metadata["name"]
    return RecordedResource(f"urn:{stack}::{token}::{name}", token, name, "", (), item, True, False)
