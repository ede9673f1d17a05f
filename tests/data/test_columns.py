"""Names of columns: what is recognised, what is refused, what the user may say."""

from __future__ import annotations

import pytest

from negsieve.data.columns import ALIASES, LOG_ROLES, overrides, resolve
from negsieve.errors import DataError, UsageError


def find(names, **said):
    return resolve(names, file="log.csv", said=overrides(said))


@pytest.mark.parametrize(("role", "alias"), [(role, name) for role in LOG_ROLES for name in ALIASES[role]])
def test_every_alias_is_recognised_in_any_case(role, alias):
    others = [own for own in ("user_id", "item_id") if own != ALIASES[role][0]]
    for spelling in (alias, alias.upper(), f" {alias.title()} "):
        found = find([*others, "note", spelling])
        assert found.place[role] == len(others) + 1
        assert (role in found.guessed) == (alias != ALIASES[role][0])


def test_no_alias_means_two_things():
    names = [name for role in LOG_ROLES for name in ALIASES[role]]
    assert len(names) == len(set(names))


def test_the_own_name_wins_over_aliases():
    found = find(["asin", "parent_asin", "item_id", "user_id", "user"])
    assert found.names == {"user": "user_id", "item": "item_id"}


def test_two_aliases_are_not_guessed_between():
    with pytest.raises(DataError, match=r"'asin' and 'parent_asin'.*columns=\{'item': 'asin'\}"):
        find(["user", "asin", "parent_asin"])
    assert find(["user", "asin", "parent_asin"], item="parent_asin").names["item"] == "parent_asin"


def test_words_of_the_user():
    found = find(["who", "user", "what", "rating"], user="who", item="what", rating="")
    assert found.names == {"user": "who", "item": "what"} and found.guessed == ()
    assert find(["a", "b", "time"], user_id="a", item_id="b").names["timestamp"] == "time"
    with pytest.raises(DataError, match="Did you mean 'what'"):
        find(["who", "what"], user="who", item="wat")
    with pytest.raises(UsageError, match="Did you mean 'user'"):
        overrides({"usr": "a"})
    with pytest.raises(UsageError, match="given to two roles"):
        overrides({"user": "a", "item": "a"})
    with pytest.raises(UsageError, match="cannot be left out"):
        overrides({"user": ""})


def test_an_override_takes_its_column_from_the_guesses():
    assert find(["user", "item", "date", "time"], timestamp="date").names["timestamp"] == "date"
    with pytest.raises(DataError, match="wanted a column for the item"):
        find(["user", "item"], user="item")
