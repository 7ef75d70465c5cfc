"""The provider's configuration: parsing, environment variables as fallback, and comparison with an earlier one.

Opens no connection, and reads a kubeconfig file only to tell which cluster it names.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import yaml

from wecityctl.errors import AuthenticationError
from wecityctl.provider.kinds import not_served
from wecityctl.provider.properties import Unknown, contains, plain

PREFIX: Final = "kubernetes:config:"
# Environment variable of one run: objects that hold other objects or data may be replaced.
REPLACE_DATA: Final = "WECITYCTL_REPLACE_DATA"
# Environment variable of one run: other managers' changes are overwritten. For objects in a state, the run takes them
# over before it applies, so this concerns previews and adoptions only.
TAKE_OVER: Final = "WECITYCTL_TAKE_OVER"

# Options that only the official plug-in supports.
_UNSERVED: Final = {"renderYamlToDirectory": "rendering YAML to a directory (renderYamlToDirectory)"}


@dataclass(frozen=True, slots=True)
class Settings:
    """One provider resource's inputs. Texts are empty where nothing was given."""

    kubeconfig: str = field(default="", repr=False)
    context: str = ""
    cluster: str = ""
    namespace: str = ""
    cluster_identifier: str = ""
    delete_unreachable: bool = False
    skip_update_unreachable: bool = False
    config_map_mutable: bool = False
    secret_mutable: bool = False
    patch_force: bool = False
    upsert_existing: bool = False
    replace_data: bool = False
    take_over: bool = False
    suppress_deprecation_warnings: bool = False


def read_settings(args: Mapping[str, Any], variables: Mapping[str, str], environ: Mapping[str, str]) -> Settings:
    """The settings from Configure's `args` (decoded), its older `variables`, and the environment, in that order."""

    def text(name: str) -> str:
        value = plain(args.get(name))
        if value is None:
            value = variables.get(PREFIX + name)
        if value is None or isinstance(value, Unknown):
            return ""
        return value if isinstance(value, str) else json.dumps(value)

    def flag(name: str, variable: str) -> bool:
        return (text(name) or environ.get(variable, "")).lower() == "true"

    return Settings(
        kubeconfig=text("kubeconfig"),
        context=text("context"),
        cluster=text("cluster"),
        namespace=text("namespace"),
        cluster_identifier=text("clusterIdentifier"),
        delete_unreachable=flag("deleteUnreachable", "PULUMI_K8S_DELETE_UNREACHABLE"),
        skip_update_unreachable=flag("skipUpdateUnreachable", "PULUMI_K8S_SKIP_UPDATE_UNREACHABLE"),
        config_map_mutable=flag("enableConfigMapMutable", "PULUMI_K8S_ENABLE_CONFIGMAP_MUTABLE"),
        secret_mutable=flag("enableSecretMutable", "PULUMI_K8S_ENABLE_SECRET_MUTABLE"),
        patch_force=flag("enablePatchForce", "PULUMI_K8S_ENABLE_PATCH_FORCE"),
        upsert_existing=flag("upsertExistingObjects", "PULUMI_K8S_UPSERT_EXISTING_OBJECTS"),
        replace_data=environ.get(REPLACE_DATA, "").lower() == "true",
        take_over=environ.get(TAKE_OVER, "").lower() == "true",
        suppress_deprecation_warnings=flag("suppressDeprecationWarnings", "PULUMI_K8S_SUPPRESS_DEPRECATION_WARNINGS"),
    )


def digest(kubeconfig: str) -> str:
    """A digest that identifies a kubeconfig (as text) without storing it."""
    return hashlib.sha256(kubeconfig.encode("utf-8", "surrogatepass")).hexdigest()


def require_given(settings: Settings, kubeconfigs: frozenset[str] | None) -> None:
    """Raise `AuthenticationError` for a kubeconfig whose digest is not in `kubeconfigs`; `None` allows any.

    A kubeconfig may name a program that is run. No kubeconfig means the user's own.
    """
    if kubeconfigs is None or not settings.kubeconfig or digest(settings.kubeconfig) in kubeconfigs:
        return
    raise AuthenticationError(
        "the built-in provider was given a kubeconfig that is none of this run's, and does not use it",
        details="this run's are those of the city's clouds, and those in the stack's state that run no other program "
        "and read no other file of this machine than these do",
        resolution="a program that makes a provider of its own takes the kubeconfig of a cloud of the city",
    )


def check_settings(news: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The problems in a provider resource's inputs, as (property, reason)."""
    failures = [(name, not_served(what)) for name, what in _UNSERVED.items() if plain(news.get(name)) not in (None, "")]
    side = plain(news.get("enableServerSideApply"))
    if str(side).lower() == "false":
        failures.append(("enableServerSideApply", not_served("client-side apply (enableServerSideApply: false)")))
    return failures


@dataclass(frozen=True, slots=True)
class SettingsDiff:
    """The changed properties, and those that force the provider, and so all its resources, to be replaced."""

    changed: tuple[str, ...]
    replaces: tuple[str, ...]


def diff_settings(olds: Mapping[str, Any], news: Mapping[str, Any], environ: Mapping[str, str]) -> SettingsDiff:
    """Compare two sets of provider inputs. Another cluster forces a replacement; another access to the same does not.

    `clusterIdentifier` decides if both sides have it. Otherwise the clusters that the kubeconfigs name are compared;
    one that is not known yet counts as another, as in the official plug-in.
    """
    ours, theirs = plain(dict(olds)), plain(dict(news))
    changed = tuple(sorted(k for k in {*ours, *theirs} if k != "version" and ours.get(k) != theirs.get(k)))
    if not changed:
        return SettingsDiff((), ())
    before, after = ours.get("clusterIdentifier"), theirs.get("clusterIdentifier")
    if before and after and not isinstance(after, Unknown):
        return SettingsDiff(changed, changed if before != after else ())
    if contains(theirs.get("kubeconfig"), Unknown):
        return SettingsDiff(changed, ("kubeconfig",))
    relevant = {"kubeconfig", "context", "cluster"}.intersection(changed)
    other = bool(relevant) and _active_cluster(ours, environ) != _active_cluster(theirs, environ)
    return SettingsDiff(changed, changed if other else ())


def _active_cluster(inputs: Mapping[str, Any], environ: Mapping[str, str]) -> Mapping[str, Any]:
    config = _kubeconfig(inputs.get("kubeconfig"), environ)
    context = inputs.get("context") or config.get("current-context")
    name = inputs.get("cluster") or _named(config, "contexts", context, "context").get("cluster")
    return _named(config, "clusters", name, "cluster")


def _kubeconfig(value: Any, environ: Mapping[str, str]) -> Mapping[str, Any]:
    if isinstance(value, Mapping):
        return value
    text = value if isinstance(value, str) else ""
    if not text:
        text = environ.get("KUBECONFIG", "").split(":")[0] or str(Path.home() / ".kube" / "config")
    try:
        if "\n" not in text and not text.lstrip().startswith("{"):
            text = Path(text).expanduser().read_text(encoding="utf-8")
        found = yaml.safe_load(text)
    except (OSError, UnicodeDecodeError, yaml.YAMLError):
        # An unreadable kubeconfig names no cluster. Using it reports the error.
        return {}
    return found if isinstance(found, dict) else {}


def _named(config: Mapping[str, Any], plural: str, name: Any, member: str) -> Mapping[str, Any]:
    for entry in config.get(plural) or []:
        if isinstance(entry, Mapping) and entry.get("name") == name and isinstance(entry.get(member), Mapping):
            body: Mapping[str, Any] = entry[member]
            return body
    return {}
