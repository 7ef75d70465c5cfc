"""Chooses the Kubernetes provider of a run: the official plug-in if available, otherwise the built-in one."""

from __future__ import annotations

from dataclasses import dataclass

from wecityctl.engine.process.home import SDK_VERSION, link_official_plugin
from wecityctl.errors import ConfigurationError
from wecityctl.model.city import KubernetesProvider


@dataclass(frozen=True, slots=True)
class ProviderChoice:
    """`kind` is `builtin` or `official`; `version` is the version that resources request."""

    kind: str
    version: str

    def __str__(self) -> str:
        return f"{self.kind} {self.version}"


def choose_provider(wanted: KubernetesProvider) -> ProviderChoice:
    """Return the provider for `wanted`; an official plug-in is linked so that the engine finds it.

    Raises `ConfigurationError` if the official plug-in is required and not available.
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
