"""The registry host in the references of images that wecityctl builds."""

from __future__ import annotations

# RFC 2606 reserves `.invalid`: it never resolves, so nobody can serve a forged image under this name.
BUILT_HOST = "built.wecity.invalid"
