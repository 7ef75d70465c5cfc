"""Secrets of a city's state: passphrase, encryption, the secret store, and certificates."""
