"""Types that carry their unit: `Duration`, `Size`, `Rate`; and `Secret`, which prints as `***` everywhere.

All are frozen values, made from the text that stands in config.toml: `Duration("30s")`, `Size("1KiB")`,
`Rate("100/15m")`. A bare number is refused: nobody should have to guess whether 30 means seconds.
"""

from __future__ import annotations

import hmac
import re
from abc import ABC, abstractmethod
from functools import total_ordering
from typing import ClassVar, Self

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

from service.secrets import MASK

UNIT_ERROR = "unit"
"""Type of the pydantic error for text that is not a value of its unit; its context may have an `example`."""

SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0}
BYTES = {"B": 1, "KiB": 1024, "MiB": 1024**2, "GiB": 1024**3, "TiB": 1024**4}
ALIASES = {
    **dict.fromkeys(("sec", "secs", "second", "seconds"), "s"),
    **dict.fromkeys(("min", "mins", "minute", "minutes"), "m"),
    **dict.fromkeys(("hr", "hrs", "hour", "hours"), "h"),
    **dict.fromkeys(("day", "days"), "d"),
    **dict.fromkeys(("msec", "millis", "milliseconds"), "ms"),
    **{spelling: f"{letter.upper()}iB" for letter in "kmgt" for spelling in (letter, f"{letter}b", f"{letter}ib")},
    **dict.fromkeys(("b", "byte", "bytes"), "B"),
}
"""Other spellings, in lower case, for suggestions only: `m` is minutes or mebibytes as the pattern decides."""


class _Frozen:
    """Made from its text and never changed; no dataclass, since serialisers look into those without being asked."""

    __slots__ = ("_text",)

    _text: str

    def __init__(self, text: str) -> None:
        self._set("_text", text)

    def _set(self, name: str, value: object) -> None:
        object.__setattr__(self, name, value)

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"{type(self).__name__} is frozen.")

    def __delattr__(self, name: str) -> None:
        raise AttributeError(f"{type(self).__name__} is frozen.")

    def __reduce__(self) -> tuple[type[Self], tuple[str]]:
        return type(self), (self._text,)


