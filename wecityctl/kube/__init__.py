"""The asynchronous Kubernetes client: how to reach a cluster, requests with retries, watching, and readiness.

Knows nothing of Pulumi: the built-in provider, the embedded cloud and the engine's probe all stand on it.
"""
