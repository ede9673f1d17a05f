"""Kill a toy training at every I/O call: resuming gives the same bytes (promises 2 and 5)."""

import os

import torch

from negsieve.store.atomic import whole_folder, write_text
from negsieve.store.checkpoint import pack_optimiser, unpack_optimiser
from negsieve.store.run import Run
from negsieve.testing.crash import every_crash, kill_at, points

EPOCHS = 2


def train(path):
    run = Run.create(path / "run", config={"epochs": EPOCHS}, env={"device": "cpu"})
    with run.lock():
        weight = torch.nn.Parameter(torch.ones(4))
        optimiser = torch.optim.Adam([weight], lr=0.1)
        epoch, best, found = 0, float("inf"), run.load_latest()
        if found is not None:
            weight.data.copy_(found.groups["model"]["weight"])
            unpack_optimiser(optimiser, found.groups["optimiser"], found.state["optimiser"])
            epoch, best = found.state["epoch"] + 1, found.state["best"]
        run.truncate_metrics(epoch - 1)
        for now in range(epoch, EPOCHS):
            weight.grad = torch.sin(weight.detach() + now)
            optimiser.step()
            loss = float(weight.detach().square().sum())
            run.append_metrics({"epoch": now, "loss": loss})
            model = {"weight": weight}
            if loss < best:
                best = loss
                run.save_best(now, {"model": model}, {"epoch": now})
            tensors, state = pack_optimiser(optimiser)
            run.save(now, {"model": model, "optimiser": tensors}, {"epoch": now, "best": best, "optimiser": state})
        if not run.finished:
            run.finish({"best": run.load_best().state, "final": weight.tolist(), "records": run.metrics()})


def content(folder):
    return {
        str(one.relative_to(folder)): one.read_bytes()
        for one in folder.rglob("*")
        if one.is_file() and one.name not in ("lock", "log.txt")
    }


def test_every_crash_point_resumes_to_the_same_bytes(tmp_path):
    train(tmp_path / "warm")  # its imports, which each child would else repeat
    trials, expected = 0, None
    for crash in every_crash(train, folder=tmp_path):
        expected = expected or content(tmp_path / "whole")
        assert content(crash.folder) == expected, crash
        trials += 1
    assert trials > 80
    assert len([name for name in expected if name.endswith("manifest.json")]) == 3


def test_a_file_and_a_folder_are_the_old_or_the_new_at_every_crash_point(tmp_path):
    """Promise 14: what reports and exports go through leaves no part under a final name."""

    def work(path):
        for text in ("old" * 1000, "new" * 1000):
            write_text(path / "report.html", text)
            with whole_folder(path / "out", replace=True) as temporary:
                (temporary / "a").write_text(text)
                (temporary / "b").write_text(text)

    def state(path):
        report, out = path / "report.html", path / "out"
        return (
            report.read_text()[:3] + str(report.stat().st_size) if report.exists() else None,
            tuple((out / name).read_text()[:3] for name in sorted(os.listdir(out))) if out.exists() else None,
        )

    good = {(a, b) for a in (None, "old3000", "new3000") for b in (None, ("old", "old"), ("new", "new"))}
    (tmp_path / "count").mkdir()
    calls = points(lambda: work(tmp_path / "count"))
    assert len(calls) > 20
    for point, call in enumerate(calls):
        for torn in (False, True) if call == "write" else (False,):
            path = tmp_path / f"{point}-{torn}"
            path.mkdir()
            assert kill_at(lambda path=path: work(path), point, torn=torn)
            assert state(path) in good, (point, torn)
