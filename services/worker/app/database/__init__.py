"""The worker's access to PostgreSQL."""
