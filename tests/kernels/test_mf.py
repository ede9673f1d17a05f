"""Steps of matrix factorisation: the same as autograd and torch's optimisers, as their twin, for any thread count."""

import pytest
import torch

from negsieve.errors import ConfigError, NonFiniteLoss, UsageError
from negsieve.kernels import native
from negsieve.kernels.hardest import highest
from negsieve.kernels.losses import PairLoss
from negsieve.kernels.mf import mf_step, mf_step_reference, mf_steps, mf_steps_reference
from negsieve.kernels.rows import RULES, RowMemory, Rule, catch_up, catch_up_reference, settle
from negsieve.kernels.score import score_candidates
from negsieve.losses import listwise, pairwise
from negsieve.models.base import row_penalty
from negsieve.rng import streams
from negsieve.types import Batch, Negatives

compiled = pytest.mark.skipif(native.module() is None, reason="no compiled kernels here")

LOSSES = {
    "bpr": (PairLoss("bpr"), pairwise.bpr),
    "soft_bpr": (PairLoss("soft_bpr", beta=0.1), pairwise.soft_bpr),
    "bce": (PairLoss("bce"), pairwise.bce),
    "hinge": (PairLoss("hinge"), pairwise.hinge),
    "softmax": (PairLoss("softmax"), listwise.softmax),
}
RATES = {"sgd": 0.5, "adagrad": 0.05, "rowwise_adagrad": 0.05, "sparse_adam": 0.01, "adam": 0.01}


def tables(width: int, *, n_users: int = 60, n_items: int = 90, std: float = 0.3):
    rng = streams("init", width)
    return [torch.randn(n, width, generator=rng) * std for n in (n_users, n_items)]


def batch(step: int, *, rows: int = 40, many: int = 2, n_users: int = 60, n_items: int = 90):
    """Few of the rows, some of them often: ids crowd at the low end."""
    rng = streams("batch", step, rows, many)
    user, item, negative = (
        (torch.rand(shape, generator=rng).pow(3) * n).long()
        for shape, n in (((rows,), n_users), ((rows,), n_items), ((rows, many), n_items))
    )
    return {"user": user, "item": item, "negative": negative}


def given(step: int, shape):
    rng = streams("given", step)
    keep = torch.rand(shape, generator=rng) < 0.7
    keep[::7] = False
    return {"weight": torch.rand(shape, generator=rng), "keep": keep}


def autograd(optimiser, users, items, drawn, function, *, l2, weight=None, keep=None):
    negatives = Negatives(drawn["negative"], weight=weight, keep=keep)
    positive = (users[drawn["user"]] * items[drawn["item"]]).sum(1)
    positive.retain_grad()
    rated = (users[drawn["user"]][:, None] * items[drawn["negative"]]).sum(2)
    loss = function(positive, rated, negatives)
    penalty = row_penalty(users, items, Batch(drawn["user"], drawn["item"]), negatives)
    optimiser.zero_grad()
    (loss.mean() + l2 * penalty.mean()).backward()
    optimiser.step()
    return positive.detach(), rated.detach(), loss.detach(), penalty.detach(), positive.grad * len(positive)


def optimiser(rule: str, parameters, lr: float):
    kinds = {"sgd": torch.optim.SGD, "adagrad": torch.optim.Adagrad, "adam": torch.optim.Adam}
    return kinds[rule](parameters, lr=lr)


def close(found, wanted, *, rel: float) -> None:
    """Within ``rel`` of the wanted table's size."""
    scale = float(wanted.abs().max())
    assert float((found.double() - wanted.double()).abs().max()) <= rel * scale


@pytest.mark.parametrize("step", [mf_step, mf_step_reference])
@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("rule", ["sgd", "adagrad", "adam"])
def test_steps_are_those_of_autograd_and_torchs_optimiser(rule, name, step):
    loss, function = LOSSES[name]
    users, items = tables(33)
    wide = [one.double().requires_grad_() for one in (users, items)]
    torchs = optimiser(rule, wide, RATES[rule])
    memory = RowMemory(users, items, rule=Rule(rule))
    for at in range(12):
        drawn = batch(at)
        rest = given(at, (40, 2)) if at % 2 else {}
        double = {key: one.double() if one.is_floating_point() else one for key, one in rest.items()}
        wanted = autograd(torchs, *wide, drawn, function, l2=0.02, **double)
        found = step(users, items, **drawn, memory=memory, loss=loss, lr=RATES[rule], l2=0.02, **rest)
        for one, other in zip(found[1:], wanted, strict=True):
            torch.testing.assert_close(one.double(), other, rtol=2e-5, atol=2e-5)
    settle(users, items, memory=memory)
    for one, other in zip((users, items), wide, strict=True):
        close(one, other.detach(), rel=2e-5)


