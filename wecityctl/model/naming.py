"""Builds all external names: stacks, namespaces, objects, labels, secret store keys. Pure functions.

A name that is longer than Kubernetes allows is truncated and ends with a digest of the whole name, so that it stays
unique and stable.
"""

from __future__ import annotations

import hashlib
import re

PROJECT = "wecity"
FIELD_MANAGER = "wecityctl"
LABEL_PREFIX = "wecity.dev"
MANAGED_BY = "wecityctl"

# Labels of wecityctl on objects, namespaces, pods and nodes.
CITY_LABEL = f"{LABEL_PREFIX}/city"
TENANT_LABEL = f"{LABEL_PREFIX}/tenant"
ZONE_LABEL = f"{LABEL_PREFIX}/zone"
PLATFORM_LABEL = f"{LABEL_PREFIX}/platform"
DATA_CLASS_LABEL = f"{LABEL_PREFIX}/data-class"
POOL_LABEL = f"{LABEL_PREFIX}/pool"
# On Jobs of end-to-end probes and their pods: the capability.
PROBES_LABEL = f"{LABEL_PREFIX}/probes"
# On the pods of backups and restores: the capability.
BACKS_UP_LABEL = f"{LABEL_PREFIX}/backs-up"
DOMESTIC_LABEL = f"{LABEL_PREFIX}/domestic"
# On nodes, "true" or "false"; also the key of the taint of simulated nodes.
SIMULATED_LABEL = f"{LABEL_PREFIX}/simulated"
# Annotations of wecityctl. On a live object: the URN of the resource that may adopt it. `destroy` sets it on objects
# that it retains; people may set it too. `destroy` adds the resource's record, from which it can be restored into a
# state.
RETAINED_FOR = f"{LABEL_PREFIX}/retained-for"
RETAINED_RECORD = f"{LABEL_PREFIX}/retained-record"
# On Services: when the certificate of their server ends, in RFC 3339. The observer of metrics reads it.
CERTIFICATE_ENDS = f"{LABEL_PREFIX}/certificate-ends"
# Recommended labels of Kubernetes.
NAME_LABEL = "app.kubernetes.io/name"
INSTANCE_LABEL = "app.kubernetes.io/instance"
VERSION_LABEL = "app.kubernetes.io/version"
COMPONENT_LABEL = "app.kubernetes.io/component"
PART_OF_LABEL = "app.kubernetes.io/part-of"
MANAGED_BY_LABEL = "app.kubernetes.io/managed-by"

# Key in the environment of an update in a stack's history: the owner of the state server token that was used.
WHO = "wecity.who"
# Secret store key of the generated value that keys digests of user-chosen secrets, so that they cannot be guessed.
DIGEST_KEY = "city/digest-key"
# Prefixes of secret store keys by owner: the city, people of tenants, certificates of entry points, certificates of
# services, credentials of image registries, what backups need, what channels of messages need.
CITY_KEYS, TENANT_KEYS, ENTRY_KEYS, SERVICE_KEYS = "city/", "tenant/", "entry/", "service/"
REGISTRY_KEYS, BACKUP_KEYS, NOTIFICATION_KEYS = "registry/", "backup/", "notification/"
# Prefixes of the values that people set.
GIVEN_KEYS = (TENANT_KEYS, REGISTRY_KEYS, BACKUP_KEYS, NOTIFICATION_KEYS)

_LABEL_VALUE = re.compile(r"^[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$")


def digest(*parts: str, length: int = 8) -> str:
    """The first `length` hexadecimal digits of the SHA-256 over the parts, each terminated by a zero byte."""
    return hashlib.sha256(b"".join(part.encode() + b"\0" for part in parts)).hexdigest()[:length]


def embedded_cloud(city: str, cloud: str) -> str:
    """The name of the embedded cloud behind a city's cloud. Two cities may use the same cloud name.

    It is ambiguous where names have hyphens: `a-b` and `c` are as `a` and `b-c`. `embedded_cloud_owner` is not.
    """
    return f"{city}-{cloud}"


def embedded_cloud_owner(city: str, cloud: str) -> str:
    """Whose an embedded cloud is, in words for people."""
    return f"cloud {cloud} of city {city}"


def volume_claim(workload: str, volume: str) -> str:
    """The name of the claim of a component's volume."""
    return fit(f"{workload}-{volume}")


def fit(name: str, limit: int = 63) -> str:
    """`name` if it is not longer than `limit`; otherwise its beginning and eight digits of its digest."""
    if len(name) <= limit:
        return name
    return f"{name[: limit - 9].rstrip('-.')}-{digest(name)}"


def stack_name(city: str, layer: str, *rest: str) -> str:
    """The name of a Pulumi stack, such as `xingcheng.tenant.health-commission.main`."""
    return ".".join((city, layer, *rest))


