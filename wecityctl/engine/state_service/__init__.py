"""Serves states to the engine and writes the journal that it sends; shared by runs and the state server."""
