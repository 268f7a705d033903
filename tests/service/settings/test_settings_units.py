"""Durations, sizes, rates and secrets: what they read, what they refuse, how they print."""

from __future__ import annotations

import copy
import json
import pickle

import pytest
from pydantic import TypeAdapter, ValidationError

from service.settings import Duration, PluginSettings, Rate, Secret, Size


@pytest.mark.parametrize(
    ("text", "seconds"), [("30s", 30), ("250ms", 0.25), ("1.5s", 1.5), ("15m", 900), ("1h", 3600), ("7d", 604800)]
)
def test_duration_reads_its_unit(text: str, seconds: float) -> None:
    assert Duration(text).seconds == seconds
    assert str(Duration(text)) == text


@pytest.mark.parametrize(("text", "size"), [("0B", 0), ("512B", 512), ("1KiB", 1024), ("2MiB", 2 << 20)])
def test_size_reads_its_unit(text: str, size: int) -> None:
    assert Size(text).bytes == size


@pytest.mark.parametrize(("text", "count", "window_s"), [("100/15m", 100, 900), ("10/s", 10, 1), ("5/250ms", 5, 0.25)])
def test_rate_reads_count_and_window(text: str, count: int, window_s: float) -> None:
    rate = Rate(text)
    assert (rate.count, rate.window_s) == (count, window_s)


@pytest.mark.parametrize("text", ["", "30", "s", "30 s", "-1s", "1e3s", "30S", "٣s", "1s\n", "9" * 400 + "s"])
def test_duration_refuses_other_text(text: str) -> None:
    with pytest.raises(ValueError, match="a duration is a number"):
        Duration(text)


@pytest.mark.parametrize("text", ["1MB", "1.5MiB", "1024", "KiB"])
def test_size_refuses_other_text(text: str) -> None:
    with pytest.raises(ValueError, match="KiB"):
        Size(text)


@pytest.mark.parametrize("text", ["0/s", "10/0s", "10", "10/", "/s", "1.5/s"])
def test_rate_refuses_other_text_and_zero(text: str) -> None:
    with pytest.raises(ValueError, match="100/15m"):
        Rate(text)


def test_units_compare_by_value_and_print_as_they_were_spelled() -> None:
    assert Duration("60s") == Duration("1m")
    assert hash(Duration("60s")) == hash(Duration("1m"))
    assert Duration("59s") < Duration("1m") <= Duration("60s")
    assert Size("1KiB") == Size("1024B") > Size("1B")
    assert Rate("10/s") != Rate("600/1m")
    assert Duration("1s") != Size("1B")
    with pytest.raises(TypeError):
        assert Duration("1s") < Size("2B")  # type: ignore[operator]  # what is tested
    assert repr(Duration("1m")) == "Duration('1m')"


def test_units_are_frozen() -> None:
    with pytest.raises(AttributeError):
        Duration("1s").seconds = 5  # type: ignore[misc]
    with pytest.raises(AttributeError):
        del Secret("x")._text


@pytest.mark.parametrize("value", [Duration("1m"), Size("1KiB"), Rate("10/s"), Secret("x")])
def test_units_survive_copies_and_pickles(value: object) -> None:
    assert copy.deepcopy(value) == value
    assert pickle.loads(pickle.dumps(value)) == value  # noqa: S301 - made one line above


@pytest.mark.parametrize(("unit", "bare"), [(Duration, 30), (Duration, 1.5), (Size, 1024), (Rate, 10), (Size, True)])
def test_bare_numbers_are_refused(unit: type, bare: float) -> None:
    with pytest.raises(ValidationError):
        TypeAdapter(unit).validate_python(bare)


@pytest.mark.parametrize(
    ("unit", "meant", "example"),
    [
        (Duration, 30, "30s"),
        (Duration, "5 seconds", "5s"),
        (Duration, "5 m", "5m"),
        (Size, "1MB", "1MiB"),
        (Size, "10 m", "10MiB"),
        (Rate, 5, "5/s"),
    ],
)
def test_refusal_guesses_what_was_meant(unit: type, meant: object, example: str) -> None:
    with pytest.raises(ValidationError) as raised:
        TypeAdapter(unit).validate_python(meant)
    assert raised.value.errors()[0]["ctx"]["example"] == example


def test_units_have_a_json_schema_with_pattern_and_examples() -> None:
    schema = TypeAdapter(Duration).json_schema()
    assert schema["type"] == "string"
    assert schema["examples"][0] == "30s"
    assert TypeAdapter(Secret).json_schema()["format"] == "password"


def test_secret_prints_as_stars_everywhere() -> None:
    class Settings(PluginSettings):
        token: Secret = Secret("hunter2-default")

    settings = Settings(token=Secret("hunter2"))
    shown = [
        str(settings),
        repr(settings),
        str(settings.model_dump()),
        settings.model_dump_json(),
        json.dumps(settings.model_dump(mode="json")),
        json.dumps(Settings.model_json_schema()),
        f"{settings.token}",
        f"{settings.token!r}",
        "%s" % settings.token,  # noqa: UP031 - this way of printing too
        str([settings.token]),
    ]
    assert settings.token.reveal() == "hunter2"
    assert not [text for text in shown if "hunter2" in text]
    with pytest.raises(TypeError):
        json.dumps(settings.token)


def test_secret_equals_by_text() -> None:
    assert Secret("ä") == Secret("ä")
    assert Secret("a") != Secret("b")
    assert Secret("a") != "a"
    assert len({Secret("a"), Secret("a")}) == 1
    assert not Secret("")


def test_plugin_settings_are_frozen_and_refuse_unknown_keys() -> None:
    class Settings(PluginSettings):
        size: Size = Size("1KiB")

    with pytest.raises(ValidationError):
        Settings(sise="1KiB")  # type: ignore[call-arg]
    with pytest.raises(ValidationError):
        Settings().size = Size("2KiB")  # type: ignore[misc]
    with pytest.raises(ValidationError) as raised:
        Settings(size="hunter2")  # type: ignore[arg-type]
    assert "hunter2" not in str(raised.value)
