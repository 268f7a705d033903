"""Hostile text in any place gives one line, valid UTF-8, that parses."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plugins.logs.escaping import LONGEST_TEXT, clipped, json_line, printable, quotable

ANY_TEXT = st.text(st.characters())  # surrogates too
HOSTILE = "\r\n\x00\x1b[2J\x7f\x85\x9b\u2028\u2029\u202e\u2066\ufeff\u200b\U000e0001\udcff\ud800"


@given(ANY_TEXT, ANY_TEXT)
def test_json_line_is_one_printable_line_that_parses(first, second):
    line = json_line({"first": first, "second": second, "third": None}).decode()
    assert line.endswith("\n")
    assert line[:-1].isprintable()
    assert set(json.loads(line)) == {"first", "second", "third"}


@given(st.text())
def test_json_line_loses_nothing_of_valid_text(text):
    assert json.loads(json_line({"text": text})) == {"text": text}


@pytest.mark.parametrize("char", list(HOSTILE.replace("\udcff", "").replace("\ud800", "")))
def test_json_line_escapes_each_dangerous_character(char):
    line = json_line({"text": char})
    assert line[:-1].decode().isprintable()
    assert json.loads(line) == {"text": char}


def test_json_line_spells_out_lone_surrogates():
    assert json.loads(json_line({"text": "a\udcffb"})) == {"text": "a\\udcffb"}


def test_json_line_shows_ordinary_letters_of_any_script_as_they_are():
    assert json_line({"name": "Žofie 花子"}) == '{"name":"Žofie 花子"}\n'.encode()


@given(ANY_TEXT)
def test_printable_text_stays_on_one_line_and_encodes(text):
    assert printable(text).isprintable()
    printable(text).encode()


@given(ANY_TEXT)
def test_quotable_text_cannot_end_the_quotes_around_it(text):
    assert f'"{quotable(text)}"'.replace("\\\\", "").replace('\\"', "").count('"') == 2


@pytest.mark.parametrize("escape", [printable, quotable])
def test_every_dangerous_character_is_spelled_out(escape):
    assert escape(HOSTILE).isascii()
    assert escape(HOSTILE).isprintable()


def test_clipped_text_keeps_both_ends():
    text = clipped("begin" + "x" * 100_000 + "end")
    assert text.startswith("begin")
    assert text.endswith("end")
    assert len(text) < LONGEST_TEXT + 100
