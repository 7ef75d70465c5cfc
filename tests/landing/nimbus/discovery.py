"""What `import` and `doctor` ask the plug-in of Nimbus."""

from wecityctl.model.discovery import Discovery, Kind

DISCOVERY = Discovery(
    network=Kind("network", "nimbus:net/network:Network"),
    subnet=Kind("subnet", "nimbus:net/subnet:Subnet"),
    cluster=Kind("cluster", "nimbus:k8s/cluster:Cluster"),
    questions=lambda _cloud: (),
)
