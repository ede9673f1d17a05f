"""A sampler in a package of its own installs, is found by name, and keeps the contract."""

from __future__ import annotations

import importlib
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from negsieve.errors import UsageError
from negsieve.rng import streams
from negsieve.samplers.named import find
from negsieve.samplers.plugins import plugins
from negsieve.seen import Seen
from negsieve.spec import bind, parse, resolve
from negsieve.testing.check_sampler import check_sampler

SHOP = Path(__file__).with_name("shop_sampler")


@pytest.fixture(scope="module")
def installed(tmp_path_factory) -> Path:
    """The package, built and installed by pip into a folder of its own."""
    target = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation", "--no-index"]
    done = subprocess.run([*command, "--target", str(target), str(SHOP)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return target


@pytest.fixture
def shop(installed, monkeypatch):
    """The folder is on the path for one test, and forgotten after it."""
    monkeypatch.syspath_prepend(installed)
    importlib.invalidate_caches()
    yield
    sys.modules.pop("shop_sampler", None)


@pytest.fixture
def seen() -> Seen:
    rng = streams("shop")
    return Seen(
        torch.randint(20, (300,), generator=rng), torch.randint(50, (300,), generator=rng), n_users=20, n_items=50
    )


def test_it_is_listed_without_being_imported(shop):
    assert plugins()["nearby"].value == "shop_sampler:nearby"
    assert "shop_sampler" not in sys.modules


@pytest.mark.parametrize("text", ["nearby", "Nearby:k=6,m=2", "shop_sampler:nearby:width=9,k=5"])
def test_it_is_built_from_what_a_user_types_and_keeps_the_contract(shop, seen, text):
    spec = parse(text)
    offers = {"n_items": 50, "n_users": 20, "seen": seen}
    report = check_sampler(lambda: bind(find(spec.name, allow_import=True), spec, offers), seen=seen)
    assert report.n_negatives == int(spec.params.get("m", 1)) and not report.deterministic


def test_its_bare_class_keeps_the_contract_too(shop):
    spec = parse("shop_sampler:Nearby:width=5,k=4")
    report = check_sampler(lambda: bind(resolve(spec, {}, allow_import=True), spec, {"n_items": 50}))
    assert report.n_negatives == 4


def test_without_it_the_name_is_unknown():
    assert "nearby" not in plugins()
    with pytest.raises(UsageError, match="there is no sampler 'nearby'"):
        find("nearby")
