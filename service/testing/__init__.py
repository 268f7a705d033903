"""The kit for plugin authors: real servers and fakes to test a plugin with."""
