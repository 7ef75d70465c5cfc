"""The processes of a run: workers, the engine's CLI, the language host, the provider's host, and their messages."""
