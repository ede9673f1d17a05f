"""A parameter that changes nothing is a trap: every parameter of every method moves what training sees."""

from __future__ import annotations

import inspect
from typing import Annotated, Literal, get_args, get_origin, get_type_hints

import pytest
import torch

from negsieve.rng import streams
from negsieve.samplers.named import METHODS, default_loss
from negsieve.scorers import Towers
from negsieve.seen import Seen
from negsieve.spec import Spec, bind
from negsieve.testing.answers import difference
from negsieve.testing.standin import CrossedTowers
from negsieve.types import Batch

GIVEN = {"n_items", "n_users", "seen", "dim", "seed", "explicit", "train", "last_row"}
STEPS, EPOCHS = 3, 3
# where a parameter says how much is remembered, it matters only when memory is short; how an adversary climbs,
# only once it has climbed; and a cap, only where something reaches it
CLIMBS = ("adv_epochs", "max_pairs", "batch_size", "optimiser", "lr")
BESIDE = {
    ("gdns", "dense"): {"slots": "2"},
    **{("adv_infonce", name): {"every": "1"} for name in CLIMBS},
    ("adv_infonce", "max_kl"): {"every": "1", "lr": "3"},
    **{(name, "chi"): {"tau": "1"} for name in ("realhns", "realhns_general")},
    **{(name, "group"): {"base": "dns"} for name in ("realhns", "realhns_general")},
    ("dns_star", "mix"): {"m": "1"},
    **{("dns_star", name): {"curriculum": "true"} for name in ("mu", "psi", "eta")},
}
# thirty items and three epochs: bands, places and paces that make a difference there
SMALL = {
    "candidates": "12",
    "fine_max": "6",
    "p_min": "10",
    "p_max": "90",
    "item_clusters": "4",
    "mu": "0",
    "tau": "2",
}
USUAL = {
    "realhns": SMALL
    | {"n_general": "3", "n_cross": "3", "eta": "4", "chi": "1.5", "cross_max": "80", "user_clusters": "2"}
    | {"outliers": "0.5", "n_negatives": "8"},
    "realhns_general": SMALL | {"n_hard": "4", "eta": "2", "chi": "1.5", "n_negatives": "8"},
    "dns_star": {"mu": "0"},
}


def parameters() -> list[tuple[str, str]]:
    found = []
    for name, make in METHODS.items():
        found += [(name, one) for one in inspect.signature(make).parameters if one not in GIVEN]
    return found


def others(make, parameter: str) -> list[str]:
    """Values, as text, other than the default: at least one of them must matter."""
    default = inspect.signature(make).parameters[parameter].default
    hint = get_type_hints(make, include_extras=True)[parameter]
    if get_origin(hint) is Annotated:
        hint = get_args(hint)[0]
    if get_origin(hint) is Literal:
        return [str(one) for one in get_args(hint) if one != default]
    if isinstance(default, bool):
        return [str(not default).lower()]
    if isinstance(default, int):
        return [str(default + 1), str(default * 2), str(max(1, default // 2)), "1", "2", "3"]
    if isinstance(default, float):
        return [str(default * 2), str(default / 4), str(default + 0.3)]
    return ["0.5", "linear:1:0.2:2", "2", "ramp:2:2"]  # a schedule as text


def settings(make, parameter: str) -> list[dict[str, str]]:
    """The defaults, and each way that another parameter can choose: some matter in one of them alone."""
    ways = [{}]
    for name, hint in get_type_hints(make, include_extras=True).items():
        if get_origin(hint) is Literal and name != parameter:
            ways += [{name: str(value)} for value in get_args(hint)]
    return ways


def turned_down(seen) -> Seen:
    """Five items that each user turned down, some of which it has seen."""
    user = torch.arange(seen.n_users).repeat_interleave(5)
    item = torch.arange(len(user)) % seen.n_items
    return Seen(user, item, n_users=seen.n_users, n_items=seen.n_items, part="negatives")


def trace(name: str, seen, **given: str) -> list:
    """What a method hands to the loss over some epochs of training on fixed scores that drift."""
    offers = {"n_items": seen.n_items, "n_users": seen.n_users, "seen": seen, "dim": 8, "seed": 0}
    offers["explicit"] = turned_down(seen)
    if name in USUAL:  # an oracle's run, which knows the train pairs too, and users' last rows
        more = torch.arange(seen.n_users) % 7
        user, item = torch.cat([seen.owner, torch.arange(seen.n_users)]), torch.cat([seen.item, more])
        known = Seen(user, item, n_users=seen.n_users, n_items=seen.n_items, part="train+test", oracle=True)
        offers |= {"seen": known, "train": seen, "last_row": torch.arange(seen.n_users)} if name != "dns_star" else {}
        given = USUAL[name] | given
    sampler = bind(METHODS[name], Spec(name, given), offers)
    told = [default_loss(name, given), str(any(getattr(part, "noiseless", False) for part in sampler.modules()))]
    for epoch in range(EPOCHS):
        tables = [torch.randn(n, 8, generator=streams("t", n, epoch)) for n in (seen.n_users, seen.n_items)]
        encode = Towers(*tables, stack=(tables[1] * 0.5, tables[1] * 1.5))
        if name in ("realhns", "realhns_general"):  # states that depend on the row
            encode = CrossedTowers(*tables)
        sampler.begin(epoch, encode, streams("refresh", epoch))
        for step in range(STEPS):
            rng = streams("batch", epoch, step)
            user = torch.tensor([0, 1, 2, 3, 4, 5, 6, 8, 9, 10])[torch.randperm(10, generator=rng)]
            batch = Batch(user, torch.randint(seen.n_items, (10,), generator=rng), torch.arange(10))
            scorer = encode(batch)
            negatives = sampler.sample(batch, scorer, streams("draw", epoch, step))
            told += [negatives, sampler.auxiliary(batch, negatives, scorer)]
            with torch.no_grad():
                evidence = sampler.observe(batch, negatives, scorer, torch.rand(10, generator=rng), streams("o", step))
            if evidence is not None:
                sampler.learn([evidence])
    return told


def same(one, two) -> bool:
    if isinstance(one, str) or one is None or two is None:
        return one == two if isinstance(one, str) else one is two
    if isinstance(one, torch.Tensor):
        return one.shape == two.shape and torch.equal(one, two)
    return one.item.shape == two.item.shape and difference(one, two) is None


@pytest.mark.parametrize(("name", "parameter"), parameters())
def test_it_moves_what_training_sees(name, parameter, seen):
    for setting in [*settings(METHODS[name], parameter), BESIDE.get((name, parameter), {})]:
        try:
            usual = trace(name, seen, **setting)
        except ValueError:
            continue
        for value in others(METHODS[name], parameter):
            try:
                changed = trace(name, seen, **setting | {parameter: value})
            except ValueError:
                continue  # out of its range; another value will do
            if not all(same(*pair) for pair in zip(usual, changed, strict=True)):
                return
    raise AssertionError(f"{name}: {parameter} can be anything, and training sees the same")
