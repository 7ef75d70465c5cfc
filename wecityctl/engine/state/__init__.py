"""States: what they contain, where they are stored, and the locks on them."""
