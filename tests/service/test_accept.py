"""Accept: which of two media types a client would rather have."""

from __future__ import annotations

import pytest

from service.accept import prefers

JSON, PROBLEM, HTML = "application/json", "application/problem+json", "text/html"


@pytest.mark.parametrize(
    ("accept", "preferred"),
    [
        (PROBLEM, True),
        ("Application/Problem+JSON", True),
        (f"{PROBLEM}, {JSON};q=0.9", True),
        (f"{JSON};q=0.5, {PROBLEM};q=0.6", True),
        (f"{PROBLEM}, */*", True),
        (f"{PROBLEM};charset=utf-8 ; q=1.0", True),
        (f"{PROBLEM};q=0.1", True),
        ("", False),
        ("*/*", False),
        ("application/*", False),
        (JSON, False),
        (f"{JSON}, {PROBLEM}", False),
        (f"{PROBLEM}, {JSON}", False),
        (f"{PROBLEM};q=0.5, {JSON}", False),
        (f"{PROBLEM};q=0.5, */*", False),
        (f"{PROBLEM};q=0.5, application/*;q=0.6, */*;q=0.1", False),
        (f"{PROBLEM};q=0", False),
        (f"{PROBLEM};q=0, */*;q=0", False),
        (f"{PROBLEM};q=much", False),
        (f"{PROBLEM};q=nan", False),
        (f"{PROBLEM};q=2", False),
        (";;;,,,q=", False),
    ],
)
def test_problem_json_is_preferred_only_where_it_is_ranked_above(accept: str, preferred: bool) -> None:
    assert prefers(accept, PROBLEM, over=JSON) is preferred


@pytest.mark.parametrize(
    ("accept", "preferred"),
    [
        ("text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8", True),
        ("text/html, application/xhtml+xml, image/jxr, */*", True),
        ("text/*", True),
        ("text/*;q=0.5, application/json;q=0.4", True),
        ("*/*;q=0.5, application/json;q=0.1", True),
        ("text/html;q=0.001", True),
        ("text/html;level=1", True),
        ("", False),
        ("*/*", False),
        ("application/json, text/javascript, */*;q=0.01", False),
        ("application/json, text/html", False),
        ("text/html;q=0.9, application/json", False),
        ("text/html;q=0.5, */*;q=0.6", False),
        ("text/html;q=0, */*", False),
        ("text/*;q=0, */*;q=0.1", False),
        ("image/png", False),
        ("text/htm", False),
    ],
)
def test_page_is_preferred_only_where_it_is_ranked_above(accept: str, preferred: bool) -> None:
    assert prefers(accept, HTML, over=JSON) is preferred
