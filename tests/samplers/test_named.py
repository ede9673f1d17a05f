"""Every name works, keeps the contract, has a page, and RecBole's words reach the same methods."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from negsieve.errors import UsageError
from negsieve.losses import LOSSES
from negsieve.rng import streams
from negsieve.samplers.draw import Weighted, powered
from negsieve.samplers.named import ALIASES, METHODS, default_loss, find, from_recbole
from negsieve.scorers import Dot
from negsieve.seen import Seen
from negsieve.spec import bind, parse
from negsieve.testing.check_sampler import check_sampler
from negsieve.training.build import settle
from negsieve.training.price import price
from negsieve.types import Batch

VARIANTS = [
    *METHODS,
    "uniform:n_negatives=5",
    "popularity:alpha=0,n_negatives=2",
    "popularity:alpha=1,n_negatives=3",
    "shared:n_negatives=6,alpha=0.5",
    "dns:candidates=8,n_negatives=3",
    "dns:candidates=1",
    "dns_mn:mode=sum",
    "dns_mn:mode=one",
    "dns_mn:m=1,n=1",
    "pdns:form=soft,beta=0.3",
    "mixgcf:n_negatives=3,candidates=4",
    "mixgcf:mix=none",
    "explicit:n_negatives=4,share=0.5",
    "explicit:share=linear:1:0.2:3",
]


def make(text: str, seen):
    spec = parse(text)
    offers = {"n_items": seen.n_items, "n_users": seen.n_users, "seen": seen, "dim": 8, "seed": 0}
    user = torch.arange(seen.n_users - 2).repeat_interleave(5)  # the last two users turned nothing down
    offers["explicit"] = Seen(
        user, torch.arange(len(user)) % 30, n_users=seen.n_users, n_items=seen.n_items, part="negatives"
    )
    return bind(find(spec.name), spec, offers)


@pytest.mark.parametrize("text", VARIANTS)
def test_every_method_keeps_the_contract(text, seen):
    check_sampler(lambda: make(text, seen), n_users=12, n_items=30, seen=seen)


def test_what_is_shared_and_what_is_drawn(seen):
    for text in ("uniform", "popularity", "dns", "mixgcf", "in_batch", "shared"):
        report = check_sampler(lambda text=text: make(text, seen), n_users=12, n_items=30, seen=seen)
        assert report.deterministic == (text == "in_batch")
        assert report.shared == (text in ("in_batch", "shared"))
        assert not report.learns


@pytest.mark.parametrize("exclude", ["positive", "none"])
def test_wider_draws_keep_the_contract_too(exclude, seen):
    check_sampler(lambda: make(f"uniform:exclude={exclude}", seen), n_users=12, n_items=30)


@pytest.mark.parametrize("text", VARIANTS)
def test_each_default_loss_can_be_made_and_takes_the_draws(text, seen):
    spec = parse(text)
    loss = parse(default_loss(spec.name, spec.params))
    scorer, batch = (
        Dot(*(torch.randn(n, 8, generator=streams("x", n)) for n in (12, 30))),
        Batch(*[torch.arange(12)] * 2),
    )
    found = make(text, seen).sample(batch, scorer, streams("t"))
    negative = scorer.score(found.item) if found.vector is None else scorer.score_vectors(found.vector)
    made = settle(loss, {"n_items": 30, "n_users": 12, "seen": seen, "seed": 0})
    value = price(made, scorer.score(batch.item[:, None])[:, 0], negative, found, batch=batch, scorer=scorer)
    assert value.shape == (12,) and value.isfinite().all()
    assert value[7] == 0 or not negative.shape[1]


def test_default_losses_are_the_papers():
    assert default_loss("dns_mn", {}) == "bpr"
    assert default_loss("RNS", {}) == "bpr"
    assert default_loss("in-batch", {}) == "softmax:correct=log_q" and default_loss("shared", {}) == "softmax"
    assert default_loss("shared", {"alpha": "0.5"}) == "softmax:correct=log_q"
    assert default_loss("mixgcf", {"n_negatives": "1"}) == "bpr"
    assert default_loss("mix-gcf", {"n_negatives": 2}) == "k_pair"
    assert default_loss("pdns", {"form": "mix", "beta": "0.2"}) == "bpr"
    assert default_loss("pdns", {"form": "soft", "beta": "0.2"}) == "soft_bpr:beta=0.2"
    assert default_loss("shop.samplers:nearby", {"k": "2"}) == "bpr"


def test_names_aliases_and_dashes():
    assert find("dns-mn") is find("dns+") is METHODS["dns_mn"]
    assert find("RNS") is METHODS["uniform"]
    assert set(ALIASES.values()) <= set(METHODS) and not set(ALIASES) & set(METHODS)
    with pytest.raises(UsageError, match="Did you mean 'popularity'"):
        find("popularty")
    with pytest.raises(UsageError, match="never from a file"):
        find("shop.samplers:nearby")


def test_every_method_and_the_losses_have_a_page():
    pages = Path(__file__).parents[2] / "docs" / "methods"
    for name, function in METHODS.items():
        text = (pages / f"{name}.md").read_text(encoding="utf-8")
        assert f"`{name}`" in text and "**Figures.**" in text
        for parameter in function.__kwdefaults__ or {}:
            assert f"`{parameter}`" in text, f"docs/methods/{name}.md does not mention {parameter}"
    text = (pages / "losses.md").read_text(encoding="utf-8")
    assert all(f"`{name}`" in text for name in LOSSES)


@pytest.mark.parametrize(("args", "text"), [
    ({}, "uniform:n_negatives=1"),
    (
        {"distribution": "uniform", "sample_num": 1, "alpha": 1.0, "dynamic": False, "candidate_num": 0},
        "uniform:n_negatives=1",
    ),
    ({"distribution": "popularity", "sample_num": 2, "alpha": 0.5}, "popularity:alpha=0.5,n_negatives=2"),
    ({"distribution": "popularity"}, "popularity:alpha=1.0,n_negatives=1"),
    ({"dynamic": True, "candidate_num": 8}, "dns:candidates=8"),
])  # fmt: skip
def test_recbole_words(args, text, seen):
    assert from_recbole(args) == text == str(parse(text))
    make(text, seen)


@pytest.mark.parametrize(("args", "said"), [
    ({"distribution": "none"}, "wanted 'uniform' or 'popularity'"),
    ({"distrbution": "uniform"}, "Did you mean 'distribution'"),
    ({"sample_num": "two"}, "sample_num='two', wanted a whole number"),
    ({"sample_num": 1.5}, "wanted a whole number"),
    ({"dynamic": True}, "candidate_num=0 has no equal here"),
    ({"dynamic": True, "candidate_num": 4, "sample_num": 2}, "several hard negatives are dns_mn"),
])  # fmt: skip
def test_recbole_words_without_an_equal_are_refused(args, said):
    with pytest.raises(UsageError, match=said):
        from_recbole(args)


def test_bad_method_parameters_are_refused(seen):
    for text, said in {
        "pdns:beta=0": "beta=0.0",
        "pdns:beta=1.5": "beta=1.5",
        "pdns:form=loss": "wanted one of mix, random, soft",
        "dns_mn:m=9,n=8": "the hardest 9 of 8",
        "dns:candidates=0": "candidates=0, wanted a whole number above 0",
        "softmax_v:rho=0": "rho=0.*wanted a number above 0",
    }.items():
        with pytest.raises(UsageError, match=said):
            scorer = Dot(torch.zeros(1, 2), torch.zeros(30, 2))
            make(text, seen).sample(Batch(torch.tensor([0]), torch.tensor([0])), scorer, streams("t"))


def test_draws_of_a_stream_are_pinned(seen):
    """A change of these numbers changes every published run: it needs a reason and a note."""
    popular = powered(seen.popularity(), alpha=0.75)
    for weight, wanted in ((None, [15, 9, 17, 29, 11, 9]), (popular, [5, 10, 19, 29, 18, 9])):
        sampler = Weighted(30, seen=seen, n_negatives=6, weight=weight)
        found = sampler.sample(Batch(torch.tensor([0, 11])), None, streams("pin", 1))
        assert found.item.tolist() == [wanted, [10, 12, 1, 13, 9, 26]]
