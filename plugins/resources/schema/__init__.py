"""What is served: the database's catalogue and the operator's settings become `Resource`s."""
