"""Every method side by side: equal tuning trials, equal score evaluations, several seeds, paired tests.

    python benchmarks/study.py --data FOLDER [--sets ml-100k] [--only dns pdns] [--jobs 2]

FOLDER holds the data sets. One model (MF, d 32), Adam. Every method gets the same number of trials, each a
whole run on seed 0: its one knob at two values, with two strengths of L2; a method without a knob has two
learning rates instead, one on the cosine (which L2 hardly moves) four temperatures. The trial with the best
ndcg@20 on validation then runs on all seeds. No run may spend more than ``--budget`` score evaluations a
positive (with gradient or without, the positive's own included), so a method that rates 65 items a positive
gets a fifth of the epochs of one that rates 13; every run may stop earlier, after ``PATIENCE`` validations
without a gain. Differences are tested per user against tuned BPR with uniform negatives. Popularity, ItemKNN
and EASE, tuned on validation too, stand beside them.

The summary goes to ``<out>/<set>.json``, the table to standard output. Stopped, it goes on where it was.
"""

from __future__ import annotations

import argparse
import json
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from functools import cache
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import torch
from pyarrow import parquet

import negsieve
from negsieve.config import DataConfig
from negsieve.evaluation import significance
from negsieve.evaluation.evaluator import Evaluator
from negsieve.study.table import measure_references, read_per_user

PATIENCE, METRIC, BASELINE = 3, "ndcg@20", "bpr"
SPLITS = {
    "ml-100k": {"split": {"method": "ratio"}},
    "online-retail-kitchen": {},
    "dens-toy": {"split": {"valid_from_train": 0.1}},
}
VALIDATE = {"ml-100k": 1, "online-retail-kitchen": 2, "dens-toy": 3}
BATCH = {"ml-100k": 2048, "online-retail-kitchen": 2048, "dens-toy": 2048}
PLAIN, COSINE = "mf:dim=32", "mf:dim=32,similarity=cosine"
L2 = (0.01, 0.04)
RATES = (0.005, 0.02)
RATE = 0.01


@dataclass(frozen=True)
class Method:
    """How a method is tuned. ``{}`` in ``sampler`` or ``loss`` takes the knob's value.

    ``whole``: the loss goes over all items, and is outside the budget of evaluations; tables mark it.
    """

    sampler: str
    loss: str = "auto"
    knob: tuple[float | str, ...] = ()
    model: str = PLAIN
    l2: tuple[float, ...] = L2
    rate: float = RATE
    batch: int | None = None
    whole: bool = False

    def trials(self) -> list[dict]:
        """As many for every method: the arguments of ``negsieve.train`` that differ."""
        knobs = [(value, self.rate) for value in self.knob] or [("", rate) for rate in RATES]
        return [
            {
                "model": self.model,
                "sampler": self.sampler.format(knob),
                "loss": self.loss.format(knob),
                "lr": rate,
                "l2": l2,
            }
            for knob, rate in knobs
            for l2 in self.l2
        ]


