import io
import sys
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from negsieve.cli import screen


def shown(thing) -> str:
    out = io.StringIO()
    Console(file=out, force_terminal=True, markup=True, width=300).print(thing)
    return out.getvalue()


@pytest.mark.parametrize(
    ("title", "seen"),
    [
        ("[red]x[/red]", "[red]x[/red]"),
        ("[/] :smile: [link=file:///etc]", "[/] :smile: [link=file:///etc]"),
        ("\x1b[31mred\x1b[0m", r"\x1b[31mred\x1b[0m"),
        ("a\r\nb\x00\x07", r"a\r\nb\x00\x07"),
        ("tail\u202egnp.exe", "tail\\u202egnp.exe"),
        ("\ud800", r"\ud800"),
        ("Größe 漢字 👩‍👧", "Größe 漢字 👩‍👧"),
    ],
)
def test_text_from_files_prints_as_it_is_and_never_acts(title, seen):
    assert shown(screen.plain(title)).rstrip("\n") == seen


@given(st.text())
def test_nothing_that_acts_is_left_and_the_rest_is_untouched(text):
    found = screen.escaped(text)
    assert not {unicodedata.category(sign) for sign in found} & {"Cc", "Cf", "Cs", "Zl", "Zp"}
    if text.isprintable():
        assert found == text
    assert screen.escaped(found) == found


def test_a_table_breaks_long_names_and_never_numbers():
    made = screen.table("name", "value")
    made.add_row(screen.plain("n" * 200), "0.123456789")
    out = io.StringIO()
    Console(file=out, width=40).print(made)
    lines = out.getvalue().splitlines()
    assert max(len(line) for line in lines) <= 40
    assert sum("0.123456789" in line for line in lines) == 1
    assert out.getvalue().count("n") >= 200


def test_raw_text_goes_out_in_utf8_whatever_the_locale(monkeypatch):
    binary = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(binary, encoding="ascii"))
    screen.write_json({"id": "Zoë", "rate": float("nan")})
    assert binary.getvalue().decode("utf-8") == '{"id": "Zoë", "rate": null}\n'


def test_shortened_keeps_to_the_width():
    assert screen.shortened("mf/dns", 10) == "mf/dns"
    assert screen.shortened("lightgcn/dns:candidates=200", 10) == "lightgcn/…"
