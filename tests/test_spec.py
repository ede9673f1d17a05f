"""The strings that users type are read exactly, and what is wrong with one is said."""

from __future__ import annotations

import sys
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import PositiveFloat

from negsieve.errors import UsageError
from negsieve.spec import Spec, bind, convert, parse, resolve

WORD = st.from_regex(r"[a-z][a-z0-9_]{0,8}", fullmatch=True)
VALUE = st.from_regex(r"[A-Za-z0-9_.+/\\:=-]{1,9}", fullmatch=True)


def built(
    n_items: int,
    *,
    m: int = 4,
    rate: float = 0.5,
    mode: Literal["mean", "one"] = "mean",
    deep: bool = False,
    size: Literal[8, 16] = 8,
    limit: int | None = None,
    beta: PositiveFloat = 0.1,
    label: str = "x",
    bare=2,
):
    return {name: value for name, value in locals().items() if name != "n_items"}


class Thing:
    def __init__(self, seen, *, width: int, k: int = 3) -> None:
        self.seen, self.width, self.k = seen, width, k


@pytest.mark.parametrize(("text", "name", "params"), [
    ("dns", "dns", {}),
    ("dns_mn:m=8,n=32", "dns_mn", {"m": "8", "n": "32"}),
    (" DNS-MN : n-negatives = 8 , b=2 ", "dns_mn", {"n_negatives": "8", "b": "2"}),
    ("dns+", "dns+", {}),
    ("shop.samplers:nearby", "shop.samplers:nearby", {}),
    ("shop.samplers:Nearby:width=5,k=4", "shop.samplers:Nearby", {"width": "5", "k": "4"}),
    ("text:path=C:\\a:b,x==", "text", {"path": "C:\\a:b", "x": "="}),
])  # fmt: skip
def test_what_is_read(text, name, params):
    assert parse(text) == Spec(name, params)


@given(WORD, st.none() | WORD, st.dictionaries(WORD, VALUE, max_size=4))
def test_the_canonical_text_reads_back(name, function, params):
    spec = Spec(name if function is None else f"{name}:{function}", params)
    assert parse(str(spec)) == spec
    backwards = Spec(spec.name, dict(reversed(params.items())))
    assert str(backwards) == str(spec) == str(parse(str(spec)))
    assert spec.outside == (function is not None)


@pytest.mark.parametrize(("text", "why"), [
    ("", "starts with no name"),
    (":m=3", "starts with no name"),
    ("m=3", "starts with no name"),
    ("dns:m", "no module:function"),
    ("dns:m=", "not of the form key=value"),
    ("dns:=3", "not of the form key=value"),
    ("dns:m=3,", "not of the form key=value"),
    ("dns:m=3,m=4", "m is given twice"),
    ("dns:m=3,n", "'n' is not of the form key=value"),
    ("a.b:f:", "a part is empty"),
    ("../x:f", "no module:function"),
    ("os.path:join.x", "no module:function"),
    ("a,b", "a part is empty"),
])  # fmt: skip
def test_what_cannot_be_read_says_why(text, why):
    if text == "dns:m":
        assert parse(text).outside  # one word after the colon is a function's name
        return
    with pytest.raises(UsageError, match="cannot read") as error:
        parse(text)
    assert why in str(error.value) and repr(text) in str(error.value)


def test_parameters_are_read_as_annotated():
    text = "built:m=8,rate=1e-3,mode=one,deep=true,size=16,limit=3,beta=.2,label=007,bare=5"
    assert bind(built, parse(text), {"n_items": 9}) == {
        "m": 8, "rate": 1e-3, "mode": "one", "deep": True, "size": 16, "limit": 3, "beta": 0.2,
        "label": "007", "bare": 5,
    }  # fmt: skip
    found = bind(Thing, parse("thing:width=5"), {"seen": "S", "n_users": 3})
    assert (found.seen, found.width, found.k) == ("S", 5, 3)


