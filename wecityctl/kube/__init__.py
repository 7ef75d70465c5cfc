"""The asynchronous Kubernetes client: access to a cluster, requests with retries, watches, and readiness.

Independent of Pulumi. The built-in provider, the embedded cloud and the engine's probe use it.
"""
