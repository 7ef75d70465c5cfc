"""The Pulumi types of the Kubernetes resources that the engine treats in a way of their own."""

from typing import Final

NAMESPACE: Final = "kubernetes:core/v1:Namespace"
VOLUME_CLAIM: Final = "kubernetes:core/v1:PersistentVolumeClaim"
VOLUME: Final = "kubernetes:core/v1:PersistentVolume"
STATEFUL_SET: Final = "kubernetes:apps/v1:StatefulSet"
