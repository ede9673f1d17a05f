"""What optimisers remember of the rows of two tables, and rows that are brought to the present when they are read.

A step of matrix factorisation touches few rows. Adagrad leaves the others as they are; dense Adam does not: a row
without a gradient still moves by its momentum. ``adam`` here owes such a row its steps until somebody reads it, and
then does them all at once (``native/coast.hpp``): the numbers of ``torch.optim.Adam`` at the cost of a sparse one.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from negsieve.errors import ConfigError, UsageError
from negsieve.kernels import native

RULES = ("sgd", "adagrad", "rowwise_adagrad", "sparse_adam", "adam")
SIDES = ("user", "item")
_VANISHED = 1e-9


@dataclass(frozen=True, slots=True)
class Rule:
    """How a row moves, given its gradient g at step t.

    sgd              ``p -= lr g``
    adagrad          that of ``torch.optim.Adagrad``
    rowwise_adagrad  one sum a row: ``s += mean(g^2); p -= lr g / (sqrt(s) + eps)``
    sparse_adam      that of ``torch.optim.SparseAdam``: rows whose gradient is zero stay as they are
    adam             that of ``torch.optim.Adam`` on dense gradients

    ``eps`` None is 1e-8 for Adam and 1e-10 for Adagrad, as torch has it. Raises UsageError for another kind, or
    numbers that make no Adam.
    """

    kind: str
    betas: tuple[float, float] = (0.9, 0.999)
    eps: float | None = None

    def __post_init__(self) -> None:
        if self.kind not in RULES:
            raise UsageError(f"optimiser {self.kind!r}, wanted one of {', '.join(RULES)}")
        first, second = self.betas
        if not (0 < first < 1 and 0 < second < 1 and first * first < second) or not self.small > 0:
            raise UsageError(
                f"betas={self.betas}, eps={self.small}: wanted eps above 0, betas between 0 and 1, and the square of "
                "the first below the second"
            )

    @property
    def small(self) -> float:
        """The eps in use."""
        if self.eps is not None:
            return self.eps
        return 1e-10 if "adagrad" in self.kind else 1e-8


class RowMemory:
    """What ``rule`` remembers of ``users [U, D]`` and ``items [I, D]``, and how far it has come.

    step   how many steps were done
    rates  ``(first step, learning rate)`` wherever the rate changed; steps count from 1
    mean, square, clock  by "user" and "item"; None where the rule has none. ``clock Int[n]``: the step that a row
           stands at, 0 before its first

    Memory: Adam twice the tables and 4 bytes a row, and for ``adam`` 56 bytes a step; Adagrad once, by rows 4 bytes
    a row; SGD nothing. Beside that 4 bytes a row, and a step's touched rows.
    """

    def __init__(self, users: Tensor, items: Tensor, *, rule: Rule) -> None:
        self.rule, self.step, self.rates = rule, 0, []
        self.size = (len(users), len(items))
        tables = dict(zip(SIDES, (users.detach(), items.detach()), strict=True))
        adam = rule.kind in ("adam", "sparse_adam")
        self.mean = {side: torch.zeros_like(table) if adam else None for side, table in tables.items()}
        self.square = {side: _squares(rule, table) for side, table in tables.items()}
        lazy = rule.kind == "adam"
        self.clock = {
            side: torch.zeros(len(table), dtype=torch.int32, device=table.device) if lazy else None
            for side, table in tables.items()
        }
        self._compiled = None

    def advance(self, lr: float, *, steps: int = 1) -> None:
        """So many more steps were done, at this learning rate."""
        if steps and (not self.rates or self.rates[-1][1] != lr):
            self.rates.append((self.step + 1, lr))
        self.step += steps

    def rate(self) -> Tensor:
        """The learning rate of each step, ``Double[step + 1]``; steps count from 1."""
        rate = torch.zeros(self.step + 1, dtype=torch.float64)
        for first, lr in self.rates:
            rate[first:] = lr
        return rate

    def tensors(self) -> dict[str, Tensor]:
        """Everything in tensors, by name; with ``numbers`` all that a run needs to go on bit for bit."""
        named = {"mean": self.mean, "square": self.square, "clock": self.clock}
        found = {f"{side}.{name}": held[side] for name, held in named.items() for side in SIDES}
        return {name: one for name, one in found.items() if one is not None}

    def numbers(self) -> dict[str, Any]:
        """The rest, as JSON takes it."""
        return {"rule": self.rule.kind, "step": self.step, "rates": [list(one) for one in self.rates]}

    def load(self, tensors: Mapping[str, Tensor], numbers: Mapping[str, Any]) -> None:
        """Puts back what ``tensors`` and ``numbers`` gave. Raises ConfigError where they are another optimiser's."""
        own = self.tensors()
        fits = own.keys() == tensors.keys() and all(own[name].shape == one.shape for name, one in tensors.items())
        if not fits or numbers.get("rule") != self.rule.kind:
            raise ConfigError(
                f"the memory of {numbers.get('rule')} with {sorted(tensors)}, wanted that of {self.rule.kind} with "
                f"{sorted(own)} in the sizes of these tables: it is another optimiser's"
            )
        step = int(numbers["step"])
        for name, one in tensors.items():
            if name.endswith("clock") and len(one) and not 0 <= int(one.min()) <= int(one.max()) <= step:
                raise ConfigError(f"{name} runs {int(one.min())}..{int(one.max())}, wanted 0..{step}: it is damaged")
        for name, one in own.items():
            one.copy_(tensors[name])
        self.step, self.rates = step, [(int(first), float(lr)) for first, lr in numbers["rates"]]
        self._compiled = None

    def compiled(self) -> Any:
        """The compiled half: the same steps as these, and the room that kernels work in. Made when first asked for."""
        if self._compiled is None or self._compiled.step != self.step:
            self._compiled = native.module().Descent(
                RULES.index(self.rule.kind), *self.rule.betas, self.rule.small, *self.size
            )
            for lr in self.rate()[1:].tolist():
                self._compiled.push(lr)
        return self._compiled

    def arrays(self, table: Tensor, side: str) -> Any:
        """``table`` with its memory, as kernels take it."""
        return native.module().Arrays(table.detach(), self.mean[side], self.square[side], self.clock[side])

    def serves(self, *tables: Tensor) -> bool:
        """Whether kernels can take these tables: float32, dense in memory, on the CPU."""
        return native.serves(*tables) and all(one.dtype == torch.float32 and one.is_contiguous() for one in tables)