WEAK = (0.0, 0.001)
SOFTMAX = {"knob": (0.05, 0.1, 0.2, 0.4), "model": COSINE, "l2": (0.0,)}
METHODS = {
    "bpr": Method("uniform"),
    "bpr, 8 negatives": Method("uniform:n_negatives=8"),
    "popularity": Method("popularity:alpha={}", knob=(0.25, 0.75)),
    "dns": Method("dns:candidates={}", knob=(4, 12)),
    "dns_mn": Method("dns_mn:n=32,m={}", knob=(4, 8)),
    "softmax_v": Method("softmax_v:n=32,rho={}", knob=(0.1, 1.0)),
    "softmax": Method("shared:n_negatives=64", "softmax:temperature={}", **SOFTMAX),
    "in_batch": Method("in_batch", "softmax:temperature={},correct=log_q", batch=256, **SOFTMAX),
    "pdns": Method("pdns:candidates=16,beta={}", knob=(0.1, 0.3), l2=(0.001, 0.004), rate=0.03),
    "warp": Method("warp:tries={}", knob=(8, 32)),
    "ahns": Method("ahns:candidates=16,beta={}", knob=(0.1, 0.4)),
    "bns": Method("bns:candidates={}", knob=(5, 12)),
    "aobpr": Method("aobpr:lam={}", knob=(200, 500)),
    "curriculum": Method("curriculum:candidates=16,epochs={}", knob=(20, 60)),
    "dns_band": Method("dns_band:n=32,low={},high=0.3", knob=(0.03, 0.1)),
    "amns": Method("amns:uniform=96,popular=32,n_negatives=32", "softmax:temperature={}", **SOFTMAX),
    "srns": Method("srns:size={}", knob=(4, 8)),
    "nscaching": Method("nscaching:temperature={}", knob=(0.5, 2.0)),
    "gdns": Method("gdns:n_negatives=8,positives={}", knob=(4, 16)),
    "adasir_u": Method("adasir_u:pool_correction={}", knob=("none", "plus")),
    "adasir_p": Method("adasir_p:pool_correction={}", knob=("none", "plus")),
    "pris": Method("pris:proposal={}", knob=("uniform", "popularity")),
    "cluster": Method("cluster:n_negatives=64,clusters=32,temperature={0}", "softmax:temperature={0}", **SOFTMAX),
    "mns": Method("mns:n_negatives=128", "softmax:temperature={},correct=log_q", batch=256, **SOFTMAX),
    "cbns": Method("cbns:size=512", "softmax:temperature={},correct=log_q", batch=256, **SOFTMAX),
    "dins": Method("dins:candidates=16,alpha={}", knob=(2.0, 9.5)),
    "dens": Method("dens:candidates={},weight=ramp:1:30", knob=(4, 12)),
    "ans": Method("ans:candidates={}", knob=(4, 12)),
    "augns": Method("augns:eps={}", knob=(0.1, 0.3)),
    "kbgan": Method("kbgan:temperature={}", knob=(0.5, 1.0)),
    "irgan": Method("irgan:temperature={},every=5", knob=(0.5, 1.0)),
    "advir": Method("advir:candidates=30,temperature={}", knob=(0.5, 1.0)),
    "adv_infonce": Method("adv_infonce:temperature={},max_pairs=20000", **SOFTMAX),
    "apr": Method("apr", "apr:eps={},adv_weight=1", knob=(0.1, 0.5)),
    "hard_bpr": Method("dns:candidates=12", "hard_bpr:c={}", knob=(0.5, 1.0)),
    "bce": Method("uniform:n_negatives=8", "bce"),
    "gbce": Method("uniform:n_negatives=32", "gbce:t={}", knob=(0.5, 0.9)),
    "ccl": Method("uniform:n_negatives=64", "ccl:margin={},weight=64", knob=(0.4, 0.8), model=COSINE, l2=WEAK),
    "sl": Method("uniform:n_negatives=64", "sl:temperature={}", **SOFTMAX),
    "psl": Method(
        "uniform:n_negatives=64", "psl:activation={},temperature=0.1", **SOFTMAX | {"knob": ("tanh", "relu")}
    ),
    "sl_at_k": Method("sl_at_k:n_negatives=64", "sl_at_k:temperature={}", **SOFTMAX),
    "hard_softmax": Method("uniform:n_negatives=64", "hard_softmax:temperature={},tau_plus=0.01", **SOFTMAX),
    "llpauc": Method("uniform:n_negatives=32", "llpauc:beta={}", knob=(0.1, 0.3)),
    "full_softmax": Method("none", "full_softmax:temperature={}", whole=True, **SOFTMAX),
    "enmf": Method("none", "enmf:c0={}", knob=(0.02, 0.1), l2=WEAK, whole=True),
}


@cache
def dataset(folder: Path, name: str):
    """A data set by its folder's name; ``<folder>-<domain>`` is one domain of it."""
    if not (folder / name).exists():
        whole, _, domain = name.rpartition("-")
        log = parquet.read_table(folder / whole / "interactions.parquet", filters=[("domain", "==", domain)])
        return negsieve.load_data(log, config=DataConfig(**{"source": name} | SPLITS[name]))
    return negsieve.load_data(str(folder / name), config=DataConfig(**{"source": name} | SPLITS[name]))


def run(folder: Path, name: str, method: Method, trial: dict, *, seed: int, epochs: int, out: Path) -> dict:
    """One run, or its result if it was done before."""
    torch.set_num_threads(1)
    train = {
        "patience": PATIENCE,
        "validate_every": VALIDATE[name],
        "metric": METRIC,
        "device": "cpu",
        "threads": 1,
        "checkpoint_seconds": 30,
    }
    return negsieve.train(
        dataset(folder, name),
        **trial,
        epochs=epochs,
        batch_size=method.batch or BATCH[name],
        seed=seed,
        settings={"train": train, "evaluate": {"metrics": [METRIC, "recall@20"], "test_metrics": []}},
        out=out,
    )


def price(folder: Path, name: str, method: Method, trial: dict) -> float:
    """Score evaluations a positive, measured: selecting, training, observing, and its share of the refreshes."""
    data = dataset(folder, name)
    told = {key: trial[key] for key in ("model", "sampler", "loss")}
    settings = {"train": {"batch_size": method.batch or BATCH[name]}}
    found = negsieve.explain(data=data, **told, settings=settings)
    cost = found["cost"]
    per_row = cost["without_gradient"] + cost["with_gradient"] + cost["observing"]
    return per_row + found["epoch"]["later"] / len(data.train)