@pytest.mark.parametrize(("params", "said"), [
    ("m=4.5", "m=4.5, wanted a whole number"),
    ("m=four", "m=four, wanted a whole number"),
    ("rate=fast", "rate=fast, wanted a number"),
    ("rate=nan", "wanted a finite number"),
    ("rate=inf", "wanted a finite number"),
    ("deep=maybe", "wanted true or false"),
    ("mode=men", "wanted one of mean, one. Did you mean 'mean'?"),
    ("size=9", "wanted one of 8, 16"),
    ("beta=-1", "beta=-1, wanted a number above 0"),
    ("n_items=5", "n_items is given by the data and the run; leave it out"),
    ("mm=5", "has no parameter 'mm'; its parameters: m=4, rate=0.5, mode=mean"),
    ("modes=one", "Did you mean 'mode'?"),
])  # fmt: skip
def test_bad_parameters_are_named_with_what_was_wanted(params, said):
    with pytest.raises(UsageError) as error:
        bind(built, parse(f"built:{params}"), {"n_items": 9})
    assert said in str(error.value) and "built" in str(error.value)


def test_a_missing_parameter_is_asked_for():
    with pytest.raises(UsageError, match="needs a value for 'width'; its parameters: width, k=3"):
        bind(Thing, parse("thing"), {"seen": 1})
    with pytest.raises(UsageError, match="it has no parameters"):
        bind(lambda: 1, parse("one:k=2"), {})


def test_positional_and_open_parameters_are_handled():
    def odd(a: int, /, b: int = 2, *rest, **more):
        return a, b, rest, more

    assert bind(odd, parse("odd:a=1"), {"more": 5}) == (1, 2, (), {})


def test_convert_skips_what_the_caller_passes_itself():
    def loss(positive, negative, *, beta: float = 0.1):
        return beta

    assert convert(loss, parse("x:beta=.3"), skip=("positive", "negative")) == {"beta": 0.3}
    with pytest.raises(UsageError, match="leave it out"):
        convert(loss, parse("x:positive=1"), skip=("positive", "negative"))


class Point:
    def load(self):
        return Thing


def test_names_are_looked_up_and_near_misses_named():
    table, aliases = {"dns_mn": built, "uniform": Thing}, {"rns": "uniform"}
    assert resolve(Spec("dns-mn"), table) is built
    assert resolve(parse("RNS"), table, aliases=aliases) is Thing
    assert resolve(parse("near-by"), table, plugins={"near-by": Point()}) is Thing
    assert resolve(parse("uniform"), {"uniform": built}, plugins={"uniform": Point()}) is built
    with pytest.raises(UsageError, match=r"no sampler 'unifrm'; known: dns_mn, uniform\. Did you mean 'uniform'"):
        resolve(parse("unifrm"), table, what="sampler")
    with pytest.raises(UsageError, match="Did you mean 'nearby'"):
        resolve(parse("nearbi"), table, plugins={"nearby": Point()})


def test_code_outside_is_imported_only_where_allowed(tmp_path, monkeypatch):
    (tmp_path / "planted_module.py").write_text("ran = True\ndef nearby(k: int = 1): return k\nnumber = 3\n")
    (tmp_path / "planted_broken.py").write_text("import planted_absent_thing\n")
    monkeypatch.syspath_prepend(tmp_path)
    spec = parse("planted_module:nearby:k=4")
    with pytest.raises(UsageError, match="never from a file"):
        resolve(spec, {})
    assert "planted_module" not in sys.modules
    assert bind(resolve(spec, {}, allow_import=True), spec, {}) == 4
    for text, said in {
        "planted_module:nearbi": "has no function 'nearbi'. Did you mean 'nearby'?",
        "planted_module:number": "has no function 'number'",
        "planted_nowhere.at_all:f": "there is no module 'planted_nowhere'. Is it installed",
        "planted_broken:f": "importing planted_broken failed: No module named 'planted_absent_thing'",
    }.items():
        with pytest.raises(UsageError) as error:
            resolve(parse(text), {}, allow_import=True)
        assert said in str(error.value)
    for name in ("planted_module", "planted_broken"):
        sys.modules.pop(name, None)
