"""The meter equals a slow loop over rows and negatives, whatever form the negatives come in."""

from __future__ import annotations

import pytest
import torch

from negsieve.lab.meter import Meter
from negsieve.rng import streams
from negsieve.scorers import Dot, Function
from negsieve.seen import Seen
from negsieve.types import Batch, Negatives

USERS, ITEMS, B, K = 6, 15, 6, 4


def pairs(name: str, n: int = 30) -> Seen:
    rng = streams(name)
    return Seen(
        torch.randint(USERS, (n,), generator=rng),
        torch.randint(ITEMS, (n,), generator=rng),
        n_users=USERS,
        n_items=ITEMS,
    )


TRAIN, HELD = pairs("train"), pairs("held")


def draws(form: str) -> Negatives:
    rng = streams("draws")
    item = torch.randint(ITEMS, (B, K), generator=rng)
    keep = torch.rand(B, K, generator=rng) < 0.6
    keep[2] = False  # a row with nothing left
    weight = torch.rand(B, K, generator=rng) * 3
    parts = torch.randint(ITEMS, (B, K, 2), generator=rng)
    vector = torch.randn(B, K, 3, generator=rng)
    return {
        "plain": Negatives(item),
        "kept": Negatives(item, keep=keep),
        "weighted": Negatives(item, weight=weight),
        "weighted and kept": Negatives(item, keep=keep, weight=weight),
        "shared": Negatives(item[:1]),
        "shared and kept": Negatives(item[:1], keep=keep),
        "synthetic": Negatives(item, vector=vector, parts=parts),
        "synthetic and weighted": Negatives(item, vector=vector, parts=parts, weight=weight),
    }[form]


FORMS = ("plain", "kept", "weighted", "weighted and kept", "shared", "shared and kept", "synthetic")
FORMS += ("synthetic and weighted",)


def by_hand(negatives: Negatives, users: list[int]) -> dict[str, float]:
    """False-negative rate, popularity and coverage, an item at a time."""
    held = set(zip(HELD.owner.tolist(), HELD.item.tolist(), strict=True))
    count = TRAIN.item.tolist()
    false = popular = counted = 0.0
    covered = set()
    for row, user in enumerate(users):
        found = []  # (item, how much it counts)
        for k in range(negatives.item.shape[1]):
            share = 1.0 if negatives.weight is None else float(negatives.weight[row, k])
            if negatives.keep is not None and not bool(negatives.keep[row, k]):
                share = 0.0
            real = (
                [negatives.item[row % len(negatives.item), k]] if negatives.parts is None else negatives.parts[row, k]
            )
            found += [(int(one), share / len(real)) for one in real]
        total = sum(share for _, share in found)
        for item, share in found if total else ():
            false += share / total * ((user, item) in held)
            popular += share / total * count.count(item)
            covered |= {item} if share else set()
        counted += total > 0
    return {
        "false_negative_rate": false / counted,
        "popularity": popular / counted,
        "coverage": len(covered) / ITEMS,
    }


def observe(meter: Meter, negatives: Negatives, *, scorer=None, gradient=None, step: int = 0, user=None) -> None:
    user = torch.arange(B) if user is None else user
    n = len(user)
    meter.observe(
        Batch(user, torch.zeros(n, dtype=torch.long)),
        negatives,
        scorer or Dot(torch.randn(n, 3, generator=streams("q")), torch.randn(ITEMS, 3, generator=streams("t"))),
        loss=torch.arange(n).float(),
        penalty=torch.full((n,), 0.5),
        gradient=torch.ones(n) if gradient is None else gradient,
        step=step,
        rng=streams("meter", step),
    )


@pytest.mark.parametrize("form", FORMS)
def test_rates_equal_a_slow_loop(form):
    meter = Meter(TRAIN, HELD)
    observe(meter, draws(form))
    found = meter.summary()
    for name, value in by_hand(draws(form), list(range(B))).items():
        assert found[name] == pytest.approx(value, rel=1e-6), name
    assert 0 < found["false_negative_rate"] < 1


def test_loss_penalty_and_dead_rows_are_means_over_all_rows_of_all_steps():
    meter = Meter(TRAIN, HELD)
    observe(meter, draws("plain"), gradient=torch.tensor([0.049, -0.049, 0.051, -0.051, 0.0, 1.0]))
    observe(meter, draws("plain"), step=1)
    found = meter.summary()
    assert found["loss"] == pytest.approx(sum(range(B)) / B)
    assert found["penalty"] == 0.5
    assert found["dead_rows"] == pytest.approx(3 / (2 * B))


