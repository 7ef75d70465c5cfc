"""The server of states for teams: tokens with roles, leases, TLS, and the log of who asked what."""
