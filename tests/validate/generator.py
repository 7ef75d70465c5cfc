"""Random city files: seeded, small, and full of values at the edges of what the files may say.

Most of the cities are valid; what `validate` refuses is of no further interest to the tests that use them.
"""

from __future__ import annotations

import json
import random
import string
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

Document = dict[str, Any]
T = TypeVar("T")

VERSION = "wecity.dev/v1alpha1"
LETTERS = string.ascii_lowercase
# Of each kind of value there are some at the edge of what is valid, and under WRONG some just beyond it, which are
# rare: most cities are to be valid.
WRONG_SHARE = 0.015

# Short names that meet when they are joined by a hyphen.
TENANTS = ("a", "a-b", "kube", "platform", "9", "default", "health-commission", "x" * 40)
ZONES = ("b", "b-c", "c", "public", "internet", "z" * 20)
APPS = ("a", "a-to", "b-c", "entry", "x", "a-b", "health-code", "w" * 40)
COMPONENTS = ("web", "binding-x", "9", "files", "to-x", "within", "crossing", "prepare", "v" * 40)
ALIASES = ("x", "to-x", "x-secrets", "db", "within", "9", "a" * 40)
CAPABILITIES = ("pg-data", "pg", "pg-crossing", "cache-admin", "c" * 40)
SECRETS = ("greeting", "sms-key", "a", "s" * 63)
VARIABLES = ("TZ", "PORT", "APP_NAME", "_x", "lower", "V" * 255)
PATHS = (
    "/etc/app.conf",
    "/etc/应用.conf",
    "/etc/my app.conf",
    "/tmp/x",
    "/etc/..hidden",
    "/etc/...",
    "/a/" + "n" * 240,
    "/" + "d/" * 100 + "f",
    "/var/lib/app/.env",
    "/srv/a%b&c'd",
)
TEXTS = (
    "",
    "plain",
    "$(X)",
    "$$",
    "$(APP_NAME) $$(PORT) $",
    "多字节 文字",
    "😀 𠮷",
    "a\nb\n",
    "  leading",
    "true",
    "1.10",
    "null",
    "{{ not a template }} ",
    '"quoted" \\ back',
    "tab\there",
    "x" * 2000,
    "-----",
    "%s ${HOME}",
)
# A variable of the component in a command is refused.
WORDS = tuple(text.replace("$(APP_NAME)", "$(NOBODYS)") for text in TEXTS)
TITLES = (
    "卫生健康委",
    "卫生　健康委",
    "a" * 200,
    '\'; -- "x" \\',
    "😀 bureau",
    "𠮷野",
    "*.b",
    "(",
    "[x]*",
    "\\u0041",
    "a|b^$",
)
CPUS = ("1m", "50m", "0.5", "1", "1.5", "2e0", ".5", "1.", "0.100", "1e-2", "1000u", "1000000n", "+1")
MEMORY = ("4Mi", "64Mi", "0.5Gi", "1e7", "128M", "1Gi", "1.5Gi", "100000k", "1E9", ".5Gi", "2.Gi", "123456789")
SIZES = ("1", "1024", *MEMORY)
LARGE = ("10Ti", "1Pi", "9e15", "1Ei", "9223372036854775807")
EMAILS = ("alice@a.example", "王@a.example", "o'neil@a.example", "system:admin@x", "a/b@c", "a" * 243 + "@a.example")
HOSTS = ("a", "a.b", "xn--fiq", "1.2", "h" * 60, "a-b.c-d", "0")
ROUTES = ("/", "/a", "/a/b/", "/~x", "/a..b", "/.well-known", "/" + "p" * 199)
HEALTH = ("/", "/healthz", "/h?a=b&c=d", "/%zz", "/#x", "/" + "h" * 199, "/a:b", "/$(X)")
ACCELERATORS = ("nvidia.com/gpu", "huawei.com/Ascend910", "a.b/c")
LABEL_KEYS = ("tier", "example.org/tier", "a" * 63, "a.b/" + "c" * 63)
LABEL_VALUES = ("", "1", "gold", "a.b_c-d", "L" * 63, "true")
CLASSES = ("nginx", "team.example", "9", "i" * 253)
IMAGES = (
    "catalogue:sample-app",
    "registry.example/a/web:1.4.2",
    "nginx",
    "nginx:1",
    "localhost/a",
    "Registry.example/a",
    "registry.example:5000/a/b_c/d--e:v1.0_x-y",
    "registry.example/a@sha256:" + 64 * "0",
    "registry.example/a:1@sha256:" + 64 * "f",
    "docker.io/library/" + "i" * 200 + ":" + "t" * 128,
)
WRONG: Mapping[tuple[str, ...], tuple[str, ...]] = {
    ZONES: ("system",),
    APPS: ("default", "B"),
    CAPABILITIES: ("entry", "9"),
    SECRETS: ("tz", "port", "app-name", "app-tenant", "service-binding-root", "1password"),
    PATHS: ("/etc/a:b", "/tmp", "/etc", "/bindings/x", "/bindings", "//etc/double", "/proc", "/etc/app.conf/inner"),
    TITLES: ("", "a\nb", "a" * 201),
    CPUS: ("５", "1\n", "0.0001", "1Gi"),
    MEMORY: ("512", "1e-3", "４Gi", "64Mi\n", "1.0001Ki"),
    ACCELERATORS: ("requests.nvidia.com/gpu", "gpu"),
    LABEL_KEYS: ("app.kubernetes.io/name", "pod-security.kubernetes.io/enforce", "wecity.dev/zone"),
    LABEL_VALUES: ("-a", "快"),
    CLASSES: ("Nginx", "a b", "快", "-x", "i" * 254),
    IMAGES: ("catalogue:nothing-like-it", "Team/web", "a..b/web", "r.example/" + "i" * 250, "a/web:"),
}


