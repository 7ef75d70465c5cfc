"""States and their storage: directories, S3, PostgreSQL, and the service to which the engine sends its journal."""
