"""Makes the environments of the peers, one each, so that their pins do not meet ours.

    python benchmarks/peers/environments.py [--only recbole implicit] [--at .venv-peers]

A peer that cannot be installed on a machine is named, with the log of pip, and its rows say so.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
TORCH = "torch==2.13.0"  # asked for first and alone: what a peer requires would else bring another build
PEERS = {
    "recbole": ([TORCH], ["recbole==1.2.1"]),
    "implicit": (["implicit==0.7.3"],),
    "cornac": (["cornac==3.0.1"],),
    "lightfm": (["rectools-lightfm==1.17.3"],),
    "lenskit": ([TORCH], ["lenskit==2025.8.1"]),
}


def python_of(peer: str, at: Path) -> Path:
    """The interpreter of a peer's environment."""
    return at / peer / "bin" / "python"


def installed(peer: str, at: Path) -> bool:
    """Whether a peer's environment was made to its end."""
    return (at / peer / "installed").exists()


def make(peer: str, at: Path) -> bool:
    """Makes a peer's environment unless it is there; returns whether it works."""
    if installed(peer, at):
        return True
    at.mkdir(parents=True, exist_ok=True)
    log = at / f"{peer}.log"
    commands = [[sys.executable, "-m", "venv", str(at / peer)]]
    commands += [[str(python_of(peer, at)), "-m", "pip", "install", *packages] for packages in PEERS[peer]]
    with log.open("w") as out:
        if any(subprocess.run(command, stdout=out, stderr=out).returncode for command in commands):
            print(f"{peer}: cannot be installed here, see {log}")
            return False
    (at / peer / "installed").write_text("\n".join(" ".join(packages) for packages in PEERS[peer]) + "\n")
    print(f"{peer}: {at / peer}")
    return True


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=list(PEERS), default=list(PEERS))
    parser.add_argument("--at", type=Path, default=ROOT / ".venv-peers")
    args = parser.parse_args()
    for peer in args.only:
        make(peer, args.at)


if __name__ == "__main__":
    main()
