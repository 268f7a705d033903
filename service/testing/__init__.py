"""The kit for plugin authors: a whole service, real servers and a contract, to test a plugin with.

One line in conftest.py brings its fixtures: `pytest_plugins = ["service.testing"]`.

- `service.py`    `make_service`, `service`, `client`, `plugin_dirs` · `clock.py` `clock`
- `postgres.py`   `postgres`, `make_database` · `redis.py` `redis_server`, `redis_url`
- `tokens.py`     `make_token`, for services with `auth`
- `contract.py`   `PluginContract`, what every plugin keeps to: with `held.py`, `unhooked.py`, `documents.py`

PYTEST_DONT_REWRITE: this file asserts nothing, and may be imported before pytest is told to rewrite the others.
"""

import pytest

pytest.register_assert_rewrite("service.testing")

from service.testing.clock import FakeClock  # noqa: E402  # after pytest knows that asserts in there are to be explained
from service.testing.contract import PluginContract  # noqa: E402
from service.testing.postgres import PostgresServer  # noqa: E402
from service.testing.redis import RedisServer  # noqa: E402
from service.testing.service import MakeService, Service  # noqa: E402
from service.testing.tokens import TOKEN_SECRET, make_token  # noqa: E402

__all__ = [
    "TOKEN_SECRET",
    "FakeClock",
    "MakeService",
    "PluginContract",
    "PostgresServer",
    "RedisServer",
    "Service",
    "make_token",
]

pytest_plugins = [
    "service.testing.clock",
    "service.testing.postgres",
    "service.testing.redis",
    "service.testing.service",
]
