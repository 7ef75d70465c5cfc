"""Which Kubernetes provider serves a run: the official plug-in where it is to be had, or the built-in one."""

from __future__ import annotations

from dataclasses import dataclass

from wecityctl.engine.process.home import SDK_VERSION, link_official_plugin
from wecityctl.errors import ConfigurationError
from wecityctl.model.city import KubernetesProvider


@dataclass(frozen=True, slots=True)
class ProviderChoice:
    """`kind` is builtin or official; `version` is what resources ask for."""

    kind: str
    version: str

    def __str__(self) -> str:
        return f"{self.kind} {self.version}"


def choose_provider(wanted: KubernetesProvider) -> ProviderChoice:
    """The provider for `wanted`; the official one is made known to the engine.

    Raises `ConfigurationError` where the official one is demanded and not to be found.
    """
    if wanted == "builtin":
        return ProviderChoice("builtin", SDK_VERSION)
    from wecityctl.toolchain import find_official_kubernetes_plugin

    found = find_official_kubernetes_plugin()
    if found is not None:
        link_official_plugin(found.path, found.version)
        return ProviderChoice("official", found.version)
    if wanted == "official":
        raise ConfigurationError(
            "the official Kubernetes plug-in is not on this machine",
            resolution="run `wecityctl engine install`, bring it in a bundle, or set kubernetesProvider: builtin",
        )
    return ProviderChoice("builtin", SDK_VERSION)
