"""The doctor tells what is there, and what to do where something is missing."""

import os
import subprocess
import sys

import pytest

from negsieve.kernels import native
from negsieve.review.doctor import examine

compiled = pytest.mark.skipif(native.module() is None, reason="no compiled kernels here")


def test_it_tells_what_a_bug_report_needs():
    found = examine()
    assert {"python", "torch", "negsieve", "cpu"} <= found["environment"].keys()
    assert 1 <= found["cores"]["usable"] <= found["cores"]["here"]
    assert found["memory"]["free_gb"] <= found["memory"]["total_gb"]
    assert {one["what"] for one in found["speed"]} == {"draw unseen items", "rate candidates"}
    assert all(one["millions_a_second"] > 0 and one["torch"] > 0 for one in found["speed"])


@compiled
def test_the_kernels_in_use_are_among_those_here():
    kernels = examine()["kernels"]
    assert kernels["in_use"] in kernels["here"]


def test_the_command_prints_it_for_people_and_for_programs(call):
    said = call("doctor")
    assert said.code == 0 and "kernels" in said.out and "rate candidates" in said.out
    assert call("doctor", "--json").json["environment"]["torch"]


def test_without_kernels_it_says_so_and_what_to_do():
    code = "import sys; from negsieve.cli.main import main; sys.exit(main(['doctor']))"
    without = dict(os.environ) | {"NEGSIEVE_KERNELS": "off"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=without, check=True)
    assert "no compiled ones in use" in done.stdout
    assert "unset NEGSIEVE_KERNELS" in " ".join(done.stderr.split())
