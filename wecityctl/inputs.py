"""What a stack's program is given: values only, so that a program reads no file and asks nobody."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from wecityctl.model.catalogue import Catalogue
from wecityctl.model.city import City
from wecityctl.model.outputs import Outputs
from wecityctl.placement import Placement
from wecityctl.plan import Stack


@dataclass(frozen=True, slots=True)
class Cluster:
    """How to reach a cloud's cluster. `kubeconfig` is text and secret; `identifier` is the UID of kube-system.

    `address` is where node ports answer from the host (empty when nothing is reachable, as on simulated nodes);
    `storage_class` and `ingress_class` are empty for the cluster's default and for none.
    """

    cloud: str
    kubeconfig: str = field(repr=False)
    context: str
    identifier: str
    simulated: bool = False
    address: str = ""
    storage_class: str = ""
    ingress_class: str = ""
    kubernetes_version: str = ""


@dataclass(frozen=True, slots=True)
class StackInputs:
    """Everything one stack's program may use.

    `upstream` has an entry for each stack it depends on: its typed outputs, or `None` while that stack does not exist
    yet (first preview): values derived from it are then unknown. `secrets` holds just the values this stack names.
    `images` maps catalogue image names to references. `provider_version` is the plug-in version resources ask for.
    """

    city: City
    stack: Stack
    placement: Placement
    catalogue: Catalogue
    cluster: Cluster | None
    upstream: Mapping[str, Outputs | None]
    images: Mapping[str, str]
    provider_version: str
    secrets: Mapping[str, str] = field(repr=False, default_factory=dict)
