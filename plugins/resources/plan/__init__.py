"""What is asked of PostgreSQL: SQL text and arguments. Pure."""
