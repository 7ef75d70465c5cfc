"""Prepares the environment and the project directory with which the plain `pulumi` CLI can read a city's stacks."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from wecityctl.engine.process.home import BUILTIN_MARKER, SDK_VERSION, pulumi_home
from wecityctl.engine.process.provider_choice import choose_provider
from wecityctl.engine.secrets.passphrase import VARIABLE
from wecityctl.engine.state.backend import Backend, project_file
from wecityctl.model.city import KubernetesProvider
from wecityctl.paths import private_dir, state_dir, write_private


@dataclass(frozen=True, slots=True)
class PlainPulumi:
    """What a shell needs: variables to export, and the directory for `pulumi -C`.

    A passphrase that is already in the shell's environment is not repeated in `variables`.
    """

    variables: Mapping[str, str]
    directory: Path


def plain_environment(backend: Backend, provider: KubernetesProvider = "auto") -> PlainPulumi:
    """Write the project directory and, unless the official plug-in is used, the launcher of the built-in provider."""
    directory = private_dir(state_dir() / "pulumi" / backend.city)
    write_private(directory / "Pulumi.yaml", project_file().encode())
    for stack in backend.list_stacks():
        settings = backend.stack_settings(stack)
        if settings:
            write_private(directory / f"Pulumi.{stack}.yaml", settings.encode())
    if choose_provider(provider).kind == "builtin":
        install_launcher()
    variables = {
        "PULUMI_HOME": str(pulumi_home()),
        "PULUMI_BACKEND_URL": backend.url,
        "PULUMI_SKIP_UPDATE_CHECK": "true",
        "PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION": "true",
        "PULUMI_FALLBACK_TO_STATE_SECRETS_MANAGER": "true",
    }
    if backend.passphrase is not None and VARIABLE not in backend.passphrase.environment:
        variables |= backend.passphrase.environment
    return PlainPulumi(variables, directory)


def install_launcher() -> Path:
    """Install the built-in provider where the engine looks for plug-ins, with a marker that distinguishes it."""
    directory = private_dir(pulumi_home() / "plugins" / f"resource-kubernetes-v{SDK_VERSION}")
    launcher = directory / "pulumi-resource-kubernetes"
    path = os.pathsep.join(item for item in sys.path if item)
    script = (
        "#!/bin/sh\n"
        f"# {BUILTIN_MARKER}: the built-in Kubernetes provider of wecityctl, not Pulumi's own plug-in.\n"
        f'PYTHONPATH={_quote(path)} exec {_quote(sys.executable)} -P -m wecityctl.provider "$@"\n'
    )
    if launcher.is_symlink():
        launcher.unlink()
    write_private(launcher, script.encode())
    launcher.chmod(0o700)
    write_private(directory / BUILTIN_MARKER, b"")
    return launcher


def _quote(text: str) -> str:
    return "'" + text.replace("'", "'\\''") + "'"
