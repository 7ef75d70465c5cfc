"""Runs a plan's stacks through the Pulumi engine in worker processes; the only importer of pulumi and of its engine.

Imports nothing here: commands that need one module load that one alone.
"""
