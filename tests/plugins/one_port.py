"""`Ports`, as far as a plugin needs them that needs nothing and provides one."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from service.api import PortKey


@dataclass
class OnePort:
    provided: list[Any] = field(default_factory=list)

    def need(self, key: PortKey[Any]) -> Any:
        raise AssertionError("It needs nothing.")

    find = every = need

    def provide(self, key: PortKey[Any], port: Any) -> None:
        self.provided.append(port)