def catch_up(table: Tensor, ids: Tensor | None = None, *, memory: RowMemory, side: str) -> None:
    """Brings rows ``ids Long[n]``, or all, of the users' or items' ``table`` to the present; repeats do no harm.

    Nothing to do for any rule but ``adam``. Cost: a square root and a division a number of the rows that lag. Raises
    IndexError for an id that is none.
    """
    if memory.rule.kind != "adam":
        return
    if not memory.serves(table):
        return catch_up_reference(table, ids, memory=memory, side=side)
    ids = None if ids is None else ids.contiguous()
    native.module().catch_up(memory.compiled(), memory.arrays(table, side), ids, native.threads())


def catch_up_reference(table: Tensor, ids: Tensor | None = None, *, memory: RowMemory, side: str) -> None:
    """``catch_up`` in torch: the missed steps one by one, in double precision."""
    clock = memory.clock[side]
    if clock is None:
        return
    if ids is None:
        ids = torch.arange(len(table), device=table.device)
    ids = ids.unique()
    if len(ids) and not 0 <= int(ids[0]) <= int(ids[-1]) < len(table):
        raise IndexError(f"rows {int(ids[0])}..{int(ids[-1])}, wanted 0..{len(table) - 1}")
    ids = ids[(clock[ids] > 0) & (clock[ids] < memory.step)]
    if not len(ids):
        return
    (first, second), rate = memory.rule.betas, memory.rate().to(table.device)
    row, mean, square = (one[ids].double() for one in (table.detach(), memory.mean[side], memory.square[side]))
    start = clock[ids].double()[:, None]
    gap = memory.step - start
    for k in range(1, min(int(gap.max()), math.ceil(math.log(_VANISHED) / math.log(first))) + 1):
        now = (start + k).clamp_max(memory.step)
        size = rate[now.long()] / (1 - first**now) * (k <= gap)
        row -= size * mean * first**k / ((square * second**k / (1 - second**now)).sqrt() + memory.rule.small)
    table.detach()[ids] = row.to(table.dtype)
    memory.mean[side][ids] = (mean * first**gap).to(table.dtype)
    memory.square[side][ids] = (square * second**gap).to(table.dtype)
    clock[ids] = memory.step


def settle(users: Tensor, items: Tensor, *, memory: RowMemory) -> None:
    """Brings every row of both tables to the present: what a model is outside of steps."""
    for table, side in zip((users, items), SIDES, strict=True):
        catch_up(table, memory=memory, side=side)


@torch.no_grad()
def dense_step(table: Tensor, gradient: Tensor, *, memory: RowMemory, side: str, step: int, lr: float) -> None:
    """One step of a whole table, whose rows stand at the present, by its dense gradient ``[n, D]``: rules in torch."""
    table, rule = table.detach(), memory.rule
    mean, square = memory.mean[side], memory.square[side]
    first, second = rule.betas
    match rule.kind:
        case "adagrad":
            square.add_(gradient.square())
            table.sub_(lr * gradient / (square.sqrt() + rule.small))
        case "rowwise_adagrad":
            square.add_(gradient.square().mean(1))
            table.sub_(lr * gradient / (square.sqrt() + rule.small)[:, None])
        case _:
            lazy = rule.kind == "adam"
            some = slice(None) if lazy else gradient.any(1).nonzero()[:, 0]
            mean[some] = m = mean[some].lerp(gradient[some], 1 - first)
            square[some] = v = second * square[some] + (1 - second) * gradient[some].square()
            size, root = lr / (1 - first**step), math.sqrt(1 - second**step)
            # sparse_adam adds eps before it corrects for the start, adam after
            table[some] -= (
                size * m / (v.sqrt() / root + rule.small) if lazy else size * root * m / (v.sqrt() + rule.small)
            )


def _squares(rule: Rule, table: Tensor) -> Tensor | None:
    if rule.kind == "sgd":
        return None
    return torch.zeros_like(table if rule.kind != "rowwise_adagrad" else table[:, 0])
