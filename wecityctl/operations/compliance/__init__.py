"""Collects the evidence for an assessor: evaluates the policy rules and examines what enforces them in the clusters.

Changes nothing. A cloud that does not answer is reported and does not affect the evidence of the others.
"""

from wecityctl.operations.compliance.collecting import collect

__all__ = ["collect"]