class Generator:
    """One random city. The same seed gives the same files."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)

    def documents(self) -> list[Document]:
        """All documents of the city, in an order that a department might write them in."""
        self.zones = self.some(ZONES, 1, 3)
        self.used: list[str] = []
        self.devices: list[str] = []
        self.entry = False
        self.hosts: dict[str, str] = {}
        self.providers = [self.weighted({"local": 3, "kubernetes": 3}) for _ in range(self.number({1: 6, 2: 1}))]
        clouds = [self._cloud(f"cloud-{index}" if index else "main", kind) for index, kind in enumerate(self.providers)]
        platform = [self._platform()] if self.chance(0.75) else []
        tenants = self.some(TENANTS, 1, self.number({1: 3, 2: 1}))
        apps = [(tenant, app) for tenant in tenants for app in self.some(APPS, 0, 2)]
        return [
            self._city(),
            *clouds,
            *platform,
            *(self._tenant(name) for name in tenants),
            *(self._app(tenant, name, number) for number, (tenant, name) in enumerate(apps)),
            *([self._waiver()] if self.chance(0.3) else []),
        ]

    def text(self) -> str:
        """The city as one file. JSON is YAML, and the quickest to write and to read."""
        return "\n---\n".join(json.dumps(item, ensure_ascii=False) for item in self.documents())

    def chance(self, probability: float) -> bool:
        return self.random.random() < probability

    def one(self, values: Sequence[T]) -> T:
        return self.some(values, 1, 1)[0]

    def mostly(self, usual: T, others: Sequence[T], probability: float = 0.25) -> T:
        """Usually the value that nobody would doubt, so that most cities stay valid."""
        return self.one(others) if self.chance(probability) else usual

    def some(self, values: Sequence[T], least: int, most: int) -> list[T]:
        found = self.random.sample(list(values), self.random.randint(least, min(most, len(values))))
        wrong: Any = WRONG.get(values) if isinstance(values, tuple) else None  # type: ignore[call-overload]
        return [self.random.choice(wrong) if wrong and self.chance(WRONG_SHARE) else item for item in found]

    def weighted(self, weights: dict[T, int]) -> T:
        return self.random.choices(list(weights), list(weights.values()))[0]

    def number(self, weights: dict[int, int]) -> int:
        return self.weighted(weights)

    def _name(self, limit: int) -> str:
        size = self.one((1, 5, limit))
        return self.one(LETTERS) + "".join(self.random.choices(LETTERS + string.digits, k=size - 1))

    def _labels(self) -> dict[str, str]:
        keys = [self.mostly("tier", LABEL_KEYS, 0.3) for _ in range(self.number({0: 3, 1: 2, 2: 1}))]
        return {key: self.one(LABEL_VALUES) for key in keys}

    def _document(self, kind: str, metadata: Document, spec: Document) -> Document:
        return {"apiVersion": VERSION, "kind": kind, "metadata": metadata, "spec": spec}

    def _city(self) -> Document:
        kinds = [self.one(("internet", "government-extranet", "data-exchange")) for _ in self.zones]
        spec: Document = {
            "domain": self.one(("xc.example", "a.b", ".".join(["d" * 58] * 3), "xn--fiqs8s.example")),
            "zones": [
                {"name": name, "kind": kind, "egress": kind == "internet" and self.chance(0.3)}
                for name, kind in zip(self.zones, kinds, strict=True)
            ],
            "compliance": {
                "mlps": self.random.randint(1, 4),
                "imageDigests": self.chance(0.2),
                "registries": self.some(("registry.example", "registry.example:5000/a", "docker.io"), 0, 2),
                "logRetentionDays": self.one((1, 180, 3660)),
                "administrators": dict(
                    zip(("system", "security", "audit"), ([email] for email in self.some(EMAILS, 3, 3)), strict=True)
                )
                if self.chance(0.3)
                else {},
            },
            "images": {
                "source": self.one(("upstream", "built")),
                "registry": self.mostly("", ("registry.example", "registry.example:5000/base"), 0.3),
                "architectures": self.some(("amd64", "arm64", "loong64"), 1, 3),
            },
        }
        if len(self.zones) > 1 and self.chance(0.6):
            spec["flows"] = [
                {
                    "from": self.zones[0],
                    "to": self.zones[1],
                    "ports": self.some((1, 80, 443, 8443, 65535), 1, 3),
                    "approvedBy": self.one(TITLES),
                    "reason": self.one(TITLES),
                }
                for _ in range(self.number({1: 4, 2: 1}))
            ]
        return self._document("City", {"name": self._name(24), "labels": self._labels()}, spec)

    def _cloud(self, name: str, provider: str) -> Document:
        spec: Document = {"provider": provider, "zones": self.zones}
        if provider == "local":
            spec["local"] = {"nodes": self.one(("real", "simulated"))}
        else:
            names = {key: self.mostly("", CLASSES, 0.4) for key in ("ingressClass", "storageClass")}
            spec["kubernetes"] = {"context": name if self.chance(0.95) else "", **names}
            self.entry = self.entry or bool(names["ingressClass"])
            if names["ingressClass"]:
                # No class serves two zones that have entry points of their own.
                spec["kubernetes"]["zoneIngressClasses"] = {zone: f"own-{zone}" for zone in self.zones}
        if self.chance(0.4):
            self.devices = self.some(ACCELERATORS, 0, 3)
            spec["pools"] = [
                {
                    "name": "general",
                    "architecture": "amd64",
                    "nodes": 3,
                    "cpu": "64",
                    "memory": "1Ti",
                    "storage": "100Ti",
                    "labels": self._labels(),
                    "accelerators": dict.fromkeys(self.devices, 64),
                    "zones": self.some(self.zones, 0, 1),
                }
            ]
        if len(self.providers) > 1:
            spec["interconnect"] = {"address": "10.2.0.9", "sources": ["10.2.0.0/24"], "encrypted": self.chance(0.5)}
        return self._document("Cloud", {"name": name, "labels": self._labels()}, spec)

    def _platform(self) -> Document:
        items: list[Document] = [{"name": "gateway", "replicas": self.one((1, 2, 8))}] if self.chance(0.8) else []
        if items:
            items[0]["name"], items[0]["type"] = self.mostly("gateway", CAPABILITIES, 0.2), "gateway"
        for kind in self.some(("postgresql", "cache"), 0, 2):
            items.append(
                {
                    "name": self.mostly(kind, CAPABILITIES, 0.4),
                    "type": kind,
                    "size": self.one(("small", "medium", "large")),
                    "storage": self.one(SIZES),
                    **({"zone": self.one(self.zones)} if self.chance(0.3) else {}),
                }
            )
        items = items or [{"name": "cache"}]
        self.used = [item["name"] for item in items if item.get("type") != "gateway"]
        self.entry = self.entry or len(self.used) < len(items)
        return self._document("Platform", {"name": "application"}, {"capabilities": items})

    def _tenant(self, name: str) -> Document:
        spec = {
            "title": self.one(TITLES),
            "area": "digital-government",
            "quota": {"cpu": self.one(("1000", "1e4", "1e3")), "memory": self.one(LARGE), "storage": self.one(LARGE)},
            "admins": self.some(EMAILS, 0, 2),
            # No draw: the cities stay those that they were.
            "deployers": ["ci@x.example", "system:serviceaccount:ci:parks"][: len(name) % 3],
            "type": self.weighted({"department": 5, "partner": 1}),
        }
        return self._document("Tenant", {"name": name, "labels": self._labels()}, spec)

    def _app(self, tenant: str, name: str, number: int) -> Document:
        components = [self._component(item) for item in self.some(COMPONENTS, 1, 2)]
        spec: Document = {
            "stage": self.weighted({"published": 6, "reviewed": 1, "suspended": 1, "draft": 1}),
            "zone": self.one(self.zones),
            "dataClass": self.weighted({"L1": 6, "L2": 6, "L3": 1}),
            "channels": self.some(("web", "mini-program"), 0, 2),
            "components": components,
        }
        if self.used and self.chance(0.5):
            spec["uses"] = [
                {"capability": self.one(self.used), "as": alias, "storage": "1Mi"} for alias in self.some(ALIASES, 1, 2)
            ]
        if self.entry and "port" in components[0] and self.chance(0.8):
            host = self.mostly(f"h{number}", HOSTS, 0.3)
            # A host and what is below it, as a.b is below b, belongs to one tenant.
            if self.hosts.setdefault(host, tenant) != tenant:
                host = f"h{number}"
            spec["route"] = {"host": host, "path": self.mostly("/", ROUTES, 0.4)}
            if sum("port" in part for part in components) > 1:
                spec["route"]["component"] = components[0]["name"]
        return self._document("App", {"name": name, "tenant": tenant, "labels": self._labels()}, spec)

    def _component(self, name: str) -> Document:
        part: Document = {"name": name, "image": self.mostly("catalogue:sample-app", IMAGES, 0.7)}
        if self.chance(0.7):
            part["port"] = self.one((1, 80, 8080, 65535))
            if self.chance(0.5):
                part["health"] = {"path": self.one(HEALTH)}
        if self.chance(0.6):
            part["resources"] = {"cpu": self.one(CPUS), "memory": self.one(MEMORY)}
            if self.devices and self.chance(0.5):
                part["resources"]["accelerators"] = {self.one(self.devices): self.one((0, 1, 2))}
        part["replicas"] = self.mostly(1, (1, 2, 10), 0.4)
        if self.chance(0.2):
            part["autoscale"] = {"min": self.one((1, 2)), "max": self.one((2, 20)), "cpu": self.one((1, 70, 100))}
        if self.chance(0.4):
            part["env"] = {key: self.one(TEXTS) for key in self.some(VARIABLES, 1, 2)}
        if self.chance(0.3):
            part["secrets"] = self.some(SECRETS, 1, 2)
        if self.chance(0.4):
            part["files"] = {path: self.one(TEXTS) for path in self.some(PATHS, 1, 2)}
        if self.chance(0.3):
            part["command"] = ["/app/web", *(self.one(WORDS) for _ in range(self.number({0: 1, 1: 1, 3: 1})))]
        if self.chance(0.3):
            part["architectures"] = ["amd64", *self.some(("arm64", "loong64"), 0, 2)]
        return part

    def _waiver(self) -> Document:
        spec = {
            "rule": self.one(("images-by-digest", "image-registries", "image-architectures", "log-retention")),
            "subjects": self.some(TITLES, 1, 3),
            "owner": self.one(EMAILS),
            "reason": self.one(TITLES),
            "expires": "2099-03-31",
        }
        return self._document("Waiver", {"name": self._name(63)}, spec)
