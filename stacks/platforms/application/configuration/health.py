"""The end-to-end probe of the configuration: a value that is set, told to whoever waits for it, and read."""

from __future__ import annotations

from stacks.platforms.application.configuration.access import ADMIN_PORT, SERVER

# The program is `image/go/ask`. It has an account of its own, which no app sees.
PROBE = f"""{SERVER}
configuration probe -admin {ADMIN_PORT} -tries 1 || exit 1
"""
