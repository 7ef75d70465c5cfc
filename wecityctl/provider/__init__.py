"""The built-in provider for Pulumi's package `kubernetes`, on the SDK's provider protocol.

Depends on `wecityctl.kube` alone. The engine opens one port per stack run (`wecityctl.provider.server`).
"""
