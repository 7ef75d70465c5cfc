"""The end-to-end probe of the log store: a line is sent as a shipper sends it, and found by a query."""

# The program is `image/go/ask`. It leaves one line, which is kept as long as all others.
PROBE = """set -eu
: "$HOST" "$PORT" "$ADMIN_PASSWORD"
logs probe || exit 1
"""
