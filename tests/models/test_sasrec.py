"""SASRec against the authors' padded grid, written without any of its parts, one target at a time."""

import math

import pytest
import torch

from negsieve.errors import DataError, UsageError
from negsieve.histories import Histories
from negsieve.models.named import build_model
from negsieve.models.sasrec import SASRec
from negsieve.scorers import HistoryEncoder, Towers
from negsieve.types import Batch, Negatives

N_USERS, N_ITEMS, T = 9, 30, 6
LENGTHS = (0, 1, 2, 3, 7, 6, 16, 20, 13)


def rows_of(lengths=LENGTHS, seed=0):
    rng = torch.Generator().manual_seed(seed)
    user = torch.repeat_interleave(torch.arange(len(lengths)), torch.tensor(lengths))
    user = user[torch.randperm(len(user), generator=rng)]
    return user, torch.randint(N_ITEMS, (len(user),), generator=rng)


USER, ITEM = rows_of()


def made(user=USER, item=ITEM, **settings):
    """A model whose every parameter matters: norms and biases are no longer what they start as."""
    settings = {"dim": 8, "max_len": T, "heads": 2, "dropout": 0.0, "seed": 1} | settings
    model = SASRec(N_USERS, N_ITEMS, history=lambda order: Histories(user, item, n_users=N_USERS), **settings)
    rng = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for value in model.parameters():
            value += 0.3 * torch.randn(value.shape, generator=rng)
    return model


