"""Small charts as text: well formed, self-contained, and harmless whatever a series is called."""

from __future__ import annotations

import doctest
import re
from xml.etree import ElementTree

import pytest

from core.export import svg
from core.export.svg import Band, Line, chart, sparkline

HOSTILE = '"/><script>alert(1)</script>'


def drawn(text: str) -> ElementTree.Element:
    return ElementTree.fromstring(text)


def names(element: ElementTree.Element) -> set[str]:
    return {part.tag.rpartition("}")[2] for part in element.iter()}


@pytest.mark.parametrize("values", [[1.0], [0.0, 0.0], [3.0, -1.0, 2.5], [1e9, 1e-9]])
def test_a_sparkline_has_a_point_for_every_value_inside_its_frame(values):
    element = drawn(sparkline(values, "how it went"))
    (line,) = (part for part in element.iter() if part.tag.endswith("polyline"))
    places = [tuple(map(float, pair.split(","))) for pair in line.get("points").split()]
    assert len(places) == len(values)
    assert all(0 <= x <= 140 and 0 <= y <= 28 for x, y in places)


def test_nothing_to_draw_is_no_drawing():
    assert sparkline([], "nothing") == ""
    assert chart([Line([])], "nothing", x_name="x", y_name="y") == ""


def test_higher_values_are_drawn_higher_up():
    element = drawn(chart([Line([(0, 1.0), (1, 5.0)])], "t", x_name="x", y_name="y"))
    (line,) = (part for part in element.iter() if part.tag.endswith("polyline"))
    (x0, y0), (x1, y1) = (map(float, pair.split(",")) for pair in line.get("points").split())
    assert x1 > x0
    assert y1 < y0


def test_a_chart_names_its_lines_once_and_its_band():
    lines = [Line([(0, 1.0), (1, 2.0)], name=name) for name in ("0.1", "")]
    element = drawn(chart(lines, "t", x_name="steps", y_name="fitness", band=Band(0, 1, "native")))
    words = [part.text for part in element.iter() if part.tag.endswith("text")]
    assert words.count("0.1") == 1
    assert {"native", "steps", "fitness"} <= set(words)


@pytest.mark.parametrize("place", ["title", "line", "axis", "band"])
def test_what_others_wrote_is_text_and_nothing_else(place):
    said = {
        name: HOSTILE if name == place else "plain" for name in ("title", "line", "axis", "band")
    }
    text = chart(
        [Line([(0, 0.0), (1, 1.0)], name=said["line"])],
        said["title"],
        x_name=said["axis"],
        y_name=said["axis"],
        band=Band(0, 1, said["band"]),
    )
    assert "script" not in names(drawn(text))
    assert "<script" not in text


def test_a_chart_asks_nobody_for_anything():
    text = chart([Line([(0, 0.0), (1, 1.0)])], "t", x_name="x", y_name="y")
    assert re.findall(r"(?:href|src|url|@import)", text) == []


def test_the_examples_in_its_words_hold():
    assert doctest.testmod(svg).failed == 0
