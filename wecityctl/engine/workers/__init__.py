"""The worker processes of a run, which run the engine's CLI with our program and provider, a stack each."""
