"""The add-on that provides volumes in an embedded cloud, on real and simulated nodes: storage classes and controller.

A claim gets a directory on the real node, or on a simulated node a volume without storage. The size of a directory is
not enforced; all share the machine's disk.
"""

from __future__ import annotations

import sys

from wecityctl.local.driver import Addon, Context
from wecityctl.local.node import objects
from wecityctl.local.node.layout import Layout
from wecityctl.local.node.provisioner.volumes import PROVISIONER, STORAGE_CLASS, STORAGE_CLASS_RETAIN
from wecityctl.local.service import Service
from wecityctl.model.naming import MANAGED_BY_LABEL

_USER = "system:wecity-provisioner"


def addon() -> Addon:
    """The volume add-on."""
    return LocalVolumes()


class LocalVolumes:
    """Implements `Addon`. Stateless: its state is in the cluster and in the directory of volumes."""

    def services(self, ctx: Context) -> tuple[Service, ...]:
        """The controller as a process of the host. It creates and removes directories and needs no namespaces."""
        layout = Layout(ctx.directory / "node", ctx.run)
        argv = [sys.executable, "-m", "wecityctl.local.node.provisioner.controller"]
        argv += ["--kubeconfig", str(ctx.kubeconfig_for(_USER))]
        if not ctx.spec.simulated:
            argv += ["--volumes", str(layout.volumes), "--inside", layout.inside("volumes")]
        return (Service("volume-provisioner", tuple(argv), after=("kube-apiserver",)),)

    def after_ready(self, ctx: Context) -> None:
        """Create the controller's role and the two storage classes."""
        declared = (
            *roles(),
            storage_class(STORAGE_CLASS, "Delete", default=True),
            storage_class(STORAGE_CLASS_RETAIN, "Retain", default=False),
        )
        ctx.api.apply_all((objects.path(each), each) for each in declared)


def storage_class(name: str, reclaim: str, *, default: bool) -> objects.Object:
    """A storage class of this provisioner; a claim is bound when its pod is scheduled."""
    return {
        "apiVersion": "storage.k8s.io/v1",
        "kind": "StorageClass",
        "metadata": {
            "name": name,
            "labels": {MANAGED_BY_LABEL: "wecityctl"},
            "annotations": {"storageclass.kubernetes.io/is-default-class": str(default).lower()},
        },
        "provisioner": PROVISIONER,
        "reclaimPolicy": reclaim,
        "volumeBindingMode": "WaitForFirstConsumer",
        "allowVolumeExpansion": True,
    }


def roles() -> tuple[objects.Object, objects.Object]:
    """The controller's role and its binding."""
    return objects.role(
        "system:wecity-provisioner",
        objects.user(_USER),
        [
            {"apiGroups": [""], "resources": ["nodes"], "verbs": ["get", "list", "watch"]},
            {
                "apiGroups": [""],
                "resources": ["persistentvolumes"],
                "verbs": ["get", "list", "watch", "create", "patch", "delete"],
            },
            {"apiGroups": [""], "resources": ["persistentvolumeclaims"], "verbs": ["get", "list", "watch", "patch"]},
            {"apiGroups": [""], "resources": ["persistentvolumeclaims/status"], "verbs": ["patch"]},
            {"apiGroups": [""], "resources": ["events"], "verbs": ["create"]},
            {"apiGroups": ["storage.k8s.io"], "resources": ["storageclasses"], "verbs": ["get", "list", "watch"]},
        ],
    )
