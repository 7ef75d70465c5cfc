"""Adapts the Pulumi SDK for our programs, and records what programs register without an engine."""
