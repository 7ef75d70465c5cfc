"""Checks a landing zone's prerequisites on this machine before the engine starts: vendor SDK, plug-in and credentials.

Each missing item is reported with its name and a fix. Only the plug-in itself checks whether credentials are valid.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path

from wecityctl.engine.process.home import link_plugin, unlink_plugin
from wecityctl.engine.state.checkpoint import KUBERNETES_PROVIDER, StackState
from wecityctl.errors import AuthenticationError, ConfigurationError, WecityError
from wecityctl.model.city import Cloud
from wecityctl.model.vendors import Vendor, vendors

_FOR_NOBODY = frozenset({KUBERNETES_PROVIDER, "pulumi:providers:pulumi"})


def vendor_sdk(cloud: Cloud) -> str:
    """Return the vendor's SDK with its version, as text for a stack's fingerprint."""
    vendor = vendors()[cloud.provider]
    return f"{vendor.sdk.distribution} {sdk_version(vendor)}"


def sdk_version(vendor: Vendor) -> str:
    """Return the version of the vendor's SDK, which is also the plug-in's; empty if it is not installed."""
    if find_spec(vendor.sdk.module) is None:
        return ""
    try:
        # The version that the SDK's resources request. Some packages omit it and rely on their distribution's version.
        return str(_manifest(vendor).get("version") or "").removeprefix("v") or version(vendor.sdk.distribution)
    except PackageNotFoundError:
        return ""


def _manifest(vendor: Vendor) -> Mapping[str, object]:
    """Read the SDK's `pulumi-plugin.json` without importing the SDK; empty if it is not installed."""
    spec = find_spec(vendor.sdk.module)
    if spec is None or not spec.submodule_search_locations:
        return {}
    try:
        found = json.loads((Path(next(iter(spec.submodule_search_locations))) / "pulumi-plugin.json").read_text())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def require_for_cloud(cloud: Cloud) -> None:
    """Check that a landing zone of `cloud` can run, and link its plug-in for the engine.

    Raises `ConfigurationError` for a missing SDK or plug-in, `AuthenticationError` for missing credentials.
    """
    for lack in missing_prerequisites(cloud):
        raise lack


def missing_prerequisites(cloud: Cloud) -> tuple[WecityError, ...]:
    """Return everything that keeps a landing zone of `cloud` from running on this machine."""
    vendor = vendors()[cloud.provider]
    found: list[WecityError] = []
    wanted = sdk_version(vendor)
    if not wanted:
        found.append(
            ConfigurationError(
                f"cloud {cloud.name}: the SDK of {cloud.provider} is not installed ({vendor.sdk.distribution})",
                resolution=f"install it: pip install 'wecityctl[{cloud.provider}]'",
            )
        )
    else:
        found += _plugin_lack(f"cloud {cloud.name}", vendor.provider, wanted)
    if not has_credentials(cloud):
        found.append(_no_credentials(f"cloud {cloud.name}", vendor))
    return tuple(found)


def require_for_state(state: StackState, cloud: Cloud | None) -> None:
    """Check that the resources of a landing zone can be read or deleted with the plug-ins named in its state."""
    for package, known in sorted(_packages(state).items()):
        vendor = vendors().get(package)
        wanted = known or (sdk_version(vendor) if vendor is not None else "")
        where = f"cloud {cloud.name}" if cloud is not None else state.stack
        for lack in _plugin_lack(where, package, wanted):
            raise lack
        known_cloud = cloud if cloud is not None and cloud.provider == package else None
        if vendor is not None and not _has_credentials(vendor, known_cloud):
            raise _no_credentials(where, vendor)


def _packages(state: StackState) -> dict[str, str]:
    """Return the vendors' packages in a state, with the recorded versions of their plug-ins."""
    return {
        item.type.rpartition(":")[2]: str(item.inputs.get("version") or "")
        for item in state.resources
        if item.is_provider and item.type not in _FOR_NOBODY
    }


def _plugin_lack(where: str, package: str, wanted: str) -> tuple[WecityError, ...]:
    from wecityctl.toolchain import find_vendor_plugin, is_obtainable
    from wecityctl.toolchain.catalogue import vendor_part_name

    server = str(_manifest(vendors()[package]).get("server") or "") if package in vendors() else ""
    found, places = find_vendor_plugin(package, wanted)
    if found is not None:
        link_plugin(package, wanted, found)
        return ()
    unlink_plugin(package, wanted)
    part = vendor_part_name(package)
    install = f"`wecityctl engine install --part {part}`, or " if is_obtainable(part) else ""
    return (
        ConfigurationError(
            f"{where}: the plug-in pulumi-resource-{package} {wanted} is not on this machine",
            details="looked at: " + ", ".join(places),
            resolution=(
                f"with a network: {install}"
                f"`pulumi plugin install resource {package} v{wanted}{f' --server {server}' if server else ''}`; "
                "without one, bring it in a bundle: "
                f"`wecityctl engine bundle parts.tar.gz` there, WECITYCTL_BUNDLE=parts.tar.gz here"
            ),
        ),
    )


def _no_credentials(where: str, vendor: Vendor) -> WecityError:
    return AuthenticationError(
        f"{where}: there are no credentials for {vendor.provider}",
        resolution=f"set {vendor.credentials.hint}",
    )


def has_credentials(cloud: Cloud) -> bool:
    """Whether credentials for the vendor are configured in one of the usual ways; not whether they are valid."""
    return _has_credentials(vendors()[cloud.provider], cloud)


def _has_credentials(vendor: Vendor, cloud: Cloud | None) -> bool:
    if any(all(os.environ.get(name) for name in names) for names in vendor.credentials.variables):
        return True
    ways = vendor.credentials
    is_named = cloud is not None and ways.in_named_file(cloud)
    return any(Path(name).expanduser().is_file() for name in (ways.named_files() if is_named else ways.files))
