"""Replace the release before by the wheel that is given."""

import sys
from pathlib import Path

from tests.e2e.released import pack

pack(Path(sys.argv[1]))
