import importlib.util
import json
import shutil
from pathlib import Path

import pytest

from negsieve.errors import DataError, MissingInput
from negsieve.report import study_page
from negsieve.report.verdict import verdict

_spec = importlib.util.spec_from_file_location("report_test_run", Path(__file__).with_name("test_run.py"))
_shared = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(_shared)
HOSTILE, harmless, read = _shared.HOSTILE, _shared.harmless, _shared.read


@pytest.fixture
def study(tmp_path, finished_study):
    return shutil.copytree(finished_study, tmp_path / "study")


def change(folder, name, edit):
    path = folder / name
    value = json.loads(path.read_text())
    edit(value)
    path.write_text(json.dumps(value))


def test_the_page_says_what_the_table_shows(study):
    path = study_page(study)
    assert path == study / "report.html"
    page = read(path)
    harmless(page)
    said = page.words()
    for wanted in (
        "Of 7 trained methods, lightgcn/dns_mn:m=8,n=32/bpr has the highest test ndcg@20: 0.0872.",
        "That is +0.0170 against the baseline mf/uniform/bpr (95 % interval +0.0149 to +0.0189, p < 0.001 after Holm's",
        "a significant difference.",
        "Of the other 5, 4 lie significantly above the baseline and 1 cannot be told apart from the baseline.",
        "1.61 % of the negatives that lightgcn/dns_mn:m=8,n=32/bpr chose were false, against 0.41 % of the baseline's.",
        "1 run of 21 is missing",
        "NonFiniteLoss: loss became NaN in step 812",
        "2 of 3",
        "untrained",
        "The line of popularity, untrained, at 0.0312, lies below the picture.",
        "Seeds: 0, 1, 2; every method got the same.",
        "Selection: the epoch that was best by ndcg@20 on the validation part; never on test.",
        "paired t-test over users, mean of seeds; p corrected over the differences of the table by the method of Holm.",
        "content hash 9f31c2d4e5a60718",
        "settings tried a method",
        "20 run folders",
        "runs/6-2",
    ):
        assert wanted in said, wanted
    labels = " ".join(value for name, value in page.attributes if name == "aria-label")
    assert "mf · dns:candidates=16: 0.0818 at 2.13 %" in labels
    assert "False-negative rate, % over epochs, mean over seeds" in labels


def test_warm_and_cold_have_a_table_where_anything_is_cold(study):
    assert "Warm and cold" not in read(study_page(study)).words()

    def edit(table):
        for place, one in enumerate(table["rows"]):
            if not one["reference"]:
                cold = {"users": 1234, "ndcg@20": 0.0009}
                one["groups"] = {"warm": {"users": 90, "ndcg@20": 0.0911 + place}, "cold_items": cold}

    change(study, "table.json", edit)
    said = read(study_page(study)).words()
    for wanted in ("Warm and cold", "cold items1,234 users", "0.0009"):
        assert wanted.replace(" ", "") in said.replace(" ", ""), wanted


def test_the_same_files_give_the_same_page(study):
    assert study_page(study).read_bytes() == study_page(study).read_bytes()


@pytest.mark.parametrize("name", ["seeds", "test", "correction", "baseline", "primary", "metrics"])
def test_a_table_that_does_not_say_how_it_was_made_is_refused(study, name):
    change(study, "study.json", lambda value: value.update({name: type(value[name])()}))
    with pytest.raises(DataError, match=rf"study\.json: states no {name} "):
        study_page(study)
    change(study, "study.json", lambda value: value.pop(name))
    with pytest.raises(DataError, match=f"states no {name} "):
        study_page(study)
    assert not (study / "report.html").exists()


def test_other_tables_that_say_nothing_are_refused(study):
    good = (study / "study.json").read_text()
    change(study, "study.json", lambda value: value.update(baseline="mf/none/bpr"))
    with pytest.raises(DataError, match="no row of the baseline 'mf/none/bpr'"):
        study_page(study)
    (study / "study.json").write_text(good)
    change(study, "study.json", lambda value: value.update(primary="auc"))
    with pytest.raises(DataError, match="primary metric 'auc'"):
        study_page(study)
    (study / "study.json").write_text(good)
    change(study, "table.json", lambda value: value["rows"][0].pop("mean"))
    with pytest.raises(DataError, match="lacks or mistypes 'mean'"):
        study_page(study)
    change(study, "table.json", lambda value: value["rows"].clear())
    with pytest.raises(DataError, match="found no rows"):
        study_page(study)
    (study / "table.json").unlink()
    with pytest.raises(MissingInput, match=r"table\.json"):
        study_page(study)


