"""SASRec in two domains against a walk of merged lists and the padded grid of the authors, one row at a time."""

import pytest
import torch

from negsieve.errors import UsageError
from negsieve.histories import Aside, Histories
from negsieve.models.cross import noises
from negsieve.models.named import build_model, reads_aside
from negsieve.models.packing import states
from negsieve.models.sasrec_cdr import SASRecCDR
from negsieve.scorers import Crossed, HistoryEncoder, offered
from negsieve.types import Batch, Negatives

T = 6
USERS = 9


@pytest.fixture
def made(world, moved):
    """``made(told, **settings)``: a model whose every parameter matters."""

    def make(told=None, **settings):
        told = told or world()
        settings = {"dim": 8, "max_len": T, "heads": 2, "dropout": 0.0, "seed": 1, "windows": "all"} | settings
        return moved(SASRecCDR(USERS, 30, history=told.histories, aside=told.aside, **settings))

    return make


def rows_of(told, model):
    rows = model.groups().row
    return rows, Batch(told.user[rows], told.item[rows], rows)


def state(tower, padded, items, after, *, length, reference):
    if not items:
        return tower.encoder.last.bias
    return padded(tower, items, length=length, after=after, reference=reference)[length - after - 1]


def one_at_a_time(model, told, padded, cut, *, length=T, reference=False):
    """Both states and the fused query of every row, from grids that hold nothing but what came before."""
    found, pair = {}, model.pair
    many = torch.bincount(told.user, minlength=USERS).tolist()
    for row, (user, _, before, elsewhere) in enumerate(told.rows):
        if not before:
            continue
        whole = int(told.source.offset[user + 1] - told.source.offset[user])
        shape = {"length": length, "reference": reference}
        target = state(pair.target, padded, *cut(before, len(before), many[user] - 1, length=length), **shape)
        source = state(pair.source, padded, *cut(elsewhere, len(elsewhere), whole, length=length), **shape)
        hidden = torch.nn.functional.leaky_relu(
            model.fusion.join.weight @ torch.cat([source, target]) + model.fusion.join.bias, 0.01
        )
        found[row] = source, target, model.fusion.out.weight @ hidden + model.fusion.out.bias
    return found


@pytest.mark.parametrize("pads", ["masked", "reference"])
@pytest.mark.parametrize("length", [3, T, 200])
def test_every_row_equals_its_own_histories_encoded_alone(made, world, padded, cut, pads, length):
    told = world()
    model = made(told, pad_attention=pads, max_len=length)
    twin = one_at_a_time(model, told, padded, cut, length=length, reference=pads == "reference")
    rows, batch = rows_of(told, model)
    assert sorted(rows.tolist()) == sorted(twin)
    scorer = model.encode(batch)
    for side, name in enumerate(("source", "target", "query")):
        wanted = torch.stack([twin[row][side] for row in rows.tolist()])
        torch.testing.assert_close(getattr(scorer, name), wanted, atol=1e-5, rtol=1e-5)
    assert scorer.met.tolist() == [bool(told.rows[row][3]) for row in rows.tolist()]
    assert not scorer.met.all() and scorer.met.any()


def test_gradients_equal_those_of_the_grid(made, world, padded, cut):
    told = world()
    model = made(told)
    _, batch = rows_of(told, model)
    ours = torch.autograd.grad(model.encode(batch).query.pow(3).sum(), list(model.parameters()))
    twin = one_at_a_time(model, told, padded, cut)
    theirs = torch.autograd.grad(sum(one[2].pow(3).sum() for one in twin.values()), list(model.parameters()))
    for one, two in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one, two, atol=2e-3, rtol=1e-4)


def test_the_score_is_five_times_the_cosine_unless_told_otherwise(made, world):
    told = world()
    model = made(told)
    _, batch = rows_of(told, model)
    scorer = model.encode(batch)
    cosine = torch.nn.functional.cosine_similarity(scorer.query[:, None], model.pair.target.item[None], dim=-1)
    torch.testing.assert_close(scorer.all(), 5 * cosine)
    dot = made(told, similarity="dot", scale=1.0).encode(batch)
    torch.testing.assert_close(dot.all(), scorer.query @ model.pair.target.item.T)
    assert offered(scorer) == {"vectors", "domains"} and "dot" in offered(dot)


