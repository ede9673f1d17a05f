import re
import xml.etree.ElementTree as ElementTree

import pytest

from negsieve.report.figures import Curve, Spot, curves, scatter, swatch, visible_range
from negsieve.report.svg import SERIES, style

HOSTILE = '</svg><script>alert(1)</script> $\\frac{$ & "quoted" \x1b[31m \u202e 東京'


def parsed(markup):
    """The picture as XML: well-formed, once the prefixes that HTML knows by itself are declared."""
    return ElementTree.fromstring(str(markup).replace("<svg ", '<svg xmlns:xlink="x" ', 1))


def test_curves_are_words_and_lines():
    lines = [Curve("a", [(0, 1.0), (1, None), (2, 3.0)]), Curve("b", [(0, 2.0), (1, float("nan"))], 1)]
    picture = parsed(curves(lines, name="fig", title="Loss", alt="Loss over epochs", best=1))
    assert picture.get("role") == "img" and picture.get("aria-label") == "Loss over epochs"
    texts = {"".join(one.itertext()) for one in picture.iter() if one.tag.endswith("text")}
    assert {"Loss", "epoch", "0", "1", "2"} <= texts


def test_the_same_figure_gives_the_same_bytes_and_ids_of_its_own():
    def draw(name):
        return str(curves([Curve("a", [(0, 1.0), (1, 2.0)])], name=name, title="t", alt="a"))

    assert draw("one") == draw("one")
    ids = [set(re.findall(r'\bid="([^"]+)"', draw(name))) for name in ("one", "two")]
    assert ids[0] and not ids[0] & ids[1]
    for found in re.findall(r'(?:href="|url\()#([^")]+)', draw("one")):
        assert found in ids[0]


def test_colours_are_left_to_the_page():
    text = str(curves([Curve("a", [(0, 1.0), (1, 2.0)])], name="x", title="t", alt="a"))
    assert "var(--c0)" in text and "var(--ink)" in text and "var(--soft)" in text
    assert SERIES[0] not in text and "<image" not in text and "http" not in text


def test_hostile_names_stay_text():
    spots = [Spot(HOSTILE, 1.0, 0.1, None, None, 0), Spot("b", 2.0, 0.2, 0.1, 0.01, 1)]
    text = scatter(spots, levels=[(HOSTILE, 0.15)], name="s", x=HOSTILE, y=HOSTILE, alt=HOSTILE, width=400, height=300)
    picture = parsed(text)
    assert "script" not in {one.tag for one in picture.iter()} and "<script" not in text
    assert "\x1b" not in text and "\u202e" not in text and "東京" in text


def test_levels_outside_the_picture_are_not_drawn():
    spots = [Spot("a", 1.0, 0.1, None, None, 0), Spot("b", 2.0, 0.2, None, None, 1)]
    text = scatter(
        spots, levels=[("near", 0.15), ("deep", 0.01)], name="s", x="x", y="y", alt="", width=400, height=300
    )
    assert ">near<" in text and "deep" not in text


def test_levels_nearby_are_drawn_and_widen_the_picture():
    spots = [Spot("a", 1.0, 0.1, None, None, 0), Spot("b", 2.0, 0.2, None, None, 1)]
    low, high = visible_range(spots, [("near", 0.25), ("deep", 0.01)])
    assert 0.07 < low < 0.1 and 0.25 < high < 0.3


def test_one_point_alone_can_be_drawn():
    text = scatter(
        [Spot("a", 1.0, 0.1, None, None, 0)], levels=[], name="s", x="x", y="y", alt="", width=400, height=300
    )
    assert parsed(text) is not None


def test_32_series_differ():
    looks = [tuple(str(one) for one in style(place).values()) for place in range(32)]
    assert len(set(looks)) == 32
    assert len({style(place)["marker"] for place in range(8)}) == 8


@pytest.mark.parametrize("series", [None, 0, 9, 31])
def test_swatches_are_well_formed(series):
    assert parsed(swatch(series)).get("aria-hidden") == "true"