class _Unit(_Frozen, ABC):
    """A value with one spelling: read from text by `pattern` into its slots, printed as it was spelled."""

    __slots__: tuple[str, ...] = ()

    pattern: ClassVar[str]
    examples: ClassVar[tuple[str, ...]]
    accepted: ClassVar[str]
    """The sentence that says which spellings there are."""
    number: ClassVar[str]
    """The unit that a bare number most likely meant, as a format of the number."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        for name, value in zip(self.__slots__, self._read(self._match(text)), strict=True):
            self._set(name, value)

    @staticmethod
    @abstractmethod
    def _read(found: re.Match[str]) -> tuple[float, ...]:
        """The values of the slots."""

    def _values(self) -> tuple[float, ...]:
        """What equality and order go by."""
        return tuple([getattr(self, name) for name in self.__slots__])

    def __eq__(self, other: object) -> bool:
        return isinstance(other, type(self)) and self._values() == other._values()

    def __hash__(self) -> int:
        return hash((type(self), self._values()))

    def __str__(self) -> str:
        return self._text

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._text!r})"

    @classmethod
    def _match(cls, text: object) -> re.Match[str]:
        """Raises ValueError with the accepted spellings."""
        found = re.fullmatch(cls.pattern, text) if isinstance(text, str) else None
        if found is None:
            raise ValueError(cls.accepted)
        return found

    @classmethod
    def _validate(cls, value: object) -> Self:
        if isinstance(value, cls):
            return value
        if isinstance(value, str):
            try:
                return cls(value)
            except ValueError:
                raise _unit_error(cls.accepted, cls._guess(value)) from None
        if isinstance(value, int | float) and not isinstance(value, bool):
            example = cls.number.format(value)
            if re.fullmatch(cls.pattern, example):
                raise _unit_error(f"a bare number does not say its unit; {cls.accepted}", example)
        raise _unit_error(cls.accepted, None)

    @classmethod
    def _guess(cls, text: str) -> str | None:
        """What other spellings most likely mean: `5 seconds` is `5s`, `1MB` is `1MiB`."""
        found = re.fullmatch(r"\s*([0-9.]+)\s*([A-Za-z]+)\s*", text)
        guesses = [found[1] + unit for unit in (found[2], ALIASES.get(found[2].lower(), ""))] if found else []
        return next((guess for guess in guesses if re.fullmatch(cls.pattern, guess)), None)

    @classmethod
    def __get_pydantic_core_schema__(cls, source: object, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_plain_validator_function(
            cls._validate, serialization=core_schema.to_string_ser_schema()
        )

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        return {"type": "string", "pattern": f"^{cls.pattern}$", "examples": list(cls.examples)}


def _unit_error(message: str, example: str | None) -> PydanticCustomError:
    return PydanticCustomError(UNIT_ERROR, "{message}", {"message": message, "example": example})


@total_ordering
class _Amount(_Unit):
    """A unit whose values have an order."""

    __slots__ = ()

    def __lt__(self, other: Self) -> bool:
        return self._values() < other._values() if isinstance(other, type(self)) else NotImplemented


class Duration(_Amount):
    """A length of time: `Duration("1.5s")`. Compares by length. Raises ValueError for other text."""

    __slots__ = ("seconds",)

    pattern = r"([0-9]{1,12}(?:\.[0-9]{1,9})?)(ms|s|m|h|d)"
    examples = ("30s", "500ms", "15m", "1h", "7d")
    accepted = 'a duration is a number and one of ms, s, m, h, d, like "30s"'
    number = "{}s"

    seconds: float

    @staticmethod
    def _read(found: re.Match[str]) -> tuple[float, ...]:
        return (float(found[1]) * SECONDS[found[2]],)


class Size(_Amount):
    """A number of bytes: `Size("64KiB")`. Compares by bytes. Raises ValueError for other text."""

    __slots__ = ("bytes",)

    pattern = r"([0-9]{1,12})(B|KiB|MiB|GiB|TiB)"
    examples = ("1MiB", "64KiB", "512B", "2GiB")
    accepted = 'a size is a whole number and one of B, KiB, MiB, GiB, TiB, like "1MiB"'
    number = "{}B"

    bytes: int

    @staticmethod
    def _read(found: re.Match[str]) -> tuple[float, ...]:
        return (int(found[1]) * BYTES[found[2]],)


class Rate(_Unit):
    """How many in how long: `Rate("100/15m")`, `Rate("10/s")`. Raises ValueError for other text or a zero in it.

    `10/s` and `600/1m` are different rates: the second lets 600 through at once.
    """

    __slots__ = ("count", "window_s")

    pattern = r"(0*[1-9][0-9]{0,11})/(0*[1-9][0-9]{0,8})?(ms|s|m|h|d)"
    examples = ("100/15m", "10/s", "5000/1h")
    accepted = 'a rate is a count and a time, both above 0, like "100/15m" or "10/s"'
    number = "{}/s"

    count: int
    window_s: float
    """Seconds that the count is for."""

    @staticmethod
    def _read(found: re.Match[str]) -> tuple[float, ...]:
        return (int(found[1]), int(found[2] or 1) * SECONDS[found[3]])


class Secret(_Frozen):
    """Text that nobody should see. `reveal()` gives it; str, repr, JSON and pydantic's dumps give `***`.

    Two are compared in constant time. A pickle holds the text: it is for another process of ours only.
    """

    __slots__ = ()

    def reveal(self) -> str:
        """The text itself: hand it to whatever needs it, and nowhere else."""
        return self._text

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Secret):
            return NotImplemented
        return hmac.compare_digest(self._text.encode(), other._text.encode())

    def __hash__(self) -> int:
        return hash((Secret, self._text))

    def __bool__(self) -> bool:
        return bool(self._text)

    def __str__(self) -> str:
        return MASK

    def __repr__(self) -> str:
        return f"Secret({MASK!r})"

    @classmethod
    def _validate(cls, value: object) -> Secret:
        if isinstance(value, Secret):
            return value
        if not isinstance(value, str):
            raise _unit_error("a secret is text", None)
        return cls(value)

    @classmethod
    def __get_pydantic_core_schema__(cls, source: object, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_plain_validator_function(
            cls._validate, serialization=core_schema.to_string_ser_schema()
        )

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        return {"type": "string", "format": "password", "writeOnly": True}
