"""Encryption of a state's secrets, the passphrase, and the city's certificates."""
