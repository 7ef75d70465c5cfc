"""The engine's journal of a run: what it has done since the last whole state, and the state that comes of it."""
