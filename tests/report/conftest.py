"""Run and study folders made by script, in the form that training and comparing leave behind."""

import json
import math
import sys
from types import SimpleNamespace

import numpy as np
import pytest

from negsieve.store.run import Run

METRICS = ("ndcg@20", "recall@20", "hr@20", "mrr@20")
METHODS = {
    "mf/uniform/bpr": (0.0702, 0.0041),
    "mf/popularity:alpha=0.75/bpr": (0.0688, 0.0092),
    "mf/dns:candidates=16/bpr": (0.0818, 0.0213),
    "mf/dns_mn:m=8,n=32/bpr": (0.0831, 0.0148),
    "mf/pdns:candidates=16/bpr": (0.0826, 0.0156),
    "lightgcn/uniform/bpr": (0.0775, 0.0044),
    "lightgcn/dns_mn:m=8,n=32/bpr": (0.0872, 0.0161),
}
DATA = {"name": "online-retail", "hash": "9f31c2d4e5a60718", "users": 4074, "items": 3145, "interactions": 250_312}
DATA["split"] = {"kind": "ratio", "train": 0.8, "valid": 0.1, "test": 0.1}


def values(top, shift=0.0):
    return {name: round(top * scale + shift, 5) for name, scale in zip(METRICS, (1, 1.9, 3.1, 0.8), strict=True)}


def make_run(path, *, method="mf/dns_mn:m=8,n=32/bpr", seed=0, epochs=60, finish=True, name=None):
    """A run folder with smooth, plausible curves."""
    model, sampler, loss = method.split("/")
    top, rate = METHODS.get(method, (0.08, 0.01))
    rng = np.random.default_rng(seed + len(method))
    config = {
        "data": "online-retail",
        "model": {"name": model, "dim": 64},
        "sampler": sampler,
        "loss": loss,
        "seed": seed,
    }
    config["train"] = {"optimiser": "adam", "lr": 0.001, "l2": 0.0001, "batch": 2048, "epochs": epochs}
    run = Run.create(path, config=config, data=DATA)
    for epoch in range(epochs):
        done = 1 - math.exp(-(epoch + 1) / 14)
        record = {
            "epoch": epoch,
            "step": 98 * (epoch + 1),
            "loss": 0.69 - 0.45 * done + 0.01 * rng.random(),
            "penalty": 0.002 * done,
            "false_negative_rate": rate * (0.3 + 0.9 * done) + 0.0004 * rng.random(),
            "hardness": 50 + 38 * done * (rate > 0.01),
            "dead_rows": 0.6 * done**2,
            "coverage": 1 - 0.3 * done,
            "popularity": 80.0,
            "seconds": {"encode": 0.02, "sample": 0.11, "backward": 0.09, "optimise": 0.05, "validate": 0.03},
        }
        if epoch % 5 == 4:
            record["valid"] = values(top * done, 0.001 * rng.random())
        run.append_metrics(record)
    if finish:
        run.finish(result(run.path.name, method, seed, epochs, top, rate, name or f"{method}, seed {seed}"))
    return run


def result(folder, method, seed, epochs, top, rate, name):
    model, sampler, loss = method.split("/")
    groups = {
        "warm": {"users": 3800, "pairs": 24_011, "metrics": values(top * 1.03)},
        "cold": {"users": 61, "pairs": 240, "metrics": values(top * 0.2)},
    }
    return {
        "run": folder,
        "name": name,
        "model": model,
        "sampler": sampler,
        "loss": loss,
        "seed": seed,
        "best_epoch": epochs - 6,
        "epochs": epochs,
        "selection": {"metric": "ndcg@20", "part": "valid"},
        "metrics": {"valid": values(top * 1.02), "test": values(top)},
        "groups": {"test": groups},
        "false_negative_rate": rate,
        "diagnostics": {
            "false_negative_rate": rate,
            "hardness": 87.123456,
            "dead_rows": 0.55,
            "coverage": 0.71,
            "popularity": 80.2,
        },
        "seconds": 18.4,
        "data_hash": DATA["hash"],
    }


def row(method, seeds, *, reference=False, difference=None, missing=(), top=None, rate=None):
    model, sampler, loss = method.split("/") if not reference else (method, None, None)
    known = METHODS.get(method, (top, rate))
    top, rate = top if top is not None else known[0], rate if rate is not None else known[1]
    return {
        "method": method,
        "model": model,
        "sampler": sampler,
        "loss": loss,
        "seeds": list(seeds),
        "missing": list(missing),
        "mean": values(top),
        "sd": None if reference else dict.fromkeys(METRICS, 0.0007),
        "difference": difference,
        "false_negative_rate": None if reference else {"mean": rate, "sd": 0.0004},
        "seconds": {"mean": 0.2 if reference else 18.4, "sd": None if reference else 0.3},
        "reference": reference,
        "runs": [],
    }


def make_study(folder, *, epochs=40, hostile=""):
    """A study of seven methods, three seeds, two reference lines and one failed run."""
    folder.mkdir(parents=True, exist_ok=True)
    seeds, rows = [0, 1, 2], []
    for place, method in enumerate(METHODS):
        lost = [{"seed": 2, "why": "NonFiniteLoss: loss became NaN in step 812"}] if place == 4 else []
        done = seeds[:2] if lost else seeds
        gap = METHODS[method][0] - METHODS["mf/uniform/bpr"][0]
        p = 0.21 if abs(gap) < 0.002 else 0.0004
        difference = {
            "metric": "ndcg@20",
            "mean": gap,
            "low": gap - 0.0021,
            "high": gap + 0.0019,
            "p": p / 6,
            "p_adjusted": p,
        }
        one = row(method, done, difference=difference if place else None, missing=lost)
        for seed in done:
            name = f"runs/{place}-{seed}"
            make_run(folder / name, method=method, seed=seed, epochs=epochs)
            one["runs"].append(name)
        rows.append(one)
    rows.append(row("popularity", [], reference=True, top=0.0312))
    rows.append(row("itemknn", [], reference=True, top=0.0794))
    study = {
        "name": f"Which negatives help on online-retail?{hostile}",
        "created": "2026-11-21",
        "data": DATA,
        "seeds": seeds,
        "baseline": "mf/uniform/bpr",
        "primary": "ndcg@20",
        "test": "paired t-test over users, mean of seeds",
        "correction": "holm",
        "metrics": list(METRICS),
        "budget": {"epochs": epochs, "settings tried a method": 1, "patience": 10},
    }
    (folder / "study.json").write_text(json.dumps(study))
    (folder / "table.json").write_text(json.dumps({"rows": rows}))
    return folder


@pytest.fixture
def make():
    return SimpleNamespace(run=make_run, study=make_study, row=row, values=values)


@pytest.fixture(scope="session")
def finished_study(tmp_path_factory):
    return make_study(tmp_path_factory.mktemp("finished") / "study", epochs=10)


if __name__ == "__main__":
    from pathlib import Path

    from negsieve.report import run_page, study_page

    target = Path(sys.argv[1])
    print(study_page(make_study(target / "study")))
    print(run_page(target / "study" / "runs" / "3-0"))
    print(run_page(make_run(target / "unfinished", finish=False, epochs=7).path))
