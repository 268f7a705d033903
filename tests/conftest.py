"""Fixtures of every test: the kit that plugin authors use too."""

pytest_plugins = ["service.testing.postgres", "service.testing.service"]