def tenant_namespace(tenant: str, zone: str) -> str:
    """The namespace of a tenant's apps in one zone."""
    return fit(f"{tenant}-{zone}")


def platform_namespace(platform: str, zone: str = "") -> str:
    """The namespace of a platform; with `zone`, that of its capabilities that are bound to this zone."""
    return fit(f"platform-{platform}-{zone}" if zone else f"platform-{platform}")


def zone_gateway(gateway: str, zone: str) -> str:
    """The name of the gateway that is the entry point of one zone."""
    return fit(f"{gateway}-{zone}", 52)


def entry_host(route_host: str, domain: str) -> str:
    """The host name at which the entry point serves an app."""
    return f"{route_host}.{domain}"


def component_workload(app: str, component: str) -> str:
    """The name of the Deployment, Job or CronJob and the Service of one component of an app.

    It leaves room for what is added: a digest to a Job's name, the time to that of a CronJob's Job.
    """
    return fit(f"{app}-{component}", 52)


def canary_component(component: str) -> str:
    """The name of the component that a rollout adds as the canary of another one."""
    return fit(f"{component}-canary")


def provided_service(workload: str, provided: str) -> str:
    """The name of the Service by which apps on other clouds reach what an app provides."""
    return fit(f"{workload}-{provided}-crossing")


def tls_secret(service: str) -> str:
    """The name of the Secret with the certificate and key of a Service of an app."""
    return fit(f"{service}-tls")


def binding_secret(app: str, alias: str) -> str:
    """The name of the Secret with one binding of an app."""
    return fit(f"{app}-binding-{alias}")


def use_pull_secret(app: str, alias: str) -> str:
    """The name of the Secret with which nodes pull the images that an app has in a registry it uses.

    It has a dot, so that no other Secret is named like this. The credential is the app's own, as in the binding beside
    it, so that it is none of the city's (`registries.PULL_SECRET_PREFIX`), which deployers may not write.
    """
    return f"{binding_secret(app, alias)}.pull"


def account_name(separator: str, *owner: str) -> str:
    """The name of a use's account in a capability, such as a database role; at most 63 bytes.

    `owner` has the parts that identify the use: tenant, app and alias. With `_` as `separator`, the name has only
    letters, digits and underscores; otherwise hyphens and dots stay.
    """
    if separator != "_":
        return fit(separator.join(owner), 63)
    return fit("_".join(owner).replace("-", "_").replace(".", "_"), 63).replace("-", "_")


def secret_key(*parts: str) -> str:
    """A secret store key, such as `binding/health/code/db`."""
    return "/".join(parts)


def admin_key(capability: str) -> str:
    """The secret store key of the password of a capability's administrator."""
    return secret_key("capability", capability, "admin")


def previous_key(key: str) -> str:
    """The secret store key of the values that `key` had before, a line for each, the latest first."""
    return secret_key(key, "previous")


def instance_key(capability: str, name: str) -> str:
    """The secret store key of a further generated value of a capability (`CapabilityType.secrets`)."""
    return secret_key("capability", capability, name)


def tenant_key(tenant: str, name: str) -> str:
    """The secret store key of a value that people of a tenant set under the name `name`."""
    return secret_key("tenant", tenant, name)


def registry_key(name: str) -> str:
    """The secret store key of a credential for image registries that the City names."""
    return f"{REGISTRY_KEYS}{name}"


def backup_key(name: str) -> str:
    """The secret store key of a secret for backups that the City names."""
    return f"{BACKUP_KEYS}{name}"


def notification_key(name: str) -> str:
    """The secret store key of a secret for a channel of messages that the City names."""
    return f"{NOTIFICATION_KEYS}{name}"


def given_name(key: str) -> str:
    """How users name a value that they set: `TENANT/NAME`, or `NAME` for one of the city's own."""
    return key.removeprefix(next((prefix for prefix in GIVEN_KEYS if key.startswith(prefix)), ""))


def label_value(text: str) -> str:
    """`text` as a label value; invalid text is replaced by a digest."""
    return text if not text or _LABEL_VALUE.fullmatch(text) else f"x-{digest(text)}"


def standard_labels(
    city: str, *, name: str, component: str, part_of: str, version: str = "", instance: str = ""
) -> dict[str, str]:
    """The recommended labels of Kubernetes and those of wecityctl; empty values are omitted."""
    labels = {
        NAME_LABEL: label_value(name),
        INSTANCE_LABEL: label_value(instance or name),
        VERSION_LABEL: label_value(version),
        COMPONENT_LABEL: label_value(component),
        PART_OF_LABEL: label_value(part_of),
        MANAGED_BY_LABEL: MANAGED_BY,
        CITY_LABEL: city,
    }
    return {key: value for key, value in labels.items() if value}
