"""The built-in provider for Pulumi's package `kubernetes`, on the SDK's provider protocol.

Stands by itself over `wecityctl.kube`; the engine opens one port per stack run (`wecityctl.provider.server`).
"""
