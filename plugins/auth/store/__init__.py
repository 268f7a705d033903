"""What auth keeps in PostgreSQL, in a schema of its own: API keys, refresh tokens, failed logins, revocations."""
