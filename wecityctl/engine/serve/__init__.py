"""The state server for teams: tokens with roles, leases, TLS, and a log of requests."""
