"""Accuracy against CPU seconds of training: the same judge looks at every side after some epochs."""

from __future__ import annotations

import os
from dataclasses import dataclass, field

from quality import Judge
from rows import DNS, RATE, mf
from workers import Absent, Place, Worker


@dataclass(frozen=True)
class Curve:
    """One line of the plot.

    looks  after how many turns the judge looks
    """

    name: str
    peer: str
    spec: dict = field(default_factory=dict)
    looks: tuple[int, ...] = (1, 2, 4, 8, 12)
    minutes: float = 1.0


def _ours(name: str, optimiser: str, sampler: str = "uniform", *, lr: float, l2: float, looks: tuple) -> Curve:
    side = mf(name, optimiser, sampler, lr=lr)
    return Curve(name, "ours", {"work": "mf_curve", **side.spec, "l2": l2}, looks, minutes=0.5)


FEW, MANY = (1, 2, 4, 8, 12), (2, 5, 10, 20, 40, 60)
CURVES = (
    Curve("RecBole BPR, Adam", "recbole", {"work": "mf_curve"}, FEW, minutes=3),
    Curve("implicit BPR", "implicit", {"work": "mf_sgd", "lr": 0.05, "l2": 0.002}, MANY, minutes=0.7),
    Curve("cornac BPR", "cornac", {"work": "mf_sgd", "lr": 0.05, "l2": 0.002}, MANY, minutes=0.7),
    Curve("LightFM WARP", "lightfm", {"work": "mf_warp", "loss": "warp"}, (1, 2, 5, 10), minutes=0.7),
    _ours("ours, uniform, Adam as RecBole", "adam", lr=1e-3, l2=0.0, looks=FEW),
    _ours("ours, uniform, SGD", "online_sgd", lr=RATE, l2=0.002, looks=MANY),
    _ours("ours, DNS 16, SGD", "online_sgd", DNS, lr=2 * RATE, l2=0.02, looks=MANY),
    _ours("ours, DNS 16, Adam", "adam", DNS, lr=4e-3, l2=1e-4, looks=(1, 2, 5, 10, 20)),
)


def draw_curve(curve: Curve, place: Place, judge: Judge) -> dict:
    """Points of (epochs, CPU seconds of training, Recall, NDCG); or why there are none."""
    points, seconds, load = [], 0.0, os.getloadavg()[0]
    try:
        with Worker(curve.peer, f"curve {curve.name}", curve.spec, place=place) as worker:
            for turn in range(1, curve.looks[-1] + 1):
                seconds += worker.go()["cpu"]
                if turn in curve.looks:
                    points.append({"epochs": turn, "cpu": round(seconds, 3), **judge.of_worker(worker)})
                    print(f"  {points[-1]}", flush=True)
    except Absent as reason:
        print(f"  {reason}", flush=True)
        return {"absent": str(reason), "load": load, "points": points}
    return {"load": load, "points": points}
