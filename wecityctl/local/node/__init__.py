"""The real node of an embedded cloud: containerd, kubelet, kube-proxy, CNI and add-ons in their own namespaces.

Responsible for everything below the API server on a real node. Control plane, certificates and supervisor are in
`wecityctl.local`; NetworkPolicy is in `wecityctl.local.netpol`.
"""
