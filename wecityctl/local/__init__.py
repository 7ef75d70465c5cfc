"""The embedded cloud: a Kubernetes control plane with a real node or simulated ones, under a supervisor of its own.

`cloud` is the door: start, stop, status, kubeconfig, reset. `spec` holds the values, `driver` and `service` what the
maker of real nodes plugs into.
"""
