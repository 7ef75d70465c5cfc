"""What all processes of a run share: identity, the CLI's home, interrupts, messages, and the engine's events."""
