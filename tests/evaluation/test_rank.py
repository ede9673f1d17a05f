import weakref

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from negsieve.errors import NegsieveError, UsageError
from negsieve.evaluation.fallback import Popular
from negsieve.evaluation.rank import TopK, best, lists, scored, top_k
from negsieve.kernels import native
from negsieve.scorers import Dot, Function, Towers
from negsieve.seen import Seen


def slow(row, k, forbidden=()):
    """The rule itself: by score, then by lower item number; -inf and forbidden items never."""
    order = sorted((i for i in range(len(row)) if i not in forbidden and row[i] > -np.inf), key=lambda i: (-row[i], i))
    return (order + [-1] * k)[:k]


@given(st.integers(0, 10**6), st.integers(1, 9), st.integers(1, 40), st.integers(1, 45), st.sampled_from([1, 2, 5, 50]))
def test_best_is_the_rule_with_many_ties(seed, rows, items, k, levels):
    rng = np.random.default_rng(seed)
    score = rng.integers(0, levels, size=(rows, items)).astype(np.float32)
    score[rng.random((rows, items)) < 0.2] = -np.inf
    top = best(torch.from_numpy(score), k)
    assert top.item.tolist() == [slow(row, k) for row in score]
    padded = np.concatenate([score, np.full((rows, 1), -np.inf, dtype=np.float32)], axis=1)
    assert np.array_equal(top.score.numpy(), np.take_along_axis(padded, top.item.numpy() % (items + 1), axis=1))


def test_everything_tied_lists_the_lowest_numbers_even_for_more_rows_than_are_settled_together():
    top = best(torch.zeros(300, 1000), 7)
    assert (top.item == torch.arange(7)).all()


def test_negative_zero_ties_with_zero():
    assert best(torch.tensor([[-0.0, 0.0, -0.0, -1.0]]), 2).item.tolist() == [[0, 1]]


@given(st.integers(0, 10**6), st.integers(1, 12), st.sampled_from([1, 2, 3, 100]))
def test_masked_and_forbidden_items_never_appear_whatever_the_chunk(seed, k, chunk):
    rng = np.random.default_rng(seed)
    score = rng.integers(0, 3, size=(7, 10)).astype(np.float32)
    masks, allowed = rng.random((2, 7, 10)) < 0.3, rng.random(10) < 0.7
    indexes = [Seen(*np.nonzero(mask), n_users=7, n_items=10) for mask in masks]
    users = torch.from_numpy(rng.permutation(7)[:5])
    table = torch.from_numpy(score)
    encoder = Towers(torch.eye(7), table.T.contiguous())  # user u's scores are row u, exactly
    top = top_k(encoder, users, k, n_items=10, mask=indexes, chunk=chunk, allowed=torch.from_numpy(allowed))
    out = masks[0] | masks[1] | ~allowed
    assert top.item.tolist() == [slow(score[u], k, np.flatnonzero(out[u])) for u in users.tolist()]


def test_masking_leaves_shared_scores_alone(table_of):
    popular = Popular(torch.tensor([3, 2, 1]))
    mask = Seen([0], [0], n_users=2, n_items=3)
    assert top_k(popular, torch.arange(2), 2, n_items=3, mask=[mask]).item.tolist() == [[1, 2], [0, 1]]
    assert popular.count.tolist() == [3, 2, 1]

    class Stored:
        def __init__(self, table):
            self.table = table

        def __call__(self, batch):
            return self

        def all(self):
            return self.table

    stored = Stored(torch.tensor([[1.0, 2.0, 3.0], [3.0, 2.0, 1.0]]))
    top_k(stored, torch.arange(2), 2, n_items=3, mask=[mask])
    assert stored.table.tolist() == [[1.0, 2.0, 3.0], [3.0, 2.0, 1.0]]


def test_an_exhausted_user_gets_padding():
    everything = Seen([0, 0, 0], [0, 1, 2], n_users=1, n_items=3)
    top = top_k(Towers(torch.ones(1, 1), torch.ones(3, 1)), torch.tensor([0]), 2, n_items=3, mask=[everything])
    assert top.item.tolist() == [[-1, -1]] and top.score.tolist() == [[-np.inf, -np.inf]]


def test_no_users_give_no_lists():
    top = top_k(Towers(torch.ones(1, 1), torch.ones(3, 1)), torch.empty(0, dtype=torch.long), 4, n_items=3)
    assert top.item.shape == top.score.shape == (0, 4)


def test_lists_carry_no_gradient_and_half_precision_is_widened():
    user = torch.ones(2, 1, dtype=torch.bfloat16, requires_grad=True)
    top = top_k(Towers(user, torch.tensor([[1.0], [3.0]], dtype=torch.bfloat16)), torch.arange(2), 1, n_items=2)
    assert not top.score.requires_grad and top.score.dtype == torch.float32 and top.item.tolist() == [[1], [1]]


def test_nan_names_the_user(table_of):
    table = torch.zeros(6, 50)
    table[4, 31] = torch.nan
    with pytest.raises(NegsieveError, match="user number 4 hold NaN"):
        top_k(table_of(table), torch.arange(6), 3, n_items=50, chunk=2)


def test_a_nan_that_is_masked_harms_nobody(table_of):
    table = torch.tensor([[torch.nan, 1.0]])
    top = top_k(table_of(table), torch.tensor([0]), 1, n_items=2, mask=[Seen([0], [0], n_users=1, n_items=2)])
    assert top.item.tolist() == [[1]]


