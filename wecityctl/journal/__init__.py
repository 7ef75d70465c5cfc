"""The engine's journal of a run: the operations since the last complete state, and the state that results from them."""
