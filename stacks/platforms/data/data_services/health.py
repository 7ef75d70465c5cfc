"""The end-to-end probe of data services: an asset of its own whose table is read, and of which a column is refused."""

from __future__ import annotations

from stacks.platforms.data.data_services.access import ADMIN_PORT, SERVER

# The program is `image/go/ask`. Its asset and account are the same in each run and seen by nobody else.
PROBE = f"""{SERVER}
data-services probe -admin {ADMIN_PORT} -tries 1 || exit 1
"""
