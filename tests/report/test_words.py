import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from negsieve.report import words


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.08312, "0.0831"),
        (-0.00424, "−0.0042"),
        (-0.00001, "0.0000"),
        (0.0, "0.0000"),
        (12340, "12,340"),
        (-3, "−3"),
        (None, "–"),
        (math.nan, "–"),
        (math.inf, "–"),
        (True, "–"),
        ("x", "–"),
    ],
)
def test_numbers(value, text):
    assert words.number(value) == text


def test_signs_shares_and_p_values():
    assert [words.signed(one) for one in (0.01, -0.01, 0.00001, None)] == ["+0.0100", "−0.0100", "0.0000", "–"]
    assert [words.share(one) for one in (0.0125, 0, None)] == ["1.25 %", "0.00 %", "–"]
    assert [words.probability(one) for one in (0.0004, 0.001, 0.0316, 1.0, None)] == [
        "< 0.001",
        "0.001",
        "0.032",
        "1.000",
        "–",
    ]
    assert [words.equals(one) for one in (0.0004, 0.5)] == ["p < 0.001", "p = 0.500"]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.421, "0.42 s"), (38.4, "38 s"), (59.7, "1 min 00 s"), (185, "3 min 05 s"), (7800, "2 h 10 min"), (None, "–")],
)
def test_durations(seconds, text):
    assert words.duration(seconds) == text


@given(st.text())
def test_clean_text_holds_no_control_sign_and_is_as_long(text):
    out = words.clean(text)
    assert len(out) == len(text)
    assert not any((ord(sign) < 32 and sign not in "\n\t") or sign in "\x7f\u202e\u2066\u200f" for sign in out)


def test_clean_keeps_scripts_and_emoji():
    text = "Ação 東京 עברית 👩‍🔬 e\u0301"
    assert words.clean(text) == text


def test_rows_of_nested_values():
    value = {"a": {"b": 1e-05, "c": {}}, "d": [1, "x"], "n": 250_312, "none": None, "yes": True}
    assert words.rows(value, exact=True) == [
        ("a.b", "1e-05"),
        ("a.c", "none"),
        ("d", "1, x"),
        ("n", "250312"),
        ("none", "none"),
        ("yes", "yes"),
    ]
    assert dict(words.rows(value))["n"] == "250,312"
    assert words.rows({"l": list(range(99))})[0][1].endswith("19, ... 99 in all")
    assert words.rows({}) == []


def test_lists_and_plurals():
    assert [words.listed(list("abc")[:n]) for n in range(4)] == ["", "a", "a and b", "a, b and c"]
    assert (words.plural(1, "run"), words.plural(0, "run")) == ("1 run", "0 runs")
