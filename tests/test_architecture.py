"""Who may import whom, kept by a test instead of by goodwill; and what may never appear at all."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import negsieve

SOURCE = Path(negsieve.__file__).parent
LEAVES = {"arrow", "errors", "types", "rng", "seen", "histories", "spec", "schedule", "kernels", "cores"}
EDGES = {
    "arrow": set(),
    "errors": set(),
    "types": set(),
    "rng": {"kernels"},
    "kernels": {"errors"},
    "cores": set(),
    "seen": {"errors", "kernels"},
    "histories": {"types"},
    "spec": {"errors", "schedule"},
    "data": LEAVES,
    "scorers": {"types", "kernels", "histories"},
    "recbole": {"errors"},
    "samplers": LEAVES | {"scorers", "recbole"},
    "schedule": {"errors"},
    "losses": {"types", "errors", "spec", "schedule", "scorers", "seen"},
    "models": LEAVES | {"scorers"},
    "layers": {"errors"},
    "config": {"errors", "layers", "schedule", "recbole"},
    "store": {"arrow", "errors", "kernels"},
    "evaluation": LEAVES | {"data", "scorers"},
    "lab": LEAVES | {"data", "samplers", "evaluation", "scorers"},
    "trained": LEAVES | {"config", "data", "models", "store"},
    "lists": LEAVES | {"trained", "data", "evaluation", "scorers"},
    "tables": {"errors", "store"},
    "vectors": {"arrow", "errors", "lists", "trained", "store"},
    "report": {"errors", "store"},
    "testing": LEAVES | {"samplers", "scorers", "store"},
}
TRAINING = LEAVES | {"config", "data", "scorers", "samplers", "losses", "models", "store", "evaluation", "lab"}
EDGES |= {
    "training": TRAINING,
    "study": TRAINING | {"training", "report", "recbole", "layers"},
    "review": TRAINING | {"training", "testing", "loading"},
    "adapters": LEAVES | {"samplers", "scorers", "trained", "training"},
    "loading": LEAVES | {"config", "data"},
}
DRAWS = {f"torch.{name}" for name in ("rand", "randn", "randint", "randperm", "multinomial", "normal", "bernoulli")}
FREE = {"api", "cli", "__main__", "__init__"}  # may import everything


def modules():
    return sorted(SOURCE.rglob("*.py"))


def room(path: Path) -> str:
    first = path.relative_to(SOURCE).parts[0]
    return first.removesuffix(".py")


def imports(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            whole = node.module == "negsieve"
            names = [f"{node.module}.{alias.name}" for alias in node.names] if whole else [node.module]
        found |= {name.split(".")[1] for name in names if name.startswith("negsieve.")}
    return found - {"__version__"}


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(SOURCE)))
def test_a_room_imports_only_what_the_architecture_allows(path):
    own = room(path)
    if own in FREE:
        return
    assert own in EDGES, f"{own} is a new room: give it a line in docs/architecture.md and here"
    assert imports(path) <= EDGES[own] | {own}


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(SOURCE)))
def test_no_code_from_data_and_no_global_randomness(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Call):
            name = ast.unparse(node.func)
            assert name not in {"eval", "exec", "pickle.loads", "pickle.load", "torch.load", "yaml.load"}, name
            if name in DRAWS:
                assert any(word.arg == "generator" for word in node.keywords), f"{name} without generator="
            legacy = name.startswith("np.random.") and name != "np.random.default_rng"
            watches_it = str(path.relative_to(SOURCE)) == "testing/check_sampler.py"
            assert not legacy or watches_it, name


def test_files_stay_small():
    long = {str(path.relative_to(SOURCE)): n for path in modules() if (n := len(path.read_text().splitlines())) > 350}
    assert not long


def test_importing_negsieve_loads_nothing_heavy():
    heavy = ("torch", "numpy", "duckdb", "pyarrow", "pydantic")
    code = f"import sys, negsieve; print([name for name in {heavy} if name in sys.modules])"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"


def test_training_loads_nothing_that_only_pictures_and_reference_lines_need():
    late = ("matplotlib", "jinja2", "scipy", "pandas")
    code = f"import sys, negsieve.api, negsieve.cli.train; print([name for name in {late} if name in sys.modules])"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"


def test_every_public_name_loads():
    for name in negsieve.__all__:
        assert getattr(negsieve, name) is not None
    for name in ("train", "evaluate", "compare", "recommend", "export", "check_sampler"):
        assert callable(getattr(negsieve, name)), f"negsieve.{name} is a function, whatever was imported before"
    with pytest.raises(AttributeError, match="no attribute 'trian'"):
        _ = negsieve.trian
