"""The Pulumi home of our own and the environment in which every CLI runs: nothing of the user's `~/.pulumi`."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from wecityctl.paths import cache_dir, private_dir

SDK_VERSION = "4.34.2"
# A file beside the built-in provider's launcher, so that nobody takes it for the official plug-in.
BUILTIN_MARKER = "wecityctl-builtin-provider"
# What a user may set for the back end and the secrets provider; every other PULUMI_ variable stays outside.
_PASSED = frozenset({"PULUMI_ACCESS_TOKEN", "PULUMI_CONFIG_PASSPHRASE", "PULUMI_CONFIG_PASSPHRASE_FILE", "PULUMI_API"})


def pulumi_home() -> Path:
    """Where our CLI keeps plug-ins, credentials and logs."""
    return private_dir(cache_dir() / "pulumi")


def cli_environment(backend_url: str, extra: Mapping[str, str]) -> dict[str, str]:
    """The environment of every CLI of ours."""
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith("PULUMI_") or name in _PASSED
    }
    environment |= {
        "PULUMI_HOME": str(pulumi_home()),
        "PULUMI_BACKEND_URL": backend_url,
        "PULUMI_SKIP_UPDATE_CHECK": "true",
        "PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION": "true",
        "PULUMI_IGNORE_AMBIENT_PLUGINS": "true",
        "PULUMI_AUTOMATION_API_SKIP_VERSION_CHECK": "true",
        "PULUMI_SUPPRESS_COPILOT_LINK": "true",
        # A stack that another machine made brings its salt in the state.
        "PULUMI_FALLBACK_TO_STATE_SECRETS_MANAGER": "true",
        # What makes --event-log a flag.
        "PULUMI_DEBUG_COMMANDS": "true",
        "PULUMI_PARALLEL_DIFF": "true",
        "NO_COLOR": "1",
    }
    environment |= extra
    return environment


def link_official_plugin(binary: Path, version: str) -> None:
    """Let the engine find the official plug-in in our home."""
    directory = private_dir(pulumi_home() / "plugins" / f"resource-kubernetes-v{version}")
    link = directory / "pulumi-resource-kubernetes"
    if link.is_symlink() and link.readlink() == binary:
        return
    temporary = link.with_name(f".{link.name}.{os.getpid()}")
    temporary.unlink(missing_ok=True)
    temporary.symlink_to(binary)
    temporary.replace(link)
    (directory / BUILTIN_MARKER).unlink(missing_ok=True)
