"""The user's settings for obtaining parts, read once from the environment."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from wecityctl import paths
from wecityctl.errors import ConfigurationError
from wecityctl.toolchain.model import Platform

_SWITCHES = {**dict.fromkeys(("1", "true", "yes", "on"), True), **dict.fromkeys(("", "0", "false", "no", "off"), False)}

# The Go modules of the parts, a directory for each.
MODULES = Path(__file__).resolve().parent / "modules"


@dataclass(frozen=True, slots=True)
class Settings:
    """Where parts are stored and where they may be taken from. Times are in seconds.

    `download_base` replaces the vendors' hosts: `https://host/path` becomes `<download_base>/host/path`.
    """

    root: Path
    toolchain: Path
    bundle: Path | None = None
    offline: bool = False
    download_base: str = ""
    search_path: tuple[Path, ...] = ()
    plugin_home: Path | None = None
    environment: Mapping[str, str] = field(default_factory=dict)
    platform: Platform = field(default_factory=Platform.current)
    probe_timeout: float = 3.0
    read_timeout: float = 30.0
    builds: int = 2

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] | None = None) -> Settings:
        """Read `WECITYCTL_BUNDLE`, `WECITYCTL_OFFLINE`, `WECITYCTL_DOWNLOAD_BASE`, `PATH`, `PULUMI_HOME` and XDG."""
        env = dict(os.environ if environment is None else environment)
        bundle = env.get("WECITYCTL_BUNDLE", "")
        home = Path(env.get("HOME", "") or Path.home())
        return cls(
            root=paths.cache_dir() / "parts",
            toolchain=MODULES,
            bundle=Path(bundle).expanduser() if bundle else None,
            offline=is_set("WECITYCTL_OFFLINE", env),
            download_base=_base(env.get("WECITYCTL_DOWNLOAD_BASE", "")),
            # Relative entries are ignored: with them the chosen program would depend on the working directory.
            search_path=tuple(Path(entry) for entry in env.get("PATH", "").split(os.pathsep) if entry.startswith("/")),
            plugin_home=Path(env.get("PULUMI_HOME", "") or home / ".pulumi") / "plugins",
            environment=env,
        )


def is_set(name: str, environment: Mapping[str, str]) -> bool:
    """Whether the variable is switched on. Raises `ConfigurationError` for a value that is neither on nor off."""
    value = environment.get(name, "")
    try:
        return _SWITCHES[value.strip().lower()]
    except KeyError:
        raise ConfigurationError(f"{name} is {value!r}", resolution="Set it to 1 or 0, or unset it.") from None


def _base(value: str) -> str:
    if value and not value.startswith(("http://", "https://")):
        raise ConfigurationError(
            f"WECITYCTL_DOWNLOAD_BASE is {value!r}", resolution="Give an address that begins with http:// or https://"
        )
    return value.rstrip("/")