def test_runs_of_other_data_are_refused(study):
    change(study / "runs" / "3-1", "result.json", lambda value: value.update(data_hash="other"))
    with pytest.raises(DataError, match=r"runs/3-1: was made on data other, wanted 9f31c2d4e5a60718"):
        study_page(study)


def test_deleted_and_damaged_runs_and_silent_gaps_are_listed(study):
    shutil.rmtree(study / "runs" / "0-0")
    (study / "runs" / "1-0" / "result.json").write_text("{")
    (study / "runs" / "2-0" / "result.json").unlink()
    change(study, "table.json", lambda value: value["rows"][3]["seeds"].remove(1))
    change(study, "table.json", lambda value: value["rows"][5]["runs"].append("../../elsewhere"))
    said = read(study_page(study)).words()
    for wanted in (
        "seed 0: its figures stand in the table, but no folder of it can be read now (runs/0-0: runs/0-0: looked for a",
        "(runs/1-0: runs/1-0/result.json: found bad JSON",
        "(runs/2-0: is not finished)",
        "mf/dns_mn:m=8,n=32/bpr , seed 1: there is no record of it",
        "../../elsewhere: leads outside the study",
        "2 runs of 21 are missing",
    ):
        assert wanted in said, wanted


def test_selection_on_test_is_told(study):
    for run in (study / "runs").iterdir():
        change(run, "result.json", lambda value: value["selection"].update(part="test"))
    assert (
        "best epoch by ndcg@20 on the TEST part. The test figures are therefore too good"
        in read(study_page(study)).words()
    )


def test_hostile_names_are_text(tmp_path, make):
    folder = make.study(tmp_path / "study", epochs=6, hostile=HOSTILE)

    def spoil(value):
        for row in value["rows"]:
            for name in ("model", "sampler", "loss"):
                row[name] = f"{row[name]}{HOSTILE}"
            row["method"] += HOSTILE
            row["missing"] = [{"seed": 2, "why": HOSTILE}]

    change(folder, "table.json", spoil)
    change(
        folder,
        "study.json",
        lambda value: value.update(baseline=value["baseline"] + HOSTILE, test=HOSTILE, data={HOSTILE: HOSTILE}),
    )
    path = study_page(folder)
    page, raw = read(path), path.read_text(encoding="utf-8")
    harmless(page)
    assert "\x1b" not in raw and "\u202e" not in raw
    assert '<script>alert("x")</script>{{ 7 * 7 }}' in "".join(page.text)


def test_a_study_of_one_seed_without_any_measurement(tmp_path, make):
    folder = tmp_path / "study"
    folder.mkdir()
    row = make.row("mf/uniform/bpr", [0]) | {"sd": None, "false_negative_rate": None, "seconds": None}
    head = {"seeds": [0], "baseline": "mf/uniform/bpr", "primary": "ndcg@20", "test": "t", "correction": "holm"}
    (folder / "study.json").write_text(json.dumps(head | {"metrics": ["ndcg@20"]}))
    (folder / "table.json").write_text(json.dumps({"rows": [row]}))
    said = read(study_page(folder)).words()
    assert "It is the baseline." in said and "one seed" in said
    assert "Selection: not recorded." in said and "Accuracy against" not in said


STUDY = {"primary": "ndcg@20", "baseline": "base", "seeds": [0, 1], "correction": "holm"}


def line(method, value, p=None, gap=None, **more):
    difference = (
        None
        if gap is None
        else {"metric": "ndcg@20", "mean": gap, "low": gap - 0.01, "high": gap + 0.01, "p_adjusted": p}
    )
    return {"method": method, "mean": {"ndcg@20": value}, "difference": difference, "reference": False, **more}


@pytest.mark.parametrize(
    ("rows", "wanted", "unwanted"),
    [
        ([line("base", 0.1), line("x", 0.12, 0.2, 0.02)], "not significant, it may well be chance", "a significant"),
        ([line("base", 0.1), line("x", 0.12)], "was not tested", "significant"),
        ([line("base", 0.1), line("x", 0.12, None, 0.02)], "was not tested", "significant"),
        ([line("base", 0.1), line("x", 0.08, 0.01, -0.02)], "The other method lies significantly below", "above"),
        (
            [line("base", 0.1), line("knn", 0.2, reference=True)],
            "untrained knn reaches 0.2000, more than every",
            "significant",
        ),
        ([line("base", None)], "No trained method has a result yet", "significant"),
        ([line("base", 0.1), line("x", 0.12, 0.001, -0.02)], "not significant", "a significant"),
    ],
)
def test_the_verdict_claims_no_more_than_the_tests_do(rows, wanted, unwanted):
    text = " ".join(verdict(STUDY, rows, []))
    assert wanted in text and unwanted not in text
