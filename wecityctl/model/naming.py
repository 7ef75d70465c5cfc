"""Every name that leaves this program: stacks, namespaces, objects, labels. Pure functions.

A name that would be longer than Kubernetes allows is cut and closed with a digest of the whole, so that it stays
unique and stable.
"""

from __future__ import annotations

import hashlib
import re

PROJECT = "wecity"
FIELD_MANAGER = "wecityctl"
LABEL_PREFIX = "wecity.dev"
MANAGED_BY = "wecityctl"
# In the environment of an update in a stack's history: whose token of a state server it was.
WHO = "wecity.who"
# The generated value that keys digests of secrets which people chose, so that a digest cannot be guessed back.
DIGEST_KEY = "city/digest-key"

_LABEL_VALUE = re.compile(r"^[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$")


def digest(*parts: str, length: int = 8) -> str:
    """The first hexadecimal digits of the SHA-256 over the parts, each closed by a zero byte."""
    return hashlib.sha256(b"".join(part.encode() + b"\0" for part in parts)).hexdigest()[:length]


def fit(name: str, limit: int = 63) -> str:
    """`name` if it fits, otherwise its beginning and eight digits of its digest."""
    if len(name) <= limit:
        return name
    return f"{name[: limit - 9].rstrip('-.')}-{digest(name)}"


def stack_name(city: str, layer: str, *rest: str) -> str:
    """The name of a Pulumi stack, such as `xingcheng.tenant.health-commission.main`."""
    return ".".join((city, layer, *rest))


def tenant_namespace(tenant: str, zone: str) -> str:
    """A tenant has one namespace in each zone that its apps run in."""
    return fit(f"{tenant}-{zone}")


def platform_namespace(platform: str, zone: str = "") -> str:
    """A platform has one namespace, and one more for each zone that a capability is tied to."""
    return fit(f"platform-{platform}-{zone}" if zone else f"platform-{platform}")


def zone_gateway(gateway: str, zone: str) -> str:
    """The name of the gateway of one zone's own entry point."""
    return fit(f"{gateway}-{zone}", 52)


def entry_host(route_host: str, domain: str) -> str:
    """The host name under which the entry point serves an app."""
    return f"{route_host}.{domain}"


def component_workload(app: str, component: str) -> str:
    """The name of the Deployment and Service of one component of an app."""
    return fit(f"{app}-{component}", 52)


def binding_secret(app: str, alias: str) -> str:
    """The Secret in which an app finds one binding."""
    return fit(f"{app}-binding-{alias}")


def account_name(separator: str, *owner: str) -> str:
    """The name of a use's account in a capability, such as a database role: at most 63 bytes.

    `owner` has the parts that tell the use from all others: tenant, app and the binding's name. With `_` as
    `separator` the name has letters, digits and underscores only; otherwise hyphens and dots stay.
    """
    if separator != "_":
        return fit(separator.join(owner), 63)
    return fit("_".join(owner).replace("-", "_").replace(".", "_"), 63).replace("-", "_")


def secret_key(*parts: str) -> str:
    """The name of a generated value in the city's secret store, such as `binding/health/code/db`."""
    return "/".join(parts)


def label_value(text: str) -> str:
    """`text` as a label value; what does not fit the syntax is replaced by a digest."""
    return text if not text or _LABEL_VALUE.match(text) else f"x-{digest(text)}"


def standard_labels(
    city: str, *, name: str, component: str, part_of: str, version: str = "", instance: str = ""
) -> dict[str, str]:
    """The recommended Kubernetes labels and ours; empty values are left out."""
    labels = {
        "app.kubernetes.io/name": label_value(name),
        "app.kubernetes.io/instance": label_value(instance or name),
        "app.kubernetes.io/version": label_value(version),
        "app.kubernetes.io/component": label_value(component),
        "app.kubernetes.io/part-of": label_value(part_of),
        "app.kubernetes.io/managed-by": MANAGED_BY,
        f"{LABEL_PREFIX}/city": city,
    }
    return {key: value for key, value in labels.items() if value}
