"""The real node of an embedded cloud: containerd, kubelet, kube-proxy, CNI and add-ons in namespaces of their own.

Responsible for everything below the API server on a real node. The control plane, its certificates and
the supervisor are `wecityctl.local`'s; NetworkPolicy is `wecityctl.local.netpol`'s.
"""
