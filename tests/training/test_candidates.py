"""Sampled evaluation ranks the same items for ever: drawn once, saved in the run, reused, refused when damaged."""

import pytest

from negsieve import api
from negsieve.config import resolve
from negsieve.errors import DataError
from negsieve.evaluation import sampled
from negsieve.store.run import Run
from negsieve.training import candidates, session


def test_they_are_saved_and_reused_and_never_drawn_again(small, tmp_path, monkeypatch):
    settings = resolve(
        {
            "train": {"epochs": 1, "device": "cpu"},
            "evaluate": {"protocol": "sampled", "n_negatives": 9, "metrics": ["hr@5"]},
        }
    )
    result = session.start(settings, small, path=tmp_path / "run")
    assert {file.name for file in (tmp_path / "run").glob("candidates-*")} == {
        "candidates-valid-9.parquet",
        "candidates-test-9.parquet",
    }
    found = candidates.kept(Run(tmp_path / "run"), 9)
    drawn = sampled.candidates(small, "test", n_negatives=9)
    assert all((found["test"][name] == drawn[name]).all() for name in drawn)

    def never(*_, **__):
        raise AssertionError("drawn again")

    monkeypatch.setattr(sampled, "candidates", never)
    again = api.evaluate(tmp_path / "run", part="test")
    assert again["metrics"]["sampled9/hr@5"] == result["metrics"]["test"]["sampled9/hr@5"] and again["biased"]


def test_another_number_is_drawn_and_saved_beside(small, tmp_path):
    session.start(resolve({"train": {"epochs": 1, "device": "cpu"}}), small, path=tmp_path / "run")
    api.evaluate(tmp_path / "run", protocol="sampled", n_negatives=5, metrics=["hr@2"])
    file = tmp_path / "run" / "candidates-test-5.parquet"
    data = bytearray(file.read_bytes())
    data[200] ^= 1
    file.write_bytes(data)
    with pytest.raises(DataError, match="candidates-test-5"):
        api.evaluate(tmp_path / "run", protocol="sampled", n_negatives=5, metrics=["hr@2"])


def test_another_draw_is_another_file_and_training_seeds_share_one(small, tmp_path):
    settings = {"train": {"epochs": 1, "device": "cpu"}, "evaluate": {"protocol": "both", "n_negatives": 6}}
    for seed in (1, 2):
        session.start(resolve(settings, {"train": {"seed": seed}}), small, path=tmp_path / f"run{seed}")
    one, two = (candidates.kept(Run(tmp_path / f"run{seed}"), 6)["test"]["negatives"] for seed in (1, 2))
    assert (one == two).all()
    first = api.evaluate(tmp_path / "run1", metrics=["hr@5"], seed=7)
    assert first["protocol"] == "both" and first["facts"]["seed"] == 7
    assert (tmp_path / "run1" / "candidates-test-6-seed7.parquet").is_file()
    assert (candidates.kept(Run(tmp_path / "run1"), 6, seed=7)["test"]["negatives"] != one).any()
    chosen = resolve(settings, {"train": {"select_by": "sampled"}, "evaluate": {"protocol": "full"}})
    session.start(chosen, small, path=tmp_path / "chosen")
    assert api.evaluate(tmp_path / "chosen", protocol="full")["protocol"] == "full", "what was asked for"
    assert api.evaluate(tmp_path / "chosen")["protocol"] == "both"
