"""Renders the configuration of kubelet and kube-proxy from the cloud's addresses and the machine. Pure functions."""

from __future__ import annotations

import json
from dataclasses import dataclass

from wecityctl.local.node.containerd import SOCKET
from wecityctl.local.node.network import Block

CLUSTER_DOMAIN = "cluster.local"
# The limit of processes and threads per pod, several times the needs of a busy database or a large JVM.
POD_PROCESSES = 2048


@dataclass(frozen=True, slots=True)
class KubeletSettings:
    """Settings of the kubelet. Paths are those inside the node. `imported` are names of images without their tags, or
    the beginnings of such names with `/*`.
    """

    etc: str
    logs: str
    plugins: str
    dns_ip: str
    cgroup: str
    lowest_oom_score: bool
    imported: tuple[str, ...]


def kubelet_config(settings: KubeletSettings) -> str:
    """A KubeletConfiguration as JSON, which is valid YAML."""
    return _document(
        {
            "apiVersion": "kubelet.config.k8s.io/v1beta1",
            "kind": "KubeletConfiguration",
            "authentication": {
                "anonymous": {"enabled": False},
                "webhook": {"enabled": True},
                "x509": {"clientCAFile": f"{settings.etc}/ca.crt"},
            },
            "authorization": {"mode": "Webhook"},
            "tlsCertFile": f"{settings.etc}/kubelet-server.crt",
            "tlsPrivateKeyFile": f"{settings.etc}/kubelet-server.key",
            "readOnlyPort": 0,
            "clusterDomain": CLUSTER_DOMAIN,
            "clusterDNS": [settings.dns_ip],
            "resolvConf": f"{settings.etc}/resolv.conf",
            "containerRuntimeEndpoint": f"unix://{SOCKET}",
            "cgroupDriver": "cgroupfs",
            "cgroupRoot": f"/{settings.cgroup}",
            # The kubelet refuses cgroup v1 by default, but the machine may have nothing else.
            "failCgroupV1": False,
            "failSwapOn": False,
            "oomScoreAdj": -999 if settings.lowest_oom_score else 0,
            "podLogsDir": settings.logs,
            "volumePluginDir": settings.plugins,
            "containerLogMaxSize": "10Mi",
            "containerLogMaxFiles": 3,
            "makeIPTablesUtilChains": False,
            "protectKernelDefaults": False,
            # Images are imported and not pulled, so a removed one could not be restored.
            "imageGCHighThresholdPercent": 100,
            "imageGCLowThresholdPercent": 99,
            # By default an image that somebody has pulled with credentials, by whatever name, has to be pulled by all
            # its other names too. A tenant that pushes a copy of an imported one could so end pods of the city.
            "imagePullCredentialsVerificationPolicy": "NeverVerifyAllowlistedImages",
            "preloadedImagesVerificationAllowlist": list(settings.imported),
            # Percentages of a large disk would evict pods while there is plenty of space.
            "evictionHard": {"memory.available": "100Mi", "nodefs.available": "512Mi", "imagefs.available": "512Mi"},
            # Mounted ConfigMaps and Secrets are updated within this time; the default is a minute.
            "syncFrequency": "3s",
            "nodeStatusUpdateFrequency": "10s",
            "nodeLeaseDurationSeconds": 40,
            "rotateCertificates": False,
            "maxPods": 110,
            "podPidsLimit": POD_PROCESSES,
        }
    )


def kube_proxy_config(etc: str, node: str, block: Block) -> str:
    """A KubeProxyConfiguration. Conntrack limits apply to the whole machine and are not changed."""
    return _document(
        {
            "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
            "kind": "KubeProxyConfiguration",
            "mode": "nftables",
            "clusterCIDR": block.pod_cidr,
            "detectLocalMode": "ClusterCIDR",
            "hostnameOverride": node,
            "nodePortAddresses": ["primary"],
            "clientConnection": {"kubeconfig": f"{etc}/kube-proxy.kubeconfig"},
            "healthzBindAddress": f"{block.node_ip}:10256",
            "metricsBindAddress": "127.0.0.1:10249",
            "conntrack": {"maxPerCore": 0, "min": 0, "tcpEstablishedTimeout": "0s", "tcpCloseWaitTimeout": "0s"},
            "nftables": {"minSyncPeriod": "200ms", "syncPeriod": "30s"},
        }
    )


def _document(value: dict[str, object]) -> str:
    return json.dumps(value, indent=1)
