"""The embedded cloud: a Kubernetes control plane on this machine, with a real node or simulated nodes.

A supervisor process of its own keeps it running. `cloud` is the interface for other packages: start, stop, status,
kubeconfig, reset. `spec` has the values; `driver` and `service` are the interfaces that node drivers implement and use.
"""