def test_other_target_states_are_fused_with_the_same_source_states(made, world):
    told = world()
    model = made(told)
    _, batch = rows_of(told, model)
    frozen = model.frozen()(batch)
    assert isinstance(frozen, Crossed) and not frozen.query.requires_grad
    other = torch.randn(len(batch), 8, generator=torch.Generator().manual_seed(0))
    moved = frozen.crossed(other)
    assert not moved.query.requires_grad  # also outside of no_grad
    torch.testing.assert_close(moved.query, model.fusion(frozen.source, other))
    assert torch.equal(frozen.crossed(frozen.target).query, frozen.query)
    assert model.encode(batch).crossed(other).query.requires_grad


@pytest.mark.parametrize("kind", ["change", "change_source"])
def test_a_later_row_of_either_domain_changes_nothing_earlier(made, world, kind):
    told = world()
    rows, batch = rows_of(told, made(told))
    at = 45 if kind == "change" else 40
    other = world(**{kind: at})
    before, after = (made(one).encode(Batch(batch.user, one.item[rows], rows)) for one in (told, other))
    changed = (before.query != after.query).any(1)
    assert changed.any() and not changed.all()
    if kind == "change":
        assert (rows[changed] > at).all() and (told.user[rows[changed]] == told.user[at]).all()
    else:
        assert (told.before[rows[changed]] >= at).all()


@pytest.mark.parametrize("noise", [None, 12345])
def test_a_row_does_not_depend_on_what_else_is_in_the_batch(made, world, noise):
    told = world()
    model = made(told, dropout=0.4)
    rows, batch = rows_of(told, model)
    whole = model.encode(Batch(batch.user, batch.item, rows, noise=noise)).query
    for some in (torch.arange(3), torch.arange(len(rows) - 1, -1, -2), torch.tensor([4, 4, 0])):
        mine = Batch(batch.user[some], batch.item[some], rows[some], noise=noise)
        torch.testing.assert_close(model.encode(mine).query, whole[some], atol=1e-6, rtol=1e-5)


def test_dropout_is_a_function_of_its_key_and_another_one_in_each_domain(made, world):
    told = world()
    model = made(told, dropout=0.4)
    rows, batch = rows_of(told, model)
    keyed = [model.encode(Batch(batch.user, batch.item, rows, noise=key)) for key in (1, 1, 2)]
    assert torch.equal(keyed[0].query, keyed[1].query) and not torch.allclose(keyed[0].source, keyed[2].source)
    silent = model.encode(batch)
    frozen = model.frozen()(Batch(batch.user, batch.item, rows, noise=1))  # without a gradient: by a kernel
    torch.testing.assert_close(silent.query, frozen.query, atol=1e-6, rtol=1e-5)
    asked = model.pair.asked(batch)
    sides = [states(model.pair.target.encoder, model.pair.target.item, asked.target, key) for key in noises(9)]
    assert not torch.allclose(*sides)


def test_a_user_is_judged_by_all_that_stands_before_what_is_judged(made, world, padded):
    told = world()
    model = made(told)
    users = torch.arange(USERS)
    scorer = model.frozen()(Batch(users))
    for user in range(USERS):
        mine = [row[1] for row in told.rows if row[0] == user][-T:]
        wanted = padded(model.pair.target, mine, length=T)[-1] if mine else model.pair.target.encoder.last.bias
        torch.testing.assert_close(scorer.target[user], wanted, atol=1e-5, rtol=1e-5)
        first, last = told.source.offset[user : user + 2].tolist()
        known = told.source.item[first:last].tolist()[-T:]
        wanted = padded(model.pair.source, known, length=T)[-1] if known else model.pair.source.encoder.last.bias
        torch.testing.assert_close(scorer.source[user], wanted, atol=1e-5, rtol=1e-5)
        assert bool(scorer.met[user]) == bool(known)
    longer = Histories(torch.cat([told.user, users]), torch.cat([told.item, users]), n_users=USERS, part="train+valid")
    earlier = Aside(told.source, before=told.before, last=told.source.offset[:-1] - (told.last < 0).long(), n_items=20)
    reader = model.frozen().reading(longer, earlier)
    assert isinstance(reader, HistoryEncoder)
    scorer = reader(Batch(users))
    torch.testing.assert_close(scorer.target[0], padded(model.pair.target, [0], length=T)[-1], atol=1e-5, rtol=1e-5)
    first = told.source.item[:1].tolist()
    torch.testing.assert_close(scorer.source[0], padded(model.pair.source, first, length=T)[-1], atol=1e-5, rtol=1e-5)
    assert torch.equal(reader.towers()(Batch(users)).all(), scorer.all())


