"""One folder per cloud vendor. `wecityctl.model.vendors` finds the folders and defines what they contain."""