@compiled
@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("width", [1, 3, 32, 64, 65, 100])
def test_the_kernel_is_its_twin(rule, width):
    tabled = [tables(width) for _ in range(2)]
    memories = [RowMemory(*one, rule=Rule(rule)) for one in tabled]
    for at in range(8):
        drawn = batch(at, rows=(0, 1, 40, 100)[at % 4], many=1 + at % 3)
        rest = given(at, drawn["negative"].shape) if at % 2 else {}
        reports = [
            step(*one, **drawn, memory=memory, loss=PairLoss("softmax"), lr=RATES[rule], l2=0.1, **rest)
            for step, one, memory in zip((mf_step, mf_step_reference), tabled, memories, strict=True)
        ]
        for one, other in zip(*reports, strict=True):
            torch.testing.assert_close(one, other, rtol=2e-5, atol=2e-5)
    for one, memory in zip(tabled, memories, strict=True):
        settle(*one, memory=memory)
    for one, other in zip(*tabled, strict=True):
        close(one, other, rel=1e-5)
    for name, one in memories[0].tensors().items():
        torch.testing.assert_close(one, memories[1].tensors()[name], rtol=2e-3, atol=2e-7)


@compiled
@pytest.mark.parametrize("rule", RULES)
def test_the_bits_are_those_of_one_thread(rule, monkeypatch):
    found = []
    for threads in (1, 2, 3, 4):
        monkeypatch.setattr(native, "threads", lambda many=threads: many)
        users, items = tables(64, n_users=500, n_items=700)
        memory = RowMemory(users, items, rule=Rule(rule))
        for at in range(4):
            drawn = batch(at, rows=1001, n_users=500, n_items=700)
            report = mf_step(users, items, **drawn, memory=memory, loss=PairLoss("bpr"), lr=RATES[rule], l2=0.01)
        found.append((users, items, *report, *memory.tensors().values()))
    for other in found[1:]:
        assert all(torch.equal(one, two) for one, two in zip(found[0], other, strict=True))


