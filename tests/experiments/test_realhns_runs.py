"""The reproduction of RealHNS on a tiny log: run in part, gone on with, and told beside what is published."""

import json

import pytest

from negsieve.store.run import Run

FEW = ["--seeds", "2", "--epochs", "2"]


@pytest.fixture(scope="module")
def begun(command, tiny, tmp_path_factory):
    """A folder after two methods of an ablation, started from pre-trained encoders, and what was printed."""
    out = tmp_path_factory.mktemp("out")
    command.main([*given(tiny, out), "--methods", "UNS", "+GS+CS+UF"])
    return out


def given(data, out):
    return ["--data", str(data), "--out", str(out), "--only", "table3:game", *FEW]


def record(out, name="clean-2-epochs"):
    return {one["name"]: one for one in json.loads((out / f"{name}.json").read_text())}["table3:game"]


def rows(out, name="clean-2-epochs"):
    return {row["label"]: row for row in record(out, name)["rows"]}


def test_a_partial_run_says_what_ran_beside_what_is_published(begun):
    found = rows(begun)
    assert [row["label"] for row in found.values()] == ["UNS", "DNS*", "+GS", "+GS+CS", "+GS+CS+UF"]
    assert {label for label, row in found.items() if row["verdict"] == "not run"} == {"DNS*", "+GS", "+GS+CS"}
    ours = found["+GS+CS+UF"]
    assert ours["seeds"] == 2 and 0 < ours["mean"]["ndcg@10"] < 1 and ours["sd"]["ndcg@10"] is not None
    assert ours["published"]["ndcg@10"] == 0.4047 and ours["verdict"] in ("hit", "partial", "miss")
    assert ours["groups"]["warm"]["users"] > 0 and ours["best epoch"] == [2, 2] and ours["stamps"] == []
    assert sum(ours["origins"].values()) == pytest.approx(1)
    tests = record(begun)["tests"]
    assert {(one["method"], one["against"], one["metric"]) for one in tests} == {
        ("+GS+CS+UF", "UNS", metric) for name in ("ndcg@10", "hr@10") for metric in (name, f"{name}, all items")
    }
    assert all(0 <= one["p Holm"] <= 1 for one in tests)
    page = (begun / "clean-2-epochs.md").read_text()
    assert "| 0 of 2 | - |" in page and "not run |" in page and "no reproduction" in page


def test_every_method_and_seed_starts_from_the_same_encoders(begun):
    encoders = sorted((begun / "pretrained").iterdir())
    assert [one.name.split("-")[0] for one in encoders] == ["game", "toy"]
    runs = [Run(path) for path in sorted((begun / "clean-2-epochs" / "game-sasrec_cdr-pretrained" / "runs").iterdir())]
    starts = [run.result()["started_from"] for run in runs]
    assert len(runs) == 4 and all(one == starts[0] for one in starts)
    assert {part: one["run"] for part, one in starts[0].items()} == {
        "target": str(encoders[0]), "source": str(encoders[1])
    }  # fmt: skip


def test_the_same_call_goes_on_with_what_is_missing(begun, command, tiny, capsys):
    before = {path: path.stat().st_mtime_ns for path in begun.rglob("result.json")}
    command.main([*given(tiny, begun), "--methods", "UNS", "DNS*"])
    assert "2 of 4 runs are done" in capsys.readouterr().err
    after = {path: path.stat().st_mtime_ns for path in begun.rglob("result.json")}
    assert len(after) == len(before) + 2 and before.items() <= after.items()
    found = rows(begun)
    assert {label for label, row in found.items() if row["verdict"] == "not run"} == {"+GS", "+GS+CS"}
    assert {one["against"] for one in record(begun)["tests"]} == {"UNS", "DNS*"}


def test_the_plan_and_the_tables_run_nothing(command, tiny, tmp_path, capsys):
    command.main([*given(tiny, tmp_path), "--plan"])
    told = capsys.readouterr().err
    assert "5 methods, 0 of 10 runs done" in told and "hours of one core" in told
    assert not list(tmp_path.iterdir())
    command.main([*given(tiny, tmp_path), "--tables"])
    assert {row["verdict"] for row in rows(tmp_path).values()} == {"not run"}


def test_figures_of_the_reference_are_stamped(command, tiny, tmp_path):
    few = ["--data", str(tiny), "--out", str(tmp_path), "--only", "table3:game", "--seeds", "1", "--epochs", "1"]
    command.main([*few, "--preset", "reference", "--methods", "+GS"])
    ours = rows(tmp_path, "reference-1-epochs")["+GS"]
    assert ours["stamps"] == ["chosen on test", "oracle: the sampler knew valid, test"]


def test_verdicts(command):
    from realhns_parts.figures import verdict
    from realhns_parts.published import METRICS

    def row(published, mean, **changes):
        sides = {"published": published, "mean": mean}
        own = {name: dict.fromkeys(METRICS, value) if value else value for name, value in sides.items()}
        return own | {"failed": []} | changes

    near, far = row(0.40, 0.405), row(0.39, 0.33)
    assert verdict(near, [near]) == "hit" and verdict(far, [far]) == "miss"
    assert verdict(far, [near, far]) == "partial" and verdict(far, [row(0.38, 0.34), far]) == "miss"
    assert verdict(far, [row(0.391, 0.34), far]) == "miss"  # published too near to each other for an order
    assert verdict(row(0.4, {}), []) == "not run" and verdict(row(None, 0.4), []) == "-"
    assert verdict(row(0.4, {}, failed=["no memory"]), []) == "failed: no memory"
