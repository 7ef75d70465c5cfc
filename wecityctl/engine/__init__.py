"""Runs a plan's stacks through the Pulumi engine in worker processes. No other package imports pulumi or its engine.

This module imports nothing, so that a command loads only the modules that it needs.
"""
