"""Commands of this plugin, a file for each."""