def test_bad_arguments_say_what_is_wanted():
    encoder, users = Towers(torch.ones(2, 1), torch.ones(3, 1)), torch.arange(2)
    with pytest.raises(UsageError, match="k=0"):
        top_k(encoder, users, 0, n_items=3)
    with pytest.raises(UsageError, match="chunk=0"):
        top_k(encoder, users, 1, n_items=3, chunk=0)
    with pytest.raises(UsageError, match=r"shape \(2, 3\), wanted \(2, 5\)"):
        top_k(encoder, users, 1, n_items=5)
    with pytest.raises(UsageError, match="mask knows 4 items, the ranking has 3"):
        top_k(encoder, users, 1, n_items=3, mask=[Seen([0], [0], n_users=2, n_items=4)])


def test_a_stated_chunk_gives_the_same_bits_twice():
    rng = torch.Generator().manual_seed(1)
    encoder = Towers(torch.randn(50, 16, generator=rng), torch.randn(200, 16, generator=rng))
    one, two = (top_k(encoder, torch.arange(50), 9, n_items=200, chunk=7) for _ in range(2))
    assert torch.equal(one.item, two.item) and torch.equal(one.score, two.score)
    every = torch.cat([Dot(encoder.user[u][None], encoder.item).all() for u in range(50)])
    assert torch.allclose(one.score, every.gather(1, one.item), rtol=1e-5)


def test_the_lists_of_a_dot_product_depend_neither_on_the_chunk_nor_on_threads():
    if native.module() is None:
        pytest.skip("no compiled kernels here")
    rng = torch.Generator().manual_seed(2)
    encoder = Towers(torch.randn(70, 24, generator=rng), torch.randn(2500, 24, generator=rng))
    mask = [Seen(torch.arange(70), torch.arange(70) * 3, n_users=70, n_items=2500)]
    wanted, before = top_k(encoder, torch.arange(70), 30, n_items=2500, mask=mask), torch.get_num_threads()
    try:
        for chunk, threads in ((1, 1), (13, 2), (70, 4)):
            torch.set_num_threads(threads)
            top = top_k(encoder, torch.arange(70), 30, n_items=2500, mask=mask, chunk=chunk)
            assert torch.equal(top.item, wanted.item) and torch.equal(top.score, wanted.score)
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize("cosine", [False, True])
def test_a_dot_product_is_ranked_as_a_scorer_that_hides_its_vectors(cosine):
    rng = torch.Generator().manual_seed(3)
    encoder = Towers(
        torch.randn(40, 7, generator=rng), torch.randn(60, 7, generator=rng), cosine=cosine, temperature=0.2
    )
    masks = [Seen([0, 0, 5, 9], [3, 8, 8, 59], n_users=40, n_items=60), Seen([0, 9], [8, 0], n_users=40, n_items=60)]
    how = {"n_items": 60, "mask": masks, "chunk": 16, "allowed": torch.arange(60) != 31}
    users = torch.arange(40).flip(0)
    shown = top_k(encoder, users, 9, **how)
    hidden = top_k(lambda batch: Function(encoder(batch).score), users, 9, **how)
    assert torch.equal(shown.item, hidden.item) and torch.allclose(shown.score, hidden.score, rtol=1e-5)
    parts = list(lists(encoder, users, 9, **how))
    assert [len(user) for user, _ in parts] == [16, 16, 8]
    assert torch.equal(torch.cat([top.item for _, top in parts]), shown.item)


def test_a_table_that_moves_between_chunks_is_laid_out_again():
    table = torch.eye(3)

    def encoder(batch):
        table.copy_(table.roll(1, 0))
        return Dot(torch.tensor([[0.0, 1.0, 2.0]]).expand(len(batch), -1), table)

    assert top_k(encoder, torch.arange(3), 3, n_items=3, chunk=1).item.tolist() == [[0, 2, 1], [1, 0, 2], [2, 1, 0]]


def test_users_may_be_divided_among_encoders():
    class Halves:
        def __call__(self, batch):
            raise AssertionError("the parts are asked")

        def divide(self, users):
            odd = users % 2 == 1
            sides = ((Popular(torch.tensor([1, 2, 3])), odd), (Popular(torch.tensor([3, 2, 1])), ~odd))
            return [(encoder, own.nonzero()[:, 0]) for encoder, own in sides]

    top = top_k(Halves(), torch.tensor([3, 0, 1, 2]), 2, n_items=3, chunk=1)
    assert isinstance(top, TopK) and top.item.tolist() == [[2, 1], [0, 1], [2, 1], [0, 1]]


def test_a_double_table_keeps_its_precision():
    encoder = Towers(torch.ones(2, 1).double(), torch.tensor([[1.0], [1.0 + 1e-12]], dtype=torch.double))
    top = top_k(encoder, torch.arange(2), 2, n_items=2)
    assert top.score.dtype == torch.float64 and top.item.tolist() == [[1, 0], [1, 0]]


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_cuda_lists_equal_cpu_lists():
    rng = np.random.default_rng(3)
    score = torch.from_numpy(rng.integers(0, 5, size=(40, 90)).astype(np.float32))
    mask = Seen(*np.nonzero(rng.random((40, 90)) < 0.2), n_users=40, n_items=90)
    here = top_k(Towers(torch.eye(40), score.T), torch.arange(40), 11, n_items=90, mask=[mask], chunk=16)
    there = top_k(
        Towers(torch.eye(40).cuda(), score.T.cuda()), torch.arange(40).cuda(), 11, n_items=90, mask=[mask], chunk=16
    )
    assert there.item.is_cuda and torch.equal(here.item, there.item.cpu())


def test_one_chunk_of_scores_is_held_at_a_time():
    towers, held = Towers(torch.randn(9, 4), torch.randn(20, 4)), []
    for user, score in scored(towers, torch.arange(9), n_items=20, chunk=4):
        assert all(one() is None for one in held) and score.shape == (len(user), 20)
        held.append(weakref.ref(score))
        del score
    assert len(held) == 3