def test_no_row_stands_before_nothing(made, world):
    told = world()
    model = made(told)
    user = torch.arange(USERS)
    last = torch.full((USERS,), -1)
    last[told.user] = torch.arange(len(told.user))
    scorer = model.frozen()(Batch(user, row=last))
    prior = model.encode(Batch(user[2:], told.item[last[2:]], last[2:]))
    torch.testing.assert_close(scorer.query[2:], prior.query)
    for lone in (0, 1):  # no row, and a row with nothing before it
        assert torch.equal(scorer.target[lone], model.pair.target.encoder.last.bias)
    assert torch.equal(scorer.source[0], model.pair.source.encoder.last.bias) and not scorer.met[0]


def test_a_world_without_source_rows_still_has_states(made, world):
    told = world()
    none = Histories(torch.empty(0, dtype=torch.long), torch.empty(0, dtype=torch.long), n_users=USERS)
    told.aside = lambda order: Aside(
        none, before=torch.full_like(told.before, -1), last=torch.full_like(told.last, -1), n_items=20
    )
    model = made(told)
    _, batch = rows_of(told, model)
    for scorer in (model.encode(batch), model.frozen()(Batch(torch.arange(USERS)))):
        assert not scorer.met.any() and (scorer.source == model.pair.source.encoder.last.bias).all()


def test_the_last_window_alone_is_the_default(world):
    told = world()
    shape = {"dim": 8, "max_len": T}
    model = SASRecCDR(USERS, 30, history=told.histories, aside=told.aside, **shape)
    assert len(model.groups().row) == sum(min(T, n - 1) for n in (2, 3, 7, 6, 16, 20, 13))


@pytest.mark.parametrize(("target", "source"), [(37868, 11735), (11735, 37868)])
def test_weights_are_3_3_million_on_toy_and_game(target, source):
    row = torch.tensor([0])
    aside = Aside(Histories(row, row, n_users=1), before=row - 1, last=row, n_items=source)
    model = SASRecCDR(1, target, history=lambda order: Histories(row, row, n_users=1), aside=lambda order: aside)
    assert (
        sum(value.numel() for value in model.parameters()) == 49_603 * 64 + 2 * 200 * 64 + 4 * 25_216 + 2 * 128 + 12_416
    )


def test_the_penalty_is_that_of_the_scored_items_where_asked_for(made, world):
    told = world()
    rows, drawn = torch.tensor([1, 5]), Negatives(torch.tensor([[3, 4], [0, 0]]))
    batch = Batch(told.user[rows], told.item[rows], rows)
    assert made(told).penalty(batch, drawn).tolist() == [0, 0]
    model = made(told, penalty="items")
    square = model.pair.target.item.square().sum(1)
    torch.testing.assert_close(model.penalty(batch, drawn), (square[batch.item] + square[drawn.item].mean(1)) / 2)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"overlap": T}, "overlap=6, wanted less than max_len=6"),
        ({"windows": "some"}, "windows='some', wanted 'all' or 'last'"),
        ({"pad_attention": "none"}, "pad_attention='none'"),
        ({"penalty": "all"}, "penalty='all'"),
        ({"similarity": "l2"}, "similarity='l2'"),
    ],
)
def test_bad_arguments_are_named(made, settings, said):
    with pytest.raises(UsageError, match=said):
        made(**settings)


def test_what_it_may_not_be_given_is_refused(made, world):
    told = world()
    with pytest.raises(UsageError, match=r"Batch\.row .* or Batch\.history"):
        made(told).encode(Batch(told.user[:2], told.item[:2]))
    held = Histories(told.user, told.item, n_users=USERS, part="train+test")
    with pytest.raises(UsageError, match=r"found histories of train\+test"):
        SASRecCDR(USERS, 30, history=lambda order: held, aside=told.aside)
    with pytest.raises(UsageError, match="--target and --source"):
        build_model("sasrec_cdr", n_users=2, n_items=3, train=None, history=told.histories, seed=0)
    assert reads_aside("sasrec_cdr:dim=8") and not reads_aside("sasrec")
