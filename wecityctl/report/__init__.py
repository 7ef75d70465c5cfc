"""Shows events and results: a live tree on a terminal, plain lines elsewhere, NDJSON for programs.
Makes no decisions.
"""
