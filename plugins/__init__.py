"""The built-in plugins. Each imports `service.api` and its own third-party library, never another plugin."""
