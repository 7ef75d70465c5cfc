"""The red lines' verdict on a session: worked out in a process of its own, beside what else a run begins with, and
remembered for as long as nothing that it depends on differs.
"""

from wecityctl.verdicts.judging import judge_session
from wecityctl.verdicts.pending import Pending, begin

__all__ = ["Pending", "begin", "judge_session"]
