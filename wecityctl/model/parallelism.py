"""How many stacks of a city run at the same time by default. Loads quickly: every command's options name it."""

from __future__ import annotations

import os
from typing import Final

# Stacks wait for their workloads about half of the time, so twice the number of processors keeps these busy.
PARALLELISM: Final = min(8, 2 * (os.cpu_count() or 1))
