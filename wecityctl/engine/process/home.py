"""The CLI's Pulumi home and environment. They are separate from the user's `~/.pulumi`."""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Mapping
from pathlib import Path

from wecityctl.paths import cache_dir, private_dir, write_private
from wecityctl.toolchain.settings import is_set

SDK_VERSION = "4.34.2"
# A file beside the built-in provider's launcher that distinguishes it from the official plug-in.
BUILTIN_MARKER = "wecityctl-builtin-provider"
# Variables that users may set for the back end and the secrets provider; all other PULUMI_ variables are removed.
_PASSED = frozenset({"PULUMI_ACCESS_TOKEN", "PULUMI_CONFIG_PASSPHRASE", "PULUMI_CONFIG_PASSPHRASE_FILE", "PULUMI_API"})


# At each start the CLI writes an encrypted debug log, which takes 40 % of the CPU time of a run. No setting disables
# it, but the CLI continues without a log if it cannot create the directory.
LOGS_WANTED = "WECITYCTL_ENGINE_LOGS"
_NO_LOGS = f"A file in place of a directory: the engine keeps no debug logs. To have them, set {LOGS_WANTED}=1.\n"


def pulumi_home() -> Path:
    """Return the directory of our CLI's plug-ins and credentials, and of its debug logs if they are enabled."""
    home = private_dir(cache_dir() / "pulumi")
    _settle_logs(home / "logs", wanted=is_set(LOGS_WANTED, os.environ))
    return home


def _settle_logs(logs: Path, *, wanted: bool) -> None:
    if wanted and logs.is_file():
        logs.unlink()
    elif not wanted and not logs.is_file():
        shutil.rmtree(logs, ignore_errors=True)
        write_private(logs, _NO_LOGS.encode())


def cli_environment(backend_url: str, extra: Mapping[str, str]) -> dict[str, str]:
    """Return the environment variables for every run of the CLI."""
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
        # The state of a stack from another machine contains its salt.
        "PULUMI_FALLBACK_TO_STATE_SECRETS_MANAGER": "true",
        # Enables the flag --event-log.
        "PULUMI_DEBUG_COMMANDS": "true",
        "PULUMI_PARALLEL_DIFF": "true",
        "NO_COLOR": "1",
        # A run lasts seconds: less frequent garbage collection saves 20 % of the engine's time and costs 40 MB.
        "GOGC": os.environ.get("GOGC", "400"),
    }
    environment |= extra
    return environment


def link_official_plugin(binary: Path, version: str) -> None:
    """Link the official plug-in into our Pulumi home, so that the engine finds it."""
    directory = link_plugin("kubernetes", version, binary)
    (directory / BUILTIN_MARKER).unlink(missing_ok=True)


def link_plugin(package: str, version: str, binary: Path) -> Path:
    """Link a plug-in into our Pulumi home, so that the engine finds it; return the plug-in's directory."""
    directory = private_dir(pulumi_home() / "plugins" / f"resource-{package}-v{version}")
    link = directory / f"pulumi-resource-{package}"
    if binary == link or (link.is_symlink() and link.readlink() == binary):
        return directory
    temporary = link.with_name(f".{link.name}.{os.getpid()}.{threading.get_ident()}")
    temporary.unlink(missing_ok=True)
    temporary.symlink_to(binary)
    temporary.replace(link)
    return directory


def unlink_plugin(package: str, version: str) -> None:
    """Remove the link to a plug-in that no longer exists; a binary that is there itself stays."""
    link = cache_dir() / "pulumi" / "plugins" / f"resource-{package}-v{version}" / f"pulumi-resource-{package}"
    if link.is_symlink():
        link.unlink(missing_ok=True)
