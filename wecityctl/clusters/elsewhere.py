"""Connects to clusters that are not embedded: those created by landing zones, and existing ones."""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import TYPE_CHECKING

from wecityctl.errors import ConfigurationError
from wecityctl.inputs import Cluster
from wecityctl.model.city import City, Cloud

if TYPE_CHECKING:
    from wecityctl.engine.state.backend import Backend
    from wecityctl.kube.config import Access
    from wecityctl.kube.identify import Identity
    from wecityctl.model.outputs import LandingOutputs

# How long the API server of a new cluster may take to answer.
FRESH_SECONDS = 120.0


def open_provisioned(cloud: Cloud, kubeconfig: str, *, fresh: bool = False) -> Cluster:
    """Return the cluster with the kubeconfig from a landing zone. A `fresh` one is given time until it answers.

    Raises the error that keeps it from answering.
    """
    from wecityctl.kube.config import load_access
    from wecityctl.kube.identify import identify, identify_new, patience

    if not kubeconfig.strip():
        raise ConfigurationError(
            f"the landing zone of cloud {cloud.name} gave no kubeconfig",
            resolution="see that the account may read the cluster's credentials; then run with --no-skip",
        )
    access, seconds = load_access(kubeconfig), patience()
    found = identify_new(access, seconds, FRESH_SECONDS) if fresh else identify(access, seconds)
    return _cluster(cloud, access, found)


class LandingZones:
    """The outputs of landing zones, by cloud. The state is opened once, and only for a city that has landing zones."""

    def __init__(self, city: City, backend: Backend | None) -> None:
        self._city = city
        self._backend = backend
        self._lock = threading.Lock()
        self.found: dict[str, LandingOutputs] = {}

    def kubeconfig(self, cloud: Cloud) -> str | None:
        """Return the kubeconfig for `cloud` in the state; `None` before its landing zone is up."""
        from wecityctl.engine.context.landing_outputs import kept_outputs
        from wecityctl.engine.state.backend import open_backend

        with self._lock:
            self._backend = self._backend or open_backend(self._city)
            found = kept_outputs(self._backend, cloud.name)
            if found is None:
                return None
            self.found[cloud.name] = found
            return found.kubeconfig


def open_elsewhere(cloud: Cloud, zones: LandingZones, seconds: float) -> Cluster | None:
    """Return a vendor's cluster or an existing one, after reading its identity and version; `None` without a landing
    zone.
    """
    from wecityctl.kube.config import load_access
    from wecityctl.kube.identify import identify
    from wecityctl.kube.trust import VARIABLE, require_trusted
    from wecityctl.toolchain.settings import is_set

    if cloud.has_landing_zone:
        kubeconfig = zones.kubeconfig(cloud)
        return open_provisioned(cloud, kubeconfig) if kubeconfig is not None else None
    settings = cloud.kubernetes
    access = load_access(settings.kubeconfig or None, settings.context or None)
    if settings.kubeconfig and not is_set(VARIABLE, os.environ):
        require_trusted(access, Path(settings.kubeconfig).expanduser(), Path(settings.named_in))
    return _cluster(cloud, access, identify(access, seconds))


def _cluster(cloud: Cloud, access: Access, found: Identity) -> Cluster:
    from wecityctl.kube.export import kubeconfig_text

    return Cluster(
        cloud=cloud.name,
        kubeconfig=kubeconfig_text(access),
        context=access.context,
        identifier=found.uid,
        storage_class=cloud.kubernetes.storage_class,
        ingress_class=cloud.kubernetes.ingress_class,
        kubernetes_version=found.version,
        api_servers=found.api_servers,
    )
