"""Loops as people write them in numpy and torch, when they use no library. Runs in our own environment.

BPR-MF and LightGCN by autograd with torch's default Adam, negatives without a check; negatives by a Python loop
over sets, by a C++ loop with rand(), and triples as LightGCN's code has them made; the best thousand items by one
product and ``topk``.
"""

from __future__ import annotations

import ctypes
import subprocess
import sysconfig
import tempfile
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn.functional import logsigmoid
from torch.utils import cpp_extension
from turns import Turns, by_user, read


class Embeddings(nn.Module):
    """BPR-MF as in a hundred notebooks."""

    def __init__(self, n_users: int, n_items: int, dim: int) -> None:
        super().__init__()
        self.user, self.item = nn.Embedding(n_users, dim), nn.Embedding(n_items, dim)
        nn.init.xavier_normal_(self.user.weight)
        nn.init.xavier_normal_(self.item.weight)

    def towers(self):
        return self.user.weight, self.item.weight

    def forward(self, user, positive, negative):
        vector = self.user(user)
        return (vector * self.item(positive)).sum(1), (vector * self.item(negative)).sum(1)


class Propagated(Embeddings):
    """LightGCN with the sparse product that the reference code uses: COO, under autograd."""

    def __init__(self, n_users: int, n_items: int, dim: int, pairs: torch.Tensor, layers: int) -> None:
        super().__init__(n_users, n_items, dim)
        user, item = pairs.T
        place = torch.stack([torch.cat([user, item + n_users]), torch.cat([item + n_users, user])])
        degree = torch.bincount(place[0], minlength=n_users + n_items).clamp_min(1).float()
        value = (degree[place[0]] * degree[place[1]]).rsqrt()
        size = (n_users + n_items,) * 2
        self.layers, self.graph = layers, torch.sparse_coo_tensor(place, value, size).coalesce()

    def towers(self):
        layer = torch.cat([self.user.weight, self.item.weight])
        total = [layer]
        for _ in range(self.layers):
            layer = torch.sparse.mm(self.graph, layer)
            total.append(layer)
        return torch.stack(total, 1).mean(1).split([self.user.num_embeddings, self.item.num_embeddings])

    def forward(self, user, positive, negative):
        users, items = self.towers()
        return (users[user] * items[positive]).sum(1), (users[user] * items[negative]).sum(1)


def train(turns: Turns, data: dict) -> None:
    spec = turns.spec
    n_users, n_items = (int(size) for size in data["sizes"])
    pairs, size, dim = torch.from_numpy(data["train"]), spec.get("batch", 2048), spec.get("dim", 64)
    torch.manual_seed(spec.get("seed", 0))
    model = Embeddings(n_users, n_items, dim)
    if spec["work"].startswith("lightgcn"):
        model = Propagated(n_users, n_items, dim, pairs, layers=3)
    optimiser = torch.optim.Adam(model.parameters(), lr=spec.get("lr", 1e-3))
    whole = -(-len(pairs) // size)
    some = spec.get("batches") or whole

    def unit() -> dict:
        order = torch.randperm(len(pairs))
        for rows in order.split(size)[:some]:
            user, positive = pairs[rows].T
            negative = torch.randint(n_items, (len(rows),))
            better, worse = model(user, positive, negative)
            loss = -logsigmoid(better - worse).mean()
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
        return {"share": some / whole}

    def factors():
        with torch.no_grad():
            return [side.numpy() for side in model.towers()]

    turns.each(unit, factors=factors)


def sample(turns: Turns, data: dict) -> None:
    """``how``: "sets", a Python loop; "rand", the C++ loop of this folder over all train rows in user order; "triples",
    such a loop as LightGCN's code calls it, which draws the positives too.
    """
    spec = turns.spec
    n_users, n_items = (int(size) for size in data["sizes"])
    offset, item = by_user(data["train"], n_users)
    if spec["how"] == "rand":
        return turns.each(rand_loop(offset, item, n_items, spec["negatives"]))
    if spec["how"] == "triples":
        return turns.each(triples(offset, item, n_items, spec["negatives"]))
    seen = [set(item[offset[user] : offset[user + 1]].tolist()) for user in range(n_users)]
    users = np.random.default_rng(0).permutation(data["train"][:, 0])[: spec["draws"]].tolist()
    rng = np.random.default_rng(0)

    def unit() -> dict:
        drawn = rng.integers(n_items, size=len(users)).tolist()
        for place, user in enumerate(users):
            while drawn[place] in seen[user]:
                drawn[place] = int(rng.integers(n_items))
        return {"share": len(users) / len(data["train"])}

    return turns.each(unit)


def rand_loop(offset: np.ndarray, item: np.ndarray, n_items: int, per_positive: int):
    """The C++ loop of this folder, compiled, as a function without arguments."""
    with tempfile.TemporaryDirectory() as folder:
        source, built = Path(__file__).with_name("rand_sampler.cpp"), Path(folder) / "rand_sampler.so"
        subprocess.run(["g++", "-O3", "-shared", "-fPIC", "-o", str(built), str(source)], check=True)
        draw = ctypes.CDLL(str(built)).draw
    out = np.empty(len(item) * per_positive, dtype=np.int32)
    pointers = [ctypes.c_void_p(array.ctypes.data) for array in (offset, item)]
    sizes = [ctypes.c_int64(n) for n in (len(offset) - 1, n_items, per_positive)]

    def unit() -> None:
        draw(*pointers, *sizes, ctypes.c_void_p(out.ctypes.data))

    return unit


def triples(offset: np.ndarray, item: np.ndarray, n_items: int, per_positive: int):
    """An epoch of triples by the pybind11 module of this folder, compiled against the headers that torch brings."""
    includes = [*cpp_extension.include_paths(), sysconfig.get_paths()["include"]]
    with tempfile.TemporaryDirectory() as folder:
        source, built = Path(__file__).with_name("triple_sampler.cpp"), Path(folder) / "triple_sampler.so"
        flags = ["-O3", "-std=c++17", "-shared", "-fPIC", *(f"-I{one}" for one in includes)]
        subprocess.run(["g++", *flags, "-o", str(built), str(source)], check=True)
        found = spec_from_file_location("triple_sampler", built)
        module = module_from_spec(found)
        found.loader.exec_module(module)
    n_users = len(offset) - 1
    own = [item[offset[user] : offset[user + 1]] for user in range(n_users)]
    each = len(item) // n_users

    def unit() -> dict:
        made = module.triples(own, n_items, each, per_positive)
        return {"share": len(made) / len(item)}

    return unit


def top(turns: Turns, _: dict) -> None:
    """The best k items of all users by a product and ``topk``, in chunks of users."""
    spec = turns.spec
    with np.load(spec["factors"]) as given:
        user, item = torch.from_numpy(given["user"]), torch.from_numpy(given["item"])
    users = user[: spec.get("users") or len(user)]

    def unit() -> dict:
        for rows in users.split(2048):
            torch.topk(rows @ item.T, spec["k"])
        return {"share": len(users) / len(user)}

    turns.each(unit)


def main() -> None:
    turns = Turns()
    torch.set_num_threads(turns.spec["threads"])
    data = read(turns.spec["arrays"])
    kind = turns.spec["work"].partition("_")[0]
    {"mf": train, "lightgcn": train, "sample": sample, "top": top}[kind](turns, data)


if __name__ == "__main__":
    main()
