"""The Pulumi home of our own and the environment in which every CLI runs: nothing of the user's `~/.pulumi`."""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Mapping
from pathlib import Path

from wecityctl.paths import cache_dir, private_dir, write_private
from wecityctl.toolchain.settings import is_set

SDK_VERSION = "4.34.2"
# A file beside the built-in provider's launcher, so that nobody takes it for the official plug-in.
BUILTIN_MARKER = "wecityctl-builtin-provider"
# What a user may set for the back end and the secrets provider; every other PULUMI_ variable stays outside.
_PASSED = frozenset({"PULUMI_ACCESS_TOKEN", "PULUMI_CONFIG_PASSPHRASE", "PULUMI_CONFIG_PASSPHRASE_FILE", "PULUMI_API"})


# The CLI writes everything it does, at debug level and encrypted, into a log of its own at each start: two fifths of
# the CPU of a run. It has no setting against that, and goes on without a log where it cannot make the directory.
LOGS_WANTED = "WECITYCTL_ENGINE_LOGS"
_NO_LOGS = f"A file in place of a directory: the engine keeps no debug logs. To have them, set {LOGS_WANTED}=1.\n"


def pulumi_home() -> Path:
    """Where our CLI keeps plug-ins and credentials, and its debug logs where they are asked for."""
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
        # A run lives for seconds: collecting garbage less often saves a fifth of the engine's time for 40 MB.
        "GOGC": os.environ.get("GOGC", "400"),
    }
    environment |= extra
    return environment


def link_official_plugin(binary: Path, version: str) -> None:
    """Let the engine find the official plug-in in our home."""
    directory = link_plugin("kubernetes", version, binary)
    (directory / BUILTIN_MARKER).unlink(missing_ok=True)


def link_plugin(package: str, version: str, binary: Path) -> Path:
    """Let the engine find a plug-in in our home, wherever its program lies; the plug-in's directory."""
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
    """Take away the link to a plug-in that was found once and is no more; a program that lies there itself stays."""
    link = cache_dir() / "pulumi" / "plugins" / f"resource-{package}-v{version}" / f"pulumi-resource-{package}"
    if link.is_symlink():
        link.unlink(missing_ok=True)
