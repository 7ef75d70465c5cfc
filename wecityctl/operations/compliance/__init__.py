"""What a city can show an assessor: its policy rules judged, and what enforces them looked at in the clusters now.

Changes nothing. A cloud that does not answer is told as such and spoils no other's evidence.
"""

from wecityctl.operations.compliance.collecting import collect

__all__ = ["collect"]
