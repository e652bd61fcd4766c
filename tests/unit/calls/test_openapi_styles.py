"""Values in the styles of OpenAPI: the examples of its specification, and what has no form."""

from __future__ import annotations

from typing import Any

import pytest

from workflow_runner.calls.openapi_styles import NotWritable, in_header, in_path, pairs

LIST = ["blue", "black", "brown"]
COLOURS = {"R": 100, "G": 200, "B": 150}


@pytest.mark.parametrize(
    ("style", "explode", "value", "written"),
    [
        ("simple", False, "blue", "blue"),
        ("simple", False, LIST, "blue,black,brown"),
        ("simple", True, LIST, "blue,black,brown"),
        ("simple", False, COLOURS, "R,100,G,200,B,150"),
        ("simple", True, COLOURS, "R=100,G=200,B=150"),
        ("label", False, "blue", ".blue"),
        ("label", False, LIST, ".blue,black,brown"),
        ("label", True, LIST, ".blue.black.brown"),
        ("label", False, COLOURS, ".R,100,G,200,B,150"),
        ("label", True, COLOURS, ".R=100.G=200.B=150"),
        ("matrix", False, "blue", ";color=blue"),
        ("matrix", False, LIST, ";color=blue,black,brown"),
        ("matrix", True, LIST, ";color=blue;color=black;color=brown"),
        ("matrix", False, COLOURS, ";color=R,100,G,200,B,150"),
        ("matrix", True, COLOURS, ";R=100;G=200;B=150"),
        ("simple", False, "a/b c;ü~", "a%2Fb%20c%3B%C3%BC~"),
        ("simple", False, ["a,b", "c"], "a%2Cb,c"),
        ("simple", False, True, "true"),
        ("simple", False, 12345678901234567890, "12345678901234567890"),
        ("simple", False, [1, None, 2], "1,2"),
    ],
)
def test_paths(style: str, explode: bool, value: Any, written: str) -> None:
    assert in_path("color", value, style, explode) == written


@pytest.mark.parametrize(
    ("style", "explode", "value", "written"),
    [
        ("form", True, "blue", [("color", "blue")]),
        ("form", True, LIST, [("color", "blue"), ("color", "black"), ("color", "brown")]),
        ("form", False, LIST, [("color", "blue,black,brown")]),
        ("form", True, COLOURS, [("R", "100"), ("G", "200"), ("B", "150")]),
        ("form", False, COLOURS, [("color", "R,100,G,200,B,150")]),
        ("spaceDelimited", False, LIST, [("color", "blue%20black%20brown")]),
        ("spaceDelimited", False, COLOURS, [("color", "R%20100%20G%20200%20B%20150")]),
        ("spaceDelimited", True, LIST, [("color", "blue"), ("color", "black"), ("color", "brown")]),
        ("pipeDelimited", False, LIST, [("color", "blue%7Cblack%7Cbrown")]),
        ("tabDelimited", False, LIST, [("color", "blue%09black%09brown")]),
        ("deepObject", True, COLOURS, [("color%5BR%5D", "100"), ("color%5BG%5D", "200"), ("color%5BB%5D", "150")]),
        ("form", True, "", [("color", "")]),
        ("form", True, [], []),
        ("form", False, [], []),
        ("form", False, {}, []),
        ("form", True, False, [("color", "false")]),
        ("form", True, "a&b=c d,ü", [("color", "a%26b%3Dc%20d%2C%C3%BC")]),
        ("form", False, ["a,b", 1.5], [("color", "a%2Cb,1.5")]),
        ("form", True, {"a": None, "b": 1}, [("b", "1")]),
    ],
)
def test_queries(style: str, explode: bool, value: Any, written: list[tuple[str, str]]) -> None:
    assert pairs("color", value, style, explode) == written


def test_names_are_encoded() -> None:
    assert pairs("a b[]", "x", "form", True) == [("a%20b%5B%5D", "x")]


def test_reserved_characters_may_be_left_but_never_those_that_divide_a_query() -> None:
    assert pairs("q", "a/b?c=d:e&f#g+h%", "form", True, allow_reserved=True) == [("q", "a/b?c=d:e%26f%23g%2Bh%25")]


@pytest.mark.parametrize(
    ("explode", "value", "written"),
    [
        (False, LIST, "blue,black,brown"),
        (False, COLOURS, "R,100,G,200,B,150"),
        (True, COLOURS, "R=100,G=200,B=150"),
        (False, "a b", "a b"),
    ],
)
def test_headers_are_not_encoded(explode: bool, value: Any, written: str) -> None:
    assert in_header(value, "simple", explode) == written


@pytest.mark.parametrize("value", [[[1]], [{"a": 1}], {"a": [1]}, {"a": {"b": 1}}])
@pytest.mark.parametrize("style", ["form", "spaceDelimited", "pipeDelimited"])
@pytest.mark.parametrize("explode", [True, False])
def test_what_is_nested_has_no_form(value: Any, style: str, explode: bool) -> None:
    with pytest.raises(NotWritable, match="inside of arrays or objects"):
        pairs("a", value, style, explode)


@pytest.mark.parametrize("value", ["x", 1, [1], {"a": [1]}])
def test_deep_objects_are_objects_of_plain_values(value: Any) -> None:
    with pytest.raises(NotWritable):
        pairs("a", value, "deepObject", True)


def test_a_style_of_another_place_is_refused() -> None:
    for write in (
        lambda: in_path("a", 1, "form", True),
        lambda: in_header(1, "form", True),
        lambda: pairs("a", 1, "matrix", True),
    ):
        with pytest.raises(NotWritable, match="is not for"):
            write()
