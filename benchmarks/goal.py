"""Recall@20 of .16 on Gowalla with one command, from a Parquet file to a finished run: CPU seconds of all of it."""

from __future__ import annotations

import json
import os
import re
import resource
import subprocess
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path

from workers import Place, pinned

TARGET = {"recall@20": 0.16, "cpu": 30.0}
SETTINGS = (
    "--model",
    "mf:dim=64",
    "--sampler",
    "dns:candidates=16",
    "--epochs",
    "22",
    "--lr",
    "linear:0.15:0.015:22",
    "--l2",
    "0.03",
    "--set",
    "train.optimiser=online_sgd",
)
# Gowalla's split has no validation part; what is wanted is Recall@20, not the AUC of all pairs beside it
PLAIN = ("--set", "train.patience=0", "--set", "evaluate.test_metrics=[]")
MINUTES = 1.0


def command(source: str) -> list[str]:
    """What a user types, after the name of the program."""
    return ["train", source, *SETTINGS, *PLAIN]


def reach(data: Path, place: Place) -> dict:
    """Runs the command in a process of its own and reads its result."""
    before, load = resource.getrusage(resource.RUSAGE_CHILDREN), os.getloadavg()[0]
    with tempfile.TemporaryDirectory() as folder:
        out, log = Path(folder) / "run", place.cache / "goal.log"
        asked = [sys.executable, "-m", "negsieve", *command(str(data)), "--out", str(out)]
        with log.open("w") as file:
            ended = subprocess.run(asked, env=pinned(place.threads), stdout=file, stderr=file, cwd=folder)
        if ended.returncode:
            return {"absent": f"ended with {ended.returncode}: {log.read_text()[-300:]}"}
        result = json.loads((out / "result.json").read_text())
        most = re.search(r"memory (\d+) MB at most", (out / "log.txt").read_text())
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": "negsieve " + " ".join(command("gowalla/interactions.parquet")),
        "cpu": round(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, 2),
        "peak_mb": int(most[1]),
        "metrics": {name: result["metrics"]["test"][name] for name in ("recall@20", "ndcg@20")},
        "epochs": result["epochs"],
        "target": TARGET,
        "load": round(load, 2),
    }
