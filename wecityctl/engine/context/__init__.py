"""What one run is given: its options, secrets, outputs of landing zones, and each stack's inputs."""
