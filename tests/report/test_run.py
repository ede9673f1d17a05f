import json
import re
from html.parser import HTMLParser

import pytest

from negsieve.errors import DataError, MissingInput
from negsieve.report import run_page
from negsieve.store.run import Run

HOSTILE = '<script>alert("x")</script>{{ 7 * 7 }}<img src=x onerror=alert(1)>\u202e\x1b[31m'


class Page(HTMLParser):
    """The page's tags, attributes and text, as a browser would take them apart."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.attributes, self.text = [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs

    def handle_data(self, data):
        self.text.append(data)

    def words(self):
        return re.sub(r"\s+", " ", " ".join(self.text))


def read(path):
    return Page(path.read_text(encoding="utf-8"))


def harmless(page):
    assert not {"script", "img", "iframe", "object", "link", "base", "form"} & set(page.tags)
    for name, value in page.attributes:
        assert not name.startswith("on")
        if name in ("href", "src", "xlink:href"):
            assert value.startswith("#")


def test_a_finished_run(tmp_path, make):
    path = run_page(make.run(tmp_path / "run").path)
    assert path == tmp_path / "run" / "report.html"
    page = read(path)
    harmless(page)
    said = page.words()
    for wanted in (
        "Trained for 60 epochs. Epoch 54, counted from 0, was the best by ndcg@20 on the validation part",
        "On the test part it reaches ndcg@20 0.0831",
        "1.48 % of the chosen negatives were false",
        "test, cold",
        "61 users, 240 pairs",
        "optimiser",
        "9f31c2d4e5a60718",
        "Hardness of negatives",
        "4,074",
        "train.lr",
    ):
        assert wanted in said, wanted
    assert page.tags.count("svg") == 6
    alts = [value for name, value in page.attributes if name == "aria-label"]
    assert any(re.fullmatch(r"Training loss over epochs: 0\.6\d+ at epoch 0, 0\.2\d+ at epoch 59", one) for one in alts)


def test_the_page_is_made_of_files_alone_and_always_the_same(tmp_path, make):
    run = make.run(tmp_path / "run", epochs=6)
    first = run_page(run.path).read_bytes()
    assert run_page(run.path).read_bytes() == first
    assert b"http://" not in first.replace(b"http://www.w3.org", b"") and b"https://" not in first


def test_an_unfinished_run_and_an_empty_one(tmp_path, make):
    said = read(run_page(make.run(tmp_path / "a", finish=False, epochs=7).path)).words()
    assert "This run is not finished: 7 epochs so far" in said and "Final metrics" not in said
    empty = Run.create(tmp_path / "b", config={"model": "mf"})
    said = read(run_page(empty.path)).words()
    assert "0 epochs so far" in said and "Nothing was recorded about the data." in said


def test_hostile_names_are_text(tmp_path):
    config = {"model": HOSTILE, "sampler": HOSTILE, HOSTILE: HOSTILE}
    run = Run.create(tmp_path / "run", config=config, data={HOSTILE: HOSTILE}, env={HOSTILE: HOSTILE})
    run.append_metrics({"epoch": 0, "loss": 1.0, "valid": {HOSTILE: 0.5}, "seconds": {HOSTILE: 1.0}})
    metrics = {part: {HOSTILE: 0.5} for part in ("valid", "test")}
    held = {"users": 1, "pairs": 1, "metrics": {HOSTILE: 0.1}}
    run.finish(
        {
            "name": HOSTILE,
            "model": HOSTILE,
            "sampler": HOSTILE,
            "loss": HOSTILE,
            "seed": 1,
            "best_epoch": 0,
            "epochs": 1,
            "selection": {"metric": HOSTILE, "part": HOSTILE},
            "metrics": metrics,
            "groups": {"test": {HOSTILE: held}},
            "diagnostics": {HOSTILE: HOSTILE},
            "data_hash": HOSTILE,
        }
    )
    path = run_page(run.path)
    page, raw = read(path), path.read_text(encoding="utf-8")
    harmless(page)
    assert "\x1b" not in raw and "\u202e" not in raw
    assert '<script>alert("x")</script>{{ 7 * 7 }}' in "".join(page.text)


def test_numbers_that_are_null_are_shown_as_absent(tmp_path, make):
    run = make.run(tmp_path / "run", epochs=3, finish=False)
    run.append_metrics({"epoch": 3, "loss": None, "false_negative_rate": None, "seconds": None, "valid": None})
    run.finish(
        {"best_epoch": 1, "epochs": 4, "metrics": {"test": {"ndcg@20": None}}, "selection": {"metric": "ndcg@20"}}
    )
    assert "it reaches ndcg@20 –" in read(run_page(run.path)).words()


def test_a_choice_made_on_test_is_told(tmp_path, make):
    run = make.run(tmp_path / "run", epochs=6)
    result = run.result()
    result["selection"]["part"] = "test"
    run.finish(result)
    assert "Beware: the epoch was chosen on the test part" in read(run_page(run.path)).words()


def test_notes_of_the_run_are_told_and_groups_may_be_flat(tmp_path, make):
    run = make.run(tmp_path / "run", epochs=6)
    flat = {"cold_users": {"users": 12, "pairs": 34, "ndcg@20": 0.4321}}
    result = run.result() | {
        "stamps": ["made as an oracle"],
        "biased": True,
        "stopped": "no gain",
        "groups": {"test": flat},
    }
    run.finish(result | {"selection": {"metric": "ndcg@20", "part": None}})
    said = read(run_page(run.path)).words()
    for wanted in (
        "Trained for 6 epochs (no gain).",
        "made as an oracle",
        "the figures are biased",
        "was kept; no part",
    ):
        assert wanted in said, wanted
    assert "test, cold users" in said and "0.4321" in said


def test_bad_folders_and_files_are_named(tmp_path, make):
    with pytest.raises(MissingInput, match="looked for a run directory"):
        run_page(tmp_path)
    run = make.run(tmp_path / "run", epochs=3)
    (run.path / "result.json").write_text(json.dumps({"metrics": []}))
    with pytest.raises(DataError, match="lacks or mistypes"):
        run_page(run.path)
    (run.path / "result.json").write_text("{")
    with pytest.raises(DataError, match=r"result\.json: found bad JSON"):
        run_page(run.path)
    assert not (run.path / "report.html").exists()


def test_columns_that_say_where_they_are_from_have_a_picture(tmp_path, make):
    run = make.run(tmp_path / "run")
    assert "Origin of negatives" not in run_page(run.path).read_text(encoding="utf-8")
    for epoch, hard in ((100, 0.0), (101, 0.4)):
        shares = {"random": 1 - hard, "general": hard, "cross": 0.0, "fallback": 0.0}
        run.append_metrics({"epoch": epoch, "step": epoch, "loss": 0.5, "origins": shares})
    page = run_page(run.path).read_text(encoding="utf-8")
    assert "Origin of negatives, %" in page and "general 40.0" in page.replace("\u202f", " ")