def grid(model, items, *, at=None, length=T, reference=False):
    """The padded computation of one sequence: items right-aligned in ``length`` places, a state a place ``[T, D]``.

    at  the sequence's length for the sake of places and pads, where ``items`` are only its first ones
    """
    pads = length - (len(items) if at is None else at)
    item = torch.full((length,), -1)
    item[pads : pads + len(items)] = torch.as_tensor(items, dtype=torch.long)
    real, encoder, dim = (item >= 0)[:, None], model.encoder, model.dim
    x = (math.sqrt(dim) * model.item[item.clamp_min(0)] + encoder.place) * real
    hidden = torch.ones(length, length).triu(1).bool()
    if not reference:
        hidden = hidden | ~real.T
        hidden = hidden & ~torch.eye(length).bool()  # a softmax over nothing would be NaN
    for block in encoder.blocks:
        weight, bias = block.project.weight, block.project.bias
        q = norm(x, block.norm)
        sides = [q @ weight[:dim].T, x @ weight[dim : 2 * dim].T, x @ weight[2 * dim :].T]
        sides = [side + bias[i * dim : (i + 1) * dim] for i, side in enumerate(sides)]
        heads = []
        for head in range(block.heads):
            own = slice(head * dim // block.heads, (head + 1) * dim // block.heads)
            rate = (sides[0][:, own] @ sides[1][:, own].T) / math.sqrt(dim / block.heads)
            heads.append(rate.masked_fill(hidden, -torch.inf).softmax(1) @ sides[2][:, own])
        o = torch.cat(heads, 1) @ block.merge.weight.T + block.merge.bias
        x = norm(q + o, block.middle)
        inner = (x @ block.widen.weight.T + block.widen.bias).clamp_min(0)
        x = (x + inner @ block.narrow.weight.T + block.narrow.bias) * real
    return norm(x, encoder.last)


def norm(x, layer):
    centred = x - x.mean(-1, keepdim=True)
    return centred / (centred.square().mean(-1, keepdim=True) + 1e-8).sqrt() * layer.weight + layer.bias


def one_at_a_time(model, *, reference=False):
    """Every target's query from a grid of its own, holding nothing but what came before: ``row -> [D]``."""
    found, histories, windows = {}, model.histories, model.windows
    for row in range(len(USER)):
        place = int(histories.place[row])
        window = int(windows.of[place])
        if window >= 0:
            first, many = int(windows.first[window]), int(windows.many[window])
            items = histories.item[first:place]
            at = T - many + len(items) - 1
            found[row] = grid(model, items, at=many, reference=reference)[at]
    return found


@pytest.mark.parametrize("pads", ["masked", "reference"])
@pytest.mark.parametrize("settings", [{}, {"overlap": 2}, {"windows": "last"}, {"heads": 1, "blocks": 1}])
def test_every_position_equals_one_target_at_a_time(pads, settings):
    model = made(pad_attention=pads, **settings)
    twin = one_at_a_time(model, reference=pads == "reference")
    rows = model.groups().row
    assert sorted(twin) == sorted(rows.tolist())
    query = model.encode(Batch(USER[rows], ITEM[rows], rows)).query
    torch.testing.assert_close(query, torch.stack([twin[row] for row in rows.tolist()]), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("pads", ["masked", "reference"])
def test_gradients_equal_those_of_the_grid(pads):
    model = made(pad_attention=pads)
    rows = model.groups().row
    ours = torch.autograd.grad(model.encode(Batch(USER[rows], ITEM[rows], rows)).query.pow(3).sum(), all_of(model))
    twin = one_at_a_time(model, reference=pads == "reference")
    theirs = torch.autograd.grad(sum(one.pow(3).sum() for one in twin.values()), all_of(model))
    for one, two in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one, two, atol=2e-3, rtol=1e-4)


def all_of(model):
    return list(model.parameters())


@pytest.mark.parametrize("pads", ["masked", "reference"])
@pytest.mark.parametrize("length", [1, 2, 57, 199, 200, 230])
def test_reference_equals_the_computation_200_wide(pads, length):
    model = made(max_len=200, pad_attention=pads)
    items = torch.arange(length) * 7 % N_ITEMS
    query = model.encode(Batch(torch.tensor([0]), history=items[None])).query[0]
    twin = grid(model, items[-200:], length=200, reference=pads == "reference")[-1]
    torch.testing.assert_close(query, twin, atol=1e-5, rtol=1e-5)


def test_the_two_kinds_of_padding_differ_except_in_a_full_window():
    one, two = made(), made(pad_attention="reference")
    for length, same in ((3, False), (T, True)):
        history = torch.arange(length)[None]
        queries = [model.encode(Batch(torch.tensor([0]), history=history)).query for model in (one, two)]
        assert torch.allclose(*queries, atol=1e-6) is same


def test_a_later_item_never_changes_an_earlier_position():
    model = made()
    changed = ITEM.clone()
    last = model.histories.row[model.histories.offset[7:8] - 0 + 9]  # the tenth of user 7's twenty rows
    changed[last] = (ITEM[last] + 1) % N_ITEMS
    other = made(item=changed)
    rows = model.groups().row
    before, after = (one.encode(Batch(USER[rows], ITEM[rows], rows)).query for one in (model, other))
    place = model.histories.place
    moved = (before != after).any(1)
    assert moved.any() and (USER[rows][moved] == 7).all()
    assert (place[rows][moved] > place[last]).all()


@pytest.mark.parametrize("noise", [None, 12345])
def test_a_row_does_not_depend_on_what_else_is_in_the_batch(noise):
    model = made(dropout=0.4)
    rows = model.groups().row
    whole = model.encode(Batch(USER[rows], ITEM[rows], rows, noise=noise)).query
    for some in (torch.arange(3), torch.arange(len(rows) - 1, -1, -2), torch.tensor([4, 4, 0])):
        part = model.encode(Batch(USER[rows[some]], ITEM[rows[some]], rows[some], noise=noise)).query
        torch.testing.assert_close(part, whole[some], atol=1e-6, rtol=1e-5)


def test_dropout_is_a_function_of_its_key():
    model, rows = made(dropout=0.4), torch.tensor([1, 5, 9])
    state = torch.get_rng_state()
    keyed = [model.encode(Batch(USER[rows], ITEM[rows], rows, noise=key)).query for key in (1, 1, 2)]
    assert torch.equal(keyed[0], keyed[1]) and not torch.allclose(keyed[0], keyed[2])
    assert torch.equal(state, torch.get_rng_state())
    silent = model.encode(Batch(USER[rows], ITEM[rows], rows)).query
    assert torch.equal(silent, model.frozen()(Batch(USER[rows], ITEM[rows], rows, noise=1)).query)


def test_frozen_reads_users_histories_whole_and_others_when_told():
    model = made()
    users = torch.arange(N_USERS)
    query = model.frozen()(Batch(users)).query
    assert not query.requires_grad
    for user in range(N_USERS):
        mine = model.histories.item[model.histories.offset[user] : model.histories.offset[user + 1]][-T:]
        twin = grid(model, mine)[-1] if len(mine) else model.encoder.last.bias
        torch.testing.assert_close(query[user], twin, atol=1e-5, rtol=1e-5)
    longer = Histories(torch.cat([USER, users]), torch.cat([ITEM, users]), n_users=N_USERS, part="train+valid")
    reader = model.frozen().reading(longer)
    assert isinstance(reader, HistoryEncoder) and isinstance(reader.towers(), Towers)
    torch.testing.assert_close(reader(Batch(users)).query[0], grid(model, [0])[-1], atol=1e-5, rtol=1e-5)
    assert torch.equal(reader.towers()(Batch(users)).all(), reader(Batch(users)).all())


def test_no_row_stands_before_nothing():
    model = made()
    rows = torch.tensor([5, -1, 9])
    query = model.frozen()(Batch(USER[rows], row=rows)).query
    assert torch.equal(query[1], model.encoder.last.bias)
    torch.testing.assert_close(query[[0, 2]], model.encode(Batch(USER[rows[::2]], ITEM[rows[::2]], rows[::2])).query)


def test_padding_may_stand_anywhere_and_only_the_last_items_count():
    model, users = made(), torch.tensor([0, 1, 2])
    left = torch.tensor([[-1, -1, 4, 9], [-1, 1, 2, 3], [-1, -1, -1, -1]])
    right = torch.tensor([[4, 9, -1, -1], [1, 2, 3, -1], [-1, -1, -1, -1]])
    queries = [model.encode(Batch(users, history=one)).query for one in (left, right)]
    assert torch.equal(*queries) and torch.equal(queries[0][2], model.encoder.last.bias)
    long = torch.arange(2 * T)[None]
    whole, tail = (model.encode(Batch(users[:1], history=one)).query for one in (long, long[:, T:]))
    assert torch.equal(whole, tail)


def test_a_cosine_over_a_temperature():
    model, rows = made(similarity="cosine", temperature=0.2), torch.tensor([1, 5, 9])
    scorer = model.encode(Batch(USER[rows], ITEM[rows], rows))
    wanted = 5 * torch.nn.functional.cosine_similarity(scorer.query[:, None], model.item[None], dim=-1)
    torch.testing.assert_close(scorer.all(), wanted)


def test_the_penalty_is_none_by_default_or_that_of_the_scored_items():
    rows, drawn = torch.tensor([1, 5]), Negatives(torch.tensor([[3, 4], [0, 0]]))
    batch = Batch(USER[rows], ITEM[rows], rows)
    assert made().penalty(batch, drawn).tolist() == [0, 0]
    model = made(penalty="items")
    square = model.item.square().sum(1)
    wanted = (square[batch.item] + square[drawn.item].mean(1)) / 2
    torch.testing.assert_close(model.penalty(batch, drawn), wanted)


def test_a_batch_without_what_came_before_is_refused():
    with pytest.raises(UsageError, match=r"Batch\.row .* or Batch\.history"):
        made().encode(Batch(USER[:2], ITEM[:2]))


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"overlap": T}, "overlap=6, wanted less than max_len=6"),
        ({"heads": 3}, "dim=8, heads=3"),
        ({"dropout": 1.0}, r"dropout=1\.0"),
        ({"windows": "some"}, "windows='some', wanted 'all' or 'last'"),
        ({"pad_attention": "none"}, "pad_attention='none'"),
        ({"penalty": "all"}, "penalty='all'"),
    ],
)
def test_bad_arguments_are_named(settings, said):
    with pytest.raises(UsageError, match=said):
        made(**settings)


def test_only_train_may_be_learnt():
    held = Histories(USER, ITEM, n_users=N_USERS, part="train+test")
    with pytest.raises(UsageError, match=r"found histories of train\+test"):
        SASRec(N_USERS, N_ITEMS, history=lambda order: held)


def test_a_model_that_is_told_no_history_is_refused():
    with pytest.raises(UsageError, match=r"give build_model a history"):
        build_model("sasrec", n_users=2, n_items=3, train=None, seed=0)


def test_a_log_without_an_order_is_refused(small):
    with pytest.raises(DataError, match=r"has no timestamp column.*sasrec:order=given"):
        small.histories("train")
    assert len(small.histories("train", order="given")) == len(small.rows("train"))
