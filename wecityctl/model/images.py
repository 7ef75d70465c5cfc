"""The host in the references of images that are built here."""

from __future__ import annotations

# RFC 2606 keeps this name from ever being served, so nobody can be sent to pull a built image from a stranger.
BUILT_HOST = "built.wecity.invalid"
