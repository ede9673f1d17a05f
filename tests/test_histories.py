"""Sequences and windows: every target once, with what came before it, against a walk in plain Python."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from negsieve.histories import Aside, Histories, Stretches, Windows


def table(n, n_users, seed, times=4):
    rng = torch.Generator().manual_seed(seed)
    user = torch.randint(n_users, (n,), generator=rng)
    return user, torch.arange(n) + 100, torch.randint(times, (n,), generator=rng).double()


def walk(user, item, when):
    """Rows of each user in order, by the plainest means."""
    rows = {}
    for row in sorted(range(len(user)), key=lambda row: (float(when[row]), row)):
        rows.setdefault(int(user[row]), []).append(row)
    return rows


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 60), st.integers(1, 6), st.integers(0, 9), st.integers(1, 9))
def test_rows_stand_by_time_and_ties_by_row(n, n_users, seed, length):
    user, item, when = table(n, n_users, seed)
    found = Histories(user, item, when=when, n_users=n_users, order="time")
    rows = walk(user, item, when)
    latest = found.latest(torch.arange(n_users), length)
    for one in range(n_users):
        mine = [int(item[row]) for row in rows.get(one, [])]
        assert found.item[found.offset[one] : found.offset[one + 1]].tolist() == mine
        assert latest[one].tolist() == mine[-length:] + [-1] * (length - len(mine))
    assert torch.equal(found.row[found.place], torch.arange(n))


@settings(max_examples=150, deadline=None)
@given(st.integers(0, 60), st.integers(1, 4), st.integers(0, 9), st.integers(1, 7), st.data())
def test_every_target_is_in_one_window_with_what_came_before(n, n_users, seed, length, data):
    overlap, last_only = data.draw(st.integers(0, length - 1)), data.draw(st.booleans())
    user, item, when = table(n, n_users, seed)
    histories = Histories(user, item, when=when, n_users=n_users)
    windows = Windows(histories, length, overlap=overlap, last_only=last_only)
    groups = windows.groups
    assert len(groups) == len(windows) and (groups.offset.diff() > 0).all()
    seen = []
    for at, (first, many) in enumerate(zip(windows.first.tolist(), windows.many.tolist(), strict=True)):
        assert 1 <= many <= length
        owner = {int(user[histories.row[place]]) for place in range(first, first + many)}
        assert len(owner) == 1
        for row in groups.row[groups.offset[at] : groups.offset[at + 1]].tolist():
            place = int(histories.place[row])
            assert windows.of[place] == at and first <= place - 1 < first + many
            assert {int(user[row])} == owner
            before = place - first  # the items that the window shows of the target's history
            whole = place - int(histories.offset[user[row]])
            if not last_only:
                assert before == whole or before > overlap
            seen.append(row)
    rows = walk(user, item, when).values()
    wanted = sorted(row for mine in rows for row in (mine[1:][-length:] if last_only else mine[1:]))
    assert sorted(seen) == wanted
    assert int((windows.of >= 0).sum()) == len(wanted)


def test_the_last_window_ends_with_the_last_row_and_is_full():
    user = torch.zeros(12, dtype=torch.long)
    windows = Windows(Histories(user, torch.arange(12), n_users=1), 5)
    assert windows.first.tolist() == [0, 1, 6] and windows.many.tolist() == [1, 5, 5]
    overlapping = Windows(Histories(user, torch.arange(12), n_users=1), 5, overlap=2)
    assert overlapping.first.tolist() == [0, 3, 6] and overlapping.many.tolist() == [5, 5, 5]
    assert overlapping.groups.offset.diff().tolist() == [5, 3, 3]


def test_nobody_with_two_rows_makes_no_window():
    windows = Windows(Histories(torch.tensor([0, 2]), torch.tensor([3, 4]), n_users=4), 5)
    assert len(windows) == len(windows.groups) == 0 and windows.of.tolist() == [-1, -1]


def test_what_comes_after_a_place_may_be_left_out():
    user = torch.tensor([0, 1, 0, 1, 0])
    found = Histories(user, torch.arange(5) + 10, n_users=3)  # 0: 10 12 14; 1: 11 13
    asked, last = torch.tensor([0, 0, 1, 1, 2]), torch.tensor([1, -1, 3, 4, -1])
    wanted = [[10, 12], [-1, -1], [11, -1], [11, 13], [-1, -1]]
    assert found.latest(asked, 2, last=last).tolist() == wanted


def test_an_empty_table_has_empty_histories():
    empty = torch.empty(0, dtype=torch.long)
    assert Histories(empty, empty, n_users=2).latest(torch.tensor([1]), 3).tolist() == [[-1, -1, -1]]
    with pytest.raises(ValueError, match="2 users beside 1 items"):
        Histories(torch.tensor([0, 0]), torch.tensor([0]), n_users=2)
    with pytest.raises(ValueError, match=r"user ids run 0\.\.5"):
        Histories(torch.tensor([0, 5]), torch.tensor([0, 1]), n_users=2)


@settings(max_examples=80, deadline=None)
@given(st.integers(0, 60), st.integers(1, 4), st.integers(0, 9), st.integers(1, 7), st.data())
def test_every_row_is_read_in_one_stretch_with_what_came_before(n, n_users, seed, length, data):
    overlap = data.draw(st.integers(0, length - 1))
    user, item, when = table(n, n_users, seed)
    histories = Histories(user, item, when=when, n_users=n_users)
    stretches = Stretches(histories, length, overlap=overlap)
    assert len(stretches) == len(stretches.first) and (stretches.of >= 0).all()
    for place, which in enumerate(stretches.of.tolist()):
        first, many = int(stretches.first[which]), int(stretches.many[which])
        owner = int(user[histories.row[place]])
        begin, end = int(histories.offset[owner]), int(histories.offset[owner + 1])
        assert 1 <= many <= length and begin <= first <= place < first + many <= end
        assert place - first + 1 > min(overlap, place - begin)  # itself, and the overlap as far as there is any
        assert (end - first - many) % (length - overlap) == 0  # cut from the end: the last row has the last place


def test_an_aside_knows_its_places_and_moves_along():
    source = Histories(torch.tensor([0, 0, 1]), torch.tensor([4, 2, 0]), n_users=3)
    aside = Aside(source, before=torch.tensor([-1, 1]), last=torch.tensor([1, 2, -1]), n_items=5)
    assert aside.latest(torch.tensor([2, 0])).tolist() == [-1, 1]
    assert not aside.state_dict() and aside.to("meta").before.device.type == "meta"
    with pytest.raises(ValueError, match=r"before names places -1\.\.3, wanted -1\.\.2"):
        Aside(source, before=torch.tensor([-1, 3]), last=torch.tensor([1, 2, -1]), n_items=5)
    with pytest.raises(ValueError, match="last has 1 users, wanted the 3"):
        Aside(source, before=torch.tensor([1]), last=torch.tensor([1]), n_items=5)