def tune(folder: Path, name: str, label: str, args) -> tuple[str, dict]:
    """All trials of a method on seed 0, then the best on every seed."""
    method, root = METHODS[label], args.out / name / label.replace(", ", "-").replace(" ", "-")
    costs = [price(folder, name, method, trial) for trial in method.trials()]
    epochs = [100 if method.whole else max(1, int(args.budget // cost)) for cost in costs]
    found = [
        run(folder, name, method, trial, seed=0, epochs=epochs[number], out=root / f"trial-{number}")
        for number, trial in enumerate(method.trials())
    ]
    scores = [one["metrics"]["valid"][METRIC] for one in found]
    best = int(np.argmax(scores))
    chosen, results = method.trials()[best], [found[best]]
    for seed in range(1, args.seeds):
        out = root / f"best-{best}-seed-{seed}"
        results.append(run(folder, name, method, chosen, seed=seed, epochs=epochs[best], out=out))
    summary = {
        "chosen": chosen,
        "valid": scores,
        "cost": costs[best],
        "most_epochs": epochs[best],
        "runs": [one["run"] for one in results],
        "epochs": [one["epochs"] for one in results],
        "best_epoch": [one["best_epoch"] for one in results],
        "false_negative_rate": [one["false_negative_rate"] for one in results],
        "hardness": [one["diagnostics"]["hardness"] for one in results],
        "seconds": [one["seconds"] for one in results],
        "all_seconds": sum(one["seconds"] for one in [*found, *results[1:]]),
    }
    for metric in (METRIC, "recall@20"):
        summary[metric] = [one["metrics"]["test"][metric] for one in results]
    return label, summary


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--sets", nargs="+", default=list(SPLITS), choices=list(SPLITS))
    parser.add_argument("--only", nargs="+", help="methods by their labels; all by default")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--budget", type=int, default=4000, help="score evaluations a positive that a run may spend")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--out", type=Path, default=Path("studies/all"))
    args = parser.parse_args()
    labels = [label for label in METHODS if args.only is None or label in args.only]
    for name in args.sets:
        file = args.out / f"{name}.json"
        found = json.loads(file.read_text()) if file.exists() else {"methods": {}}
        with ProcessPoolExecutor(args.jobs, mp_context=get_context("spawn")) as pool:
            work = [pool.submit(tune, args.data, name, label, args) for label in labels]
            for one in as_completed(work):
                label, summary = one.result()
                found["methods"][label] = summary
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_text(json.dumps(found, indent=2) + "\n")
                print(f"{name} {label}: {np.mean(summary[METRIC]):.4f}", flush=True)
        data = dataset(args.data, name)
        if "references" not in found:
            evaluator = Evaluator(data, metrics=(METRIC, "recall@20"))
            found["references"] = measure_references(data, evaluator, metric=METRIC)
        found["tests"] = compare(found["methods"])
        file.write_text(json.dumps(found, indent=2) + "\n")
        print_table(name, found)


def compare(methods: dict) -> dict:
    """Every method against tuned BPR, per user, Holm-corrected: label -> difference and p."""
    per_user = {label: [read_per_user(Path(run), METRIC) for run in one["runs"]] for label, one in methods.items()}
    if BASELINE not in per_user or len(per_user) < 2:
        return {}
    rows = significance.against_baseline(per_user, BASELINE, metric=METRIC)
    return {
        row.method: {"difference": row.against.difference, "p": row.p_holm} for row in rows if row.against is not None
    }


def print_table(name: str, found: dict) -> None:
    print(f"\n{name}\n")
    print("| method | ndcg@20 | recall@20 | against BPR | p | FN rate | best epoch | cost | seconds | chosen |")
    print("|---|--:|--:|--:|--:|--:|--:|--:|--:|---|")
    rows = sorted(found["methods"].items(), key=lambda one: -np.mean(one[1][METRIC]))
    for label, one in rows:
        test = found["tests"].get(label)
        against = f"{test['difference']:+.4f} | {test['p']:.2g}" if test else "- | -"
        chosen = one["chosen"]
        print(
            f"| {label} | {np.mean(one[METRIC]):.4f} ± {np.std(one[METRIC], ddof=1):.4f} | "
            f"{np.mean(one['recall@20']):.4f} | {against} | {_share(one['false_negative_rate'])} | "
            f"{np.mean(one['best_epoch']):.0f} | {one['cost']:.0f} | {np.mean(one['seconds']):.0f} | "
            f"{chosen['sampler']} {chosen['loss']} lr={chosen['lr']:g} l2={chosen['l2']:g} |"
        )
    for label, metrics in found["references"].items():
        print(f"| {label}, untrained | {metrics[METRIC]:.4f} | {metrics['recall@20']:.4f} | - | - | - | - | - | - | |")


def _share(rates: list[float | None]) -> str:
    """The mean of shares; a method that draws no negatives has none."""
    return "-" if None in rates else f"{np.mean(rates):.2%}"


if __name__ == "__main__":
    main()
