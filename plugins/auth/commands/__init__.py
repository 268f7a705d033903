"""The commands of auth, each in a file of its own; imported by whoever runs one only."""