def test_a_limit_of_look_ups_takes_rows_evenly():
    meter = Meter(TRAIN, HELD, lookups=2 * K)
    observe(meter, draws("plain"))
    every_third = Negatives(draws("plain").item[::3])
    for name, value in by_hand(every_third, [0, 3]).items():
        assert meter.summary()[name] == pytest.approx(value), name


def rated(pick, *, weight=None, scorer_of=Dot) -> float:
    """The hardness of what ``pick`` takes out of 40 candidates a row, for 600 rows of a random model."""
    n, many = 600, 200
    train = Seen([0], [0], n_users=n, n_items=many)
    query, table = torch.randn(n, 8, generator=streams("q")), torch.randn(many, 8, generator=streams("t"))
    scorer = scorer_of(query, table)
    meter = Meter(train, None)
    candidates = torch.randint(many, (n, 40), generator=streams("candidates"))
    meter_item = candidates.gather(1, pick(scorer.score(candidates)))
    for step in range(0, 80, 8):
        observe(meter, Negatives(meter_item, weight=weight), scorer=scorer, step=step, user=torch.arange(n))
    return meter.summary()["hardness"]


def test_hardness_is_50_for_random_picks_and_near_100_for_the_hardest():
    assert rated(lambda score: torch.zeros(len(score), 1, dtype=torch.long)) == pytest.approx(50, abs=5)
    assert rated(lambda score: score.argmax(1, keepdim=True)) == pytest.approx(100 * 40 / 41, abs=1.5)
    assert rated(lambda score: score.argmin(1, keepdim=True)) == pytest.approx(100 / 41, abs=1.5)


def test_hardness_of_several_is_that_of_one_at_random_as_likely_as_it_counts():
    both = rated(lambda score: torch.stack([score.argmax(1), score.argmin(1)], dim=1))
    assert both == pytest.approx(50, abs=6)
    weight = torch.tensor([[1.0, 3.0]]).expand(600, 2)
    mostly_easy = rated(lambda score: torch.stack([score.argmax(1), score.argmin(1)], dim=1), weight=weight)
    assert mostly_easy == pytest.approx(25, abs=6)


def test_hardness_needs_no_scorer_that_narrows():
    def blind(query, table):
        return Function(Dot(query, table).score)

    hardest = rated(lambda score: score.argmax(1, keepdim=True))
    assert rated(lambda score: score.argmax(1, keepdim=True), scorer_of=blind) == pytest.approx(hardest, abs=1e-9)


def test_hardness_is_measured_on_some_steps_only():
    meter = Meter(TRAIN, HELD, every=3)
    observe(meter, draws("plain"), step=1)
    assert meter.summary()["hardness"] is None
    observe(meter, draws("plain"), step=3)
    assert 0 <= meter.summary()["hardness"] <= 100


@pytest.mark.parametrize("held", [None, Seen([], [], n_users=USERS, n_items=ITEMS, part="valid+test")])
def test_without_held_out_pairs_there_is_no_false_negative_rate(held):
    meter = Meter(TRAIN, held)
    observe(meter, draws("plain"))
    assert meter.summary()["false_negative_rate"] is None
    assert meter.summary()["popularity"] > 0


def test_nothing_kept_at_all_is_none_not_nan():
    meter = Meter(TRAIN, HELD)
    observe(meter, Negatives(draws("plain").item, keep=torch.zeros(B, K, dtype=torch.bool)))
    found = meter.summary()
    assert found["false_negative_rate"] is found["popularity"] is found["hardness"] is None
    assert found["coverage"] == 0


def test_sums_survive_a_round_trip_and_held_out_pairs_stay_out_of_it():
    meter, other = Meter(TRAIN, HELD), Meter(TRAIN, HELD)
    observe(meter, draws("weighted"))
    state = meter.state_dict()
    assert all(name == "covered" or name.startswith("sum_") for name in state)
    other.load_state_dict({name: value.clone() for name, value in state.items()})
    assert other.summary() == meter.summary()
    for one in (meter, other):
        observe(one, draws("shared"), step=8)
    assert other.summary() == meter.summary()
    meter.reset()
    assert meter.summary() == Meter(TRAIN, HELD).summary()


def test_sums_are_of_double_precision():
    item = next(one for one in draws("plain").item.split(1) if int(TRAIN.popularity()[one[0, :3]].sum()) % 3)[:, :3]
    meter = Meter(TRAIN, None)
    observe(meter, Negatives(item), user=torch.zeros(1, dtype=torch.long))
    assert float(meter.sum_popularity) == int(TRAIN.popularity()[item].sum()) / 3
