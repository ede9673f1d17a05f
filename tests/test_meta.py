"""Nothing public without a page and a test: methods, losses, and the parts that methods are made of."""

from __future__ import annotations

import ast
import importlib
import inspect
import re
from pathlib import Path

import pytest

import negsieve.samplers
from negsieve.config import setting_names
from negsieve.losses import LOSSES
from negsieve.models.named import MODELS
from negsieve.samplers.base import Sampler, Stage
from negsieve.samplers.named import ALIASES, METHODS

TESTS = Path(__file__).parent
DOCS = TESTS.parent / "docs"
OTHERS = {path: path.read_text(encoding="utf-8") for path in TESTS.rglob("test_*.py") if path != Path(__file__)}


def parts() -> list[type]:
    """Every public Sampler and Stage that is defined in the samplers room."""
    found = []
    for path in Path(negsieve.samplers.__file__).parent.glob("*.py"):
        module = importlib.import_module(f"negsieve.samplers.{path.stem}".removesuffix(".__init__"))
        for name, kind in vars(module).items():
            own = inspect.isclass(kind) and kind.__module__ == module.__name__ and not name.startswith("_")
            if own and issubclass(kind, Sampler | Stage) and not inspect.isabstract(kind):
                found.append(kind)
    return sorted(found, key=lambda kind: kind.__name__)


def checked() -> set[str]:
    """The methods on which some test runs ``check_sampler``, by its parameters: ``*METHODS`` stands for all."""
    found: set[str] = set()
    for text in OTHERS.values():
        tree = ast.parse(text)
        lists = {
            node.targets[0].id: node.value
            for node in tree.body
            if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name)
        }
        for node in ast.walk(tree):
            if not isinstance(node, ast.FunctionDef) or "check_sampler(" not in ast.unparse(node):
                continue
            given = [
                lists.get(one.id, one)
                for mark in node.decorator_list
                for one in ast.walk(mark)
                if isinstance(one, ast.Name)
            ]
            words = " ".join(ast.unparse(one) for one in [node, *given])
            found |= (
                set(METHODS)
                if "METHODS" in words
                else {name for name in METHODS if re.search(rf"['\"]{name}\b", words)}
            )
    return found


@pytest.mark.parametrize("name", sorted(METHODS))
def test_every_method_has_a_page_and_is_checked(name):
    page = DOCS / "methods" / f"{name}.md"
    assert page.is_file(), f"write {page.relative_to(TESTS.parent)}"
    assert name in page.read_text(encoding="utf-8")
    assert name in checked(), f"no test runs check_sampler on {name}"


def test_every_page_is_of_a_method():
    pages = {path.stem for path in (DOCS / "methods").glob("*.md")} - {"losses", "README", "index"}
    assert pages <= set(METHODS)
    assert set(ALIASES.values()) <= set(METHODS)


@pytest.mark.parametrize("name", sorted(LOSSES))
def test_every_loss_is_on_its_page_and_in_a_test(name):
    assert f"`{name}`" in (DOCS / "methods" / "losses.md").read_text(encoding="utf-8")
    assert any(re.search(rf"\b{name}\(|['\"]{name}\b", text) for text in OTHERS.values()), f"no test uses {name}"


@pytest.mark.parametrize("kind", parts(), ids=lambda kind: kind.__name__)
def test_every_part_of_a_method_appears_in_a_test(kind):
    assert kind.__doc__, f"{kind.__name__} has no docstring"
    assert any(re.search(rf"\b{kind.__name__}\(", text) for text in OTHERS.values()), f"no test makes a {kind.__name__}"


@pytest.mark.parametrize("name", sorted(MODELS))
def test_every_model_is_trained_in_a_test(name):
    assert any(re.search(rf"['\"]{name}[:'\"]", text) for text in OTHERS.values()), f"no test trains {name}"


def test_there_are_parts_to_look_at():
    names = {kind.__name__ for kind in parts()}
    assert {"Chain", "Weighted", "InBatch", "Shared", "Hardest", "SoftmaxWeight", "HopMix", "MixPositive"} <= names
    assert "train.lr" in setting_names()


def test_promises_state_themselves_in_their_first_line():
    files = sorted((TESTS / "promises").glob("test_*.py"))
    assert files
    for path in files:
        first = path.read_text(encoding="utf-8").splitlines()[0]
        assert re.fullmatch(r'"""[A-Z].{20,}\."""', first), f"{path.name}: its first line is the promise"
