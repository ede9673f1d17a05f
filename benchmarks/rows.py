"""What is compared: a row is one piece of work, done by us and by each peer in turn on Gowalla, d 64, batch 2048.

The order of the sides in a row is the order of their turns. ``target`` is what the project set itself, ours
against that peer, in CPU seconds at one thread.
"""

from __future__ import annotations

from dataclasses import dataclass, field

DIM, BATCH = 64, 2048
RATE = 0.05  # of SGD that takes a step a pair; for the mean of a batch BATCH times that moves a row as far
DNS = "dns:candidates=16"


@dataclass(frozen=True)
class Side:
    """Who works, and how.

    peer    whose environment and runner; "ours" and "loops" run in our own environment
    name    what the table calls it
    spec    settings for the runner
    target  times that ours should be faster than this side, by the name of ours
    """

    peer: str
    name: str
    spec: dict = field(default_factory=dict)
    target: dict = field(default_factory=dict)

    @property
    def ours(self) -> bool:
        return self.peer == "ours"


@dataclass(frozen=True)
class Row:
    """One comparison.

    work     what the runners call it
    unit     what one unit of work is, in words
    sides    who takes turns
    rounds   turns of every side that count, after one to warm up
    given    whether the sides work on vectors that the driver hands them
    trained  whether Recall and NDCG of what was trained stand beside it
    minutes  about how long it takes, for the plan that is printed
    """

    name: str
    title: str
    work: str
    unit: str
    sides: tuple[Side, ...]
    rounds: int = 5
    given: bool = False
    trained: bool = True
    minutes: float = 1.0


def mf(name: str, optimiser: str, sampler: str = "uniform", *, lr: float = 1e-3) -> Side:
    model = f"mf:dim={DIM},init=xavier_uniform"
    spec = {"model": model, "sampler": sampler, "loss": "bpr", "lr": lr, "train": {"optimiser": optimiser}}
    return Side("ours", name, spec)


def graph(name: str, precision: str, sampler: str = "uniform", *, batches: int = 6) -> Side:
    model = f"lightgcn:dim={DIM},layers=3,init=xavier_uniform"
    spec = {"model": model, "sampler": sampler, "loss": "bpr", "train": {"precision": precision}, "batches": batches}
    return Side("ours", name, spec)


ROWS = (
    Row(
        "mf-adam",
        "BPR-MF, uniform negatives, Adam",
        "mf_adam",
        "one epoch",
        (
            mf("ours", "adam"),
            Side("recbole", "RecBole", target={"ours": 20}),
            Side("loops", "torch loop"),
            Side("lenskit", "LensKit"),
        ),
        minutes=3,
    ),
    Row(
        "mf-sgd",
        "BPR-MF, uniform negatives, SGD",
        "mf_sgd",
        "one epoch",
        (
            mf("ours", "online_sgd", lr=RATE),
            mf("ours, a step a batch", "sgd", lr=RATE * BATCH),
            Side("implicit", "implicit", {"lr": RATE, "l2": 0.002}, target={"ours": 2.5}),
            Side("cornac", "cornac", {"lr": RATE, "l2": 0.002}, target={"ours": 2.5}),
            Side("lightfm", "LightFM"),
        ),
        minutes=1,
    ),
    Row(
        "mf-dns",
        "BPR-MF, DNS of 16 candidates",
        "mf_dns",
        "one epoch",
        (
            mf("ours, Adam", "adam", DNS),
            mf("ours, sparse Adam", "sparse_adam", DNS),
            mf("ours, SGD", "online_sgd", DNS, lr=RATE),
            Side(
                "recbole",
                "RecBole",
                {"candidates": 16},
                target={"ours, Adam": 30, "ours, sparse Adam": 30, "ours, SGD": 30},
            ),
        ),
        minutes=4,
    ),
    Row(
        "lightgcn",
        "LightGCN of 3 layers, uniform negatives",
        "lightgcn",
        "one epoch",
        (
            graph("ours", "fp32"),
            graph("ours, bf16 states", "bf16"),
            Side("recbole", "RecBole", {"batches": 6}, target={"ours": 8, "ours, bf16 states": 12}),
            Side("loops", "torch loop", {"batches": 6}),
        ),
        minutes=2.5,
    ),
    Row(
        "lightgcn-dns",
        "LightGCN of 3 layers, DNS of 16 candidates",
        "lightgcn_dns",
        "one epoch",
        (
            graph("ours", "fp32", DNS),
            graph("ours, bf16 states", "bf16", DNS),
            Side("recbole", "RecBole", {"candidates": 16, "batches": 6}, target={"ours": 10, "ours, bf16 states": 15}),
        ),
        minutes=2,
    ),
    Row(
        "sampling",
        "uniform negatives, exact, one a positive",
        "sample",
        "810,128 draws",
        (
            Side("ours", "ours", {"negatives": 1}),
            Side("ours", "ours, a user at a time", {"negatives": 1, "order": "users"}),
            Side(
                "loops",
                "LightGCN's way: C++ by pybind11, positives drawn too",
                {"how": "triples", "negatives": 1},
                target={"ours": 4, "ours, a user at a time": 4},
            ),
            Side("loops", "C++ loop with rand(), a user at a time", {"how": "rand", "negatives": 1}),
            Side("recbole", "RecBole", {"negatives": 1, "draws": 204_800}, target={"ours": 15}),
            Side("loops", "Python loop over sets", {"how": "sets", "negatives": 1, "draws": 204_800}),
        ),
        rounds=7,
        trained=False,
        minutes=0.5,
    ),
    Row(
        "evaluate",
        "full ranking of all users, Recall and NDCG",
        "evaluate",
        "all 29,858 users",
        (
            Side("ours", "ours"),
            Side("implicit", "implicit", target={"ours": 2.5}),
            Side("recbole", "RecBole", target={"ours": 5}),
        ),
        given=True,
        trained=False,
        minutes=2.5,
    ),
    Row(
        "top-1000",
        "the best 1000 unseen items of every user",
        "top",
        "all 29,858 users",
        (
            Side("ours", "ours", {"k": 1000}),
            Side("loops", "torch mm + topk", {"k": 1000, "users": 8192}, target={"ours": 4}),
        ),
        given=True,
        trained=False,
        minutes=1,
    ),
)
