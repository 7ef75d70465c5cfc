"""States and where they are kept: directories, S3, PostgreSQL, and the service that the engine journals to."""