def lazily(kind, *, steps: int, eps: float = 1e-8, std: float = 0.3, rows: int = 30):
    """Tables after steps that touch few rows each, by lazy Adam, by dense Adam, and by that in double precision."""
    size = {"n_users": 400, "n_items": 600}
    users, items = tables(16, std=std, **size)
    dense = [torch.nn.Parameter(one.clone()) for one in (users, items)]
    exact = [torch.nn.Parameter(one.double()) for one in (users, items)]
    optimisers = [torch.optim.Adam(one, lr=1.0, eps=eps) for one in (dense, exact)]
    memory = RowMemory(users, items, rule=Rule("adam", eps=eps))
    for at in range(steps):
        lr = 1e-3 * 0.9 ** (at // 50)
        drawn = batch(at, rows=rows, many=1, **size)
        for own, parameters in zip(optimisers, (dense, exact), strict=True):
            own.param_groups[0]["lr"] = lr
            autograd(own, *parameters, drawn, pairwise.bpr, l2=1e-3)
        kind(users, items, **drawn, memory=memory, loss=PairLoss("bpr"), lr=lr, l2=1e-3)
    settle(users, items, memory=memory)
    return [users, items], [one.detach() for one in dense], [one.detach() for one in exact]


@compiled
@pytest.mark.parametrize(("eps", "std"), [(1e-8, 0.3), (1e-3, 0.3), (1e-4, 0.01)])
def test_lazy_adam_has_the_numbers_of_dense_adam(eps, std):
    lazy, dense, exact = lazily(mf_step, steps=300, eps=eps, std=std)
    for one, other, truth in zip(lazy, dense, exact, strict=True):
        error, torchs = (float((found.double() - truth).norm() / truth.norm()) for found in (one, other))
        assert error <= 1e-6
        assert error <= torchs  # nearer to the truth than torch is in the same precision
        close(one, truth, rel=3e-6)


@compiled
def test_lazy_adam_needs_no_luck_in_when_rows_are_read():
    drawn = [batch(at, rows=20, many=1) for at in range(60)]
    found = []
    for often in (1, 7, 100):
        users, items = tables(33)
        memory = RowMemory(users, items, rule=Rule("adam"))
        for at, one in enumerate(drawn):
            if at % often == 0:
                catch_up(items, memory=memory, side="item")
                catch_up(users, torch.tensor([3, 3, 59, 1]), memory=memory, side="user")
            mf_step(users, items, **one, memory=memory, loss=PairLoss("bpr"), lr=0.01)
        settle(users, items, memory=memory)
        found.append((users, items))
    for other in found[1:]:
        for one, two in zip(found[0], other, strict=True):
            close(two, one, rel=1e-6)


@compiled
@pytest.mark.parametrize("since", [1, 5, 40, 300])
@pytest.mark.parametrize("gap", [1, 2, 30, 196, 197, 198, 1000])
def test_a_row_catches_up_as_step_by_step(since, gap):
    users, items = tables(65)
    memory = RowMemory(users, items, rule=Rule("adam"))
    for at in range(since + gap):
        memory.advance(0.01 / (1 + at // 25))
    rng = streams("state")
    memory.mean["user"].normal_(generator=rng).mul_(1e-4)
    memory.square["user"].copy_(memory.mean["user"].square() * (0.2 + torch.rand(60, 65, generator=rng)))
    memory.clock["user"][::2] = since
    copies = users.clone(), {name: one.clone() for name, one in memory.tensors().items()}, memory.numbers()
    other = RowMemory(users, items, rule=Rule("adam"))
    other.load(*copies[1:])
    catch_up(users, memory=memory, side="user")
    catch_up_reference(copies[0], memory=other, side="user")
    close(users, copies[0], rel=3e-7)
    for name, one in memory.tensors().items():
        torch.testing.assert_close(one, other.tensors()[name], rtol=1e-6, atol=1e-16)
    assert torch.equal(memory.clock["user"][::2], torch.full((30,), since + gap, dtype=torch.int32))


@compiled
def test_no_step_without_a_finite_loss():
    for rule in RULES:
        users, items = tables(32)
        memory = RowMemory(users, items, rule=Rule(rule))
        step = {"memory": memory, "loss": PairLoss("bpr"), "lr": 0.1}
        mf_step(users, items, **batch(0), **step)
        before = [one.clone() for one in (users, items, *memory.tensors().values())]
        broken = items.clone()
        broken[0] = torch.inf
        drawn = batch(0)
        drawn["item"][7] = 0
        with pytest.raises(NonFiniteLoss, match="first bad tensor is the score of the positive") as caught:
            mf_step(users, broken, **drawn, **step)
        assert not caught.value.report.positive[7].isfinite()
        after = (users, items, *memory.tensors().values())
        assert memory.step == 1
        assert all(torch.equal(one, other) for one, other in zip(before, after, strict=True))
        mf_step(users, items, **batch(0), **step)  # nothing of the refused step is left behind
        assert memory.step == 2


@compiled
@pytest.mark.parametrize("name", ["user", "item", "negative"])
@pytest.mark.parametrize("bad", [-1, 90, 2**40])
@pytest.mark.parametrize("step", [mf_step, mf_step_reference])
def test_ids_outside_the_tables_raise(name, bad, step):
    users, items = tables(8)
    drawn = batch(0)
    drawn[name].view(-1)[5] = bad
    with pytest.raises(IndexError, match=f"{name}|{bad}"):
        step(users, items, **drawn, memory=RowMemory(users, items, rule=Rule("sgd")), loss=PairLoss("bpr"), lr=0.1)
    with pytest.raises(IndexError):
        catch_up(users, torch.tensor([bad]), memory=RowMemory(users, items, rule=Rule("adam")), side="user")


@compiled
@pytest.mark.parametrize("rule", RULES)
def test_memory_that_was_put_back_goes_on_bit_for_bit(rule):
    users, items = tables(32)
    memory = RowMemory(users, items, rule=Rule(rule))
    for at in range(30):
        if at == 20:
            copies = [one.clone() for one in (users, items)]
            tensors, numbers = {name: one.clone() for name, one in memory.tensors().items()}, memory.numbers()
        mf_step(users, items, **batch(at), memory=memory, loss=PairLoss("bpr"), lr=0.01 / (1 + at // 9))
    again = RowMemory(*copies, rule=Rule(rule))
    again.load(tensors, numbers)
    for at in range(20, 30):
        mf_step(*copies, **batch(at), memory=again, loss=PairLoss("bpr"), lr=0.01 / (1 + at // 9))
    assert all(torch.equal(one, other) for one, other in zip((users, items), copies, strict=True))
    assert memory.numbers() == again.numbers()
    with pytest.raises(ConfigError, match="another optimiser's"):
        again.load(tensors, numbers | {"rule": "adamw"})


def block(sizes=(40, 1, 0, 33), *, candidates: int = 6):
    """Steps of unlike size, as ``mf_steps`` takes them."""
    drawn = batch(0, rows=sum(sizes), many=candidates)
    bound = torch.tensor([0, *sizes]).cumsum(0)
    return {"user": drawn["user"], "item": drawn["item"], "candidate": drawn["negative"], "bound": bound}


@compiled
@pytest.mark.parametrize("m", [None, 1, 3, 6])
@pytest.mark.parametrize("rule", RULES)
def test_many_steps_have_the_bits_of_one_after_the_other(rule, m, monkeypatch):
    steps = block()
    rest = given(1, (74, m or 6))
    users, items = tables(64)
    memory = RowMemory(users, items, rule=Rule(rule))
    how = {"loss": PairLoss("bpr"), "lr": RATES[rule], "l2": 0.1}
    told = []
    for first, last in zip(steps["bound"], steps["bound"][1:], strict=False):
        user, item, negative = (steps[name][first:last] for name in ("user", "item", "candidate"))
        if m is not None:
            catch_up(users, user, memory=memory, side="user")
            catch_up(items, negative.flatten(), memory=memory, side="item")
            negative = negative.gather(1, highest(score_candidates(users[user], items, item=negative), m))
        one = {name: value[first:last] for name, value in rest.items()}
        told.append(mf_step(users, items, user=user, item=item, negative=negative, memory=memory, **how, **one))
    for threads in (1, 2, 4):
        monkeypatch.setattr(native, "threads", lambda many=threads: many)
        again = tables(64)
        other = RowMemory(*again, rule=Rule(rule))
        report, done = mf_steps(*again, **steps, m=m, memory=other, **how, **rest)
        assert done == 4
        for name, one in report._asdict().items():
            assert torch.equal(one, torch.cat([getattr(part, name) for part in told]))
        for one, two in zip(
            (users, items, *memory.tensors().values()), (*again, *other.tensors().values()), strict=True
        ):
            assert torch.equal(one, two)
        assert memory.numbers() == other.numbers()


@compiled
@pytest.mark.parametrize("m", [None, 2])
@pytest.mark.parametrize("rule", RULES)
def test_many_steps_are_their_twin(rule, m):
    found = []
    for kind in (mf_steps, mf_steps_reference):
        users, items = tables(33)
        memory = RowMemory(users, items, rule=Rule(rule))
        report, done = kind(
            users, items, **block(), m=m, memory=memory, loss=PairLoss("softmax"), lr=RATES[rule], l2=0.1
        )
        settle(users, items, memory=memory)
        assert done == memory.step == 4
        found.append((*report, users, items))
    assert torch.equal(found[0][0], found[1][0])
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, rtol=2e-5, atol=2e-5)


@pytest.mark.parametrize("kind", [mf_steps, mf_steps_reference])
def test_a_block_stops_before_its_first_bad_step(kind):
    users, items = tables(32)
    steps = block((40, 30, 20), candidates=1)
    at = int(torch.arange(40, 70)[(steps["item"][40:70] > 60)][0])
    lost = int(steps["item"][at])
    steps["item"][:40].masked_fill_(steps["item"][:40] == lost, 0)
    steps["candidate"][:40].masked_fill_(steps["candidate"][:40] == lost, 0)
    items[lost] = torch.inf
    before = users.clone()
    memory = RowMemory(users, items, rule=Rule("sgd"))
    report, done = kind(users, items, **steps, m=None, memory=memory, loss=PairLoss("bpr"), lr=0.1)
    assert done == memory.step == 1
    assert not report.positive[at].isfinite()
    assert report.loss[:40].isfinite().all()
    moved = (users != before).any(1).nonzero().flatten()
    assert set(moved.tolist()) <= set(steps["user"][:40].tolist())
    for m, named in ((7, "7 hardest"), (0, "0 hardest")):
        with pytest.raises(UsageError, match=named):
            kind(users, items, **block(), m=m, memory=memory, loss=PairLoss("bpr"), lr=0.1)


@compiled
def test_a_block_that_does_not_fit_is_refused():
    users, items = tables(32)
    how = {"memory": RowMemory(users, items, rule=Rule("sgd")), "loss": PairLoss("bpr"), "lr": 0.1, "m": 2}
    for bound in ([0, 40], [0, 50, 40, 74], [1, 74]):
        with pytest.raises(ValueError, match="bound must"):
            mf_steps(users, items, **block() | {"bound": torch.tensor(bound)}, **how)
    bad = block()
    bad["candidate"][70, 3] = 90
    with pytest.raises(IndexError, match="candidate 90"):
        mf_steps(users, items, **bad, **how)
    with pytest.raises(ValueError, match="same rows"):
        mf_steps(users, items, **block() | {"user": torch.zeros(3).long()}, **how)
    with pytest.raises(ValueError, match="made for other tables"):
        mf_step(*tables(32, n_users=61), **batch(0), **{name: how[name] for name in ("memory", "loss", "lr")})


def test_what_makes_no_rule_or_step_is_refused():
    users, items = tables(4)
    with pytest.raises(UsageError, match="wanted one of sgd"):
        Rule("adamw")
    with pytest.raises(UsageError, match="betas"):
        Rule("adam", betas=(0.99, 0.9))
    nothing = batch(0) | {"negative": torch.zeros(40, 0).long()}
    with pytest.raises(UsageError, match="no negatives"):
        mf_step(users, items, **nothing, memory=RowMemory(users, items, rule=Rule("sgd")), loss=PairLoss("bpr"), lr=1)


@compiled
@pytest.mark.parametrize("m", [None, 1, 2])
@pytest.mark.parametrize("width", [1, 33, 64])
def test_steps_of_one_row_are_their_twin_and_those_of_mf_step(width, m):
    """Crowded ids, so that most rows touch what a neighbour has just moved, and some hold an item twice."""
    rows = block((300,), candidates=3) | {"bound": None}
    rest = given(1, (300, m or 3))
    found = []
    for kind in (mf_steps, mf_steps_reference):
        users, items = tables(width)
        memory = RowMemory(users, items, rule=Rule("sgd"))
        how = {"memory": memory, "loss": PairLoss("bpr"), "lr": 0.1, "l2": 0.1}
        report, done = kind(users, items, **rows, m=m, **how, **rest)
        assert done == memory.step == 300
        found.append((*report, users, items))
    assert torch.equal(found[0][0], found[1][0])
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, rtol=2e-5, atol=2e-5)
    users, items = tables(width)
    memory = RowMemory(users, items, rule=Rule("sgd"))
    mf_steps(users, items, **rows | {"bound": torch.arange(301)}, m=m, **how | {"memory": memory}, **rest)
    torch.testing.assert_close((users, items), found[0][-2:], rtol=2e-5, atol=2e-5)


@compiled
def test_steps_of_one_row_do_not_depend_on_how_a_call_is_cut(monkeypatch):
    rows = block((200,), candidates=4) | {"bound": None}
    found = []
    for cuts, threads in (([200], 1), ([200], 4), ([64, 3, 133], 2)):
        monkeypatch.setattr(native, "threads", lambda many=threads: many)
        users, items = tables(64)
        memory = RowMemory(users, items, rule=Rule("sgd"))
        first = 0
        for many in cuts:
            part = {name: one if one is None else one[first : first + many] for name, one in rows.items()}
            mf_steps(users, items, **part, m=1, memory=memory, loss=PairLoss("bpr"), lr=0.1, l2=0.1)
            first += many
        found.append((users, items))
    assert all(torch.equal(*pair) for other in found[1:] for pair in zip(found[0], other, strict=True))


@pytest.mark.parametrize("kind", [mf_steps, mf_steps_reference])
def test_steps_of_one_row_stop_before_the_first_bad_one(kind):
    users, items = tables(32)
    rows = block((40,), candidates=1) | {"bound": None}
    rows["item"][25] = 80
    rows["item"][:25].clamp_max_(79)
    rows["candidate"][:25].clamp_max_(79)
    items[80] = torch.inf
    memory = RowMemory(users, items, rule=Rule("sgd"))
    report, done = kind(users, items, **rows, m=None, memory=memory, loss=PairLoss("bpr"), lr=0.1)
    assert done == memory.step == 25
    assert report.loss[:25].isfinite().all() and not report.positive[25].isfinite()
    adam = RowMemory(users, items, rule=Rule("adam"))
    with pytest.raises(UsageError, match="only sgd"):
        mf_steps(users, items, **rows, m=None, memory=adam, loss=PairLoss("bpr"), lr=0.1)
