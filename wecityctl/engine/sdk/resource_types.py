"""The Pulumi type names of the Kubernetes resources that the engine package handles specially."""

from typing import Final

NAMESPACE: Final = "kubernetes:core/v1:Namespace"
VOLUME_CLAIM: Final = "kubernetes:core/v1:PersistentVolumeClaim"
VOLUME: Final = "kubernetes:core/v1:PersistentVolume"
STATEFUL_SET: Final = "kubernetes:apps/v1:StatefulSet"
