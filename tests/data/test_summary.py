"""The summary: counts that can be checked by hand, as JSON and as lines."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from negsieve.data.read import read
from negsieve.data.split import split
from negsieve.data.summary import summary, summary_lines


def test_counts_by_hand(small):
    told = summary(small)
    assert json.loads(json.dumps(told, allow_nan=False)) == told
    assert (told["users"], told["items"], told["interactions"]) == (4, 4, 7)
    assert told["parts"] == {"train": 4, "valid": 1, "test": 2}
    assert told["density"] == 7 / 16 and told["unrated"] == 1
    assert told["per_user"] == pytest.approx({"min": 1, "25%": 1, "50%": 1.5, "75%": 2.25, "95%": 2.85, "max": 3})
    assert told["cold"]["valid"]["rows"] == 0
    assert told["cold"]["test"] == {
        "users": 1, "user_share": 0.5, "items": 1, "item_share": 0.5, "rows": 2, "row_share": 1.0,
    }  # fmt: skip
    assert told["domains"]["each"]["toy"] == {"users": 3, "items": 2, "rows": 4}
    assert told["domains"]["shared"] == [{"of": ["toy", "game"], "users": 2, "items": 0}]
    assert told["time"]["from"] == "1970-01-01T00:00:00+00:00" and told["time"]["distinct"] == 7
    assert (told["rows_rejected"], told["duplicates"], told["saturated_users"]) == (1, 1, 0)
    assert told["hash"] == small.hash


def test_lines_say_what_was_guessed_and_refused(small):
    lines = dict(summary_lines(summary(small)))
    assert lines["columns"] == "user = who (guessed)"
    assert lines["  refused"] == "f.csv:3:user: found nothing"
    assert lines["cold in test"] == "1 users (50.0%), 1 items (50.0%), 2 rows (100.0%)"
    assert all(isinstance(text, str) and text for text in lines.values())


def test_times_that_are_no_seconds_are_shown_as_numbers(small):
    late = replace(small, interactions=replace(small.interactions, timestamp=np.arange(7) * 1e15))
    told = summary(late)
    assert told["time"]["from"] is None and "not seconds" in dict(summary_lines(told))["time"]


def test_users_who_have_every_item_are_named(tmp_path):
    file = tmp_path / "log.csv"
    file.write_text("user,item\na,x\na,y\nb,x\n")
    data = split(read(file), "none")
    assert data.saturated_users.tolist() == [True, False]
    assert summary(data)["saturated_users"] == 1
    assert "no negative is left" in dict(summary_lines(summary(data)))["users who have every item"]


def test_one_user_and_one_item(tmp_path):
    file = tmp_path / "log.csv"
    file.write_text("user,item\na,x\n")
    told = summary(split(read(file)))
    assert told["parts"] == {"train": 1, "valid": 0, "test": 0} and told["saturated_users"] == 1
    assert told["density"] == 1.0 and summary_lines(told)


def test_cleaning_and_rules_are_told(tmp_path):
    file = tmp_path / "log.csv"
    file.write_text(
        "user,item,score\n" + "".join(f"{u},{i},{(u + i) % 5}\n" for u in range(8) for i in range(8)) + "0,1,4\n"
    )
    told = summary(split(read(file, rating_min=2, core=4)))
    assert told["guessed"] == {"user": "user", "item": "item", "rating": "score"}
    assert told["dropped"]["rating"] > 0 and told["rules"]["core"] == [4, 4]
    assert "under the rating threshold" in dict(summary_lines(told))["left out"]
