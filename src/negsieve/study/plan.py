"""What a study runs: methods times seeds on one data set, each in a directory of its own."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from negsieve import spec
from negsieve.config import RunConfig, resolve
from negsieve.errors import UsageError, nearest
from negsieve.evaluation.metrics import parse_metric
from negsieve.layers import from_assignments
from negsieve.models import named as models
from negsieve.recbole import as_sampler
from negsieve.samplers import named as samplers
from negsieve.training.build import name_loss, reported


@dataclass(frozen=True)
class Method:
    """A model, a sampler and a loss, each a spec; the loss is resolved, never ``auto``.

    oracle  held-out parts that its sampler knows: an upper bound to look at, never a winner
    """

    model: str
    sampler: str
    loss: str
    oracle: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        known = f"/oracle={'+'.join(self.oracle)}" if self.oracle else ""
        return f"{self.model}/{self.sampler}/{self.loss}{known}"

    @property
    def slug(self) -> str:
        """A short directory name, distinct for distinct methods."""
        digest = hashlib.blake2b(self.name.encode(), digest_size=3).hexdigest()
        short = f"{spec.parse(self.model).name}-{self.sampler}"
        plain = re.sub(r"[^A-Za-z0-9]+", "-", short).strip("-").lower()[:40]
        return f"{plain}-{digest}"

    @property
    def names(self) -> set[str]:
        """The plain names of its model, sampler and loss, which settings of its own may refer to."""
        return {spec.parse(part).name for part in (self.model, self.sampler, self.loss)}


@dataclass(frozen=True)
class Plan:
    """All that decides a study. ``config`` is what the runs share, ``own`` what some methods change.

    own  ``name:key=value,...`` texts: settings for the methods whose model, sampler or loss has that
         name. A method whose scores have another scale (PDNS, a cosine) needs its own lr and l2 to be
         compared fairly.
    """

    name: str
    config: RunConfig
    methods: tuple[Method, ...]
    seeds: tuple[int, ...]
    baseline: Method
    primary: str
    own: tuple[str, ...] = ()

    def runs(self) -> list[tuple[Method, int]]:
        """Every run, seeds outermost: an early look compares all methods at the same seeds."""
        return [(method, seed) for seed in self.seeds for method in self.methods]

    def config_of(self, method: Method, seed: int) -> RunConfig:
        parts = {"model": method.model, "sampler": method.sampler, "loss": method.loss}
        layers = [layer for name, layer in map(parse_own, self.own) if name in method.names]
        parts["oracle"] = method.oracle
        fixed = parts | {"name": f"{method.name} seed {seed}", "train": {"seed": seed}}
        return resolve(self.config.plain(), *layers, fixed)

    def path_of(self, root: Path, method: Method, seed: int) -> Path:
        return root / "runs" / f"{method.slug}-s{seed}"


def make_method(model: str, sampler: str, loss: str = "auto", *, oracle: str = "") -> Method:
    """A method from specs as typed; spelling is made canonical, so equal methods are equal."""
    sampler = as_sampler(sampler)
    known = resolve({"oracle": oracle}).oracle if oracle else ()
    loss_name = name_loss(loss, sampler)
    return Method(_canonical(model, models.ALIASES), _canonical(sampler, samplers.ALIASES), loss_name, known)


def _canonical(text: str, aliases: Mapping[str, str]) -> str:
    """One spelling for one method: names for aliases, parameters in order."""
    parsed = spec.parse(text)
    return str(spec.Spec(aliases.get(parsed.name, parsed.name), parsed.params))


def parse_method(text: str) -> Method:
    """``model/sampler`` or ``model/sampler/loss``; ``/oracle=valid+test`` behind it marks an oracle."""
    parts, oracle = text.split("/"), ""
    if parts[-1].startswith("oracle="):
        oracle = parts.pop().removeprefix("oracle=")
    if len(parts) not in (2, 3) or not all(parts):
        raise UsageError(
            f"method {text!r}: wanted model/sampler or model/sampler/loss, such as mf/dns:candidates=16/bpr"
        )
    return make_method(*parts, oracle=oracle)


def parse_own(text: str) -> tuple[str, dict[str, Any]]:
    """``pdns:train.l2=0.003,train.lr=0.03`` -> the name, and the layer of settings."""
    name, colon, rest = text.partition(":")
    layer = from_assignments(re.split(r",(?=[^,=]+=)", rest)) if rest else {}  # oracle=valid,test is one setting
    if not (name.strip() and colon and layer) or not set(layer) <= {"train", "oracle"}:
        raise UsageError(
            f"settings of its own {text!r}: wanted NAME:train.key=value,... or NAME:oracle=valid,test, such as "
            "pdns:train.l2=0.003"
        )
    return spec.parse(name).name, layer


def cross(models: Sequence[str], samplers: Sequence[str], losses: Sequence[str] = ("auto",)) -> list[Method]:
    """Every combination, each once, in the order given."""
    found = [make_method(model, sampler, loss) for model in models for sampler in samplers for loss in losses]
    return list(dict.fromkeys(found))


def pick_baseline(methods: Sequence[Method], wanted: str | None) -> Method:
    """The method that others are tested against: the named one, else uniform on the first model.

    An oracle is one only where all are: against one that knows the answers everybody looks bad.

    ``wanted`` is a full method or any part that only one method has (its sampler, for example).
    Raises UsageError listing the methods when it fits none or several.
    """
    methods = [one for one in methods if not one.oracle] or list(methods)
    if wanted is None:
        uniform = [one for one in methods if spec.parse(one.sampler).name in ("uniform", "rns")]
        return (uniform or list(methods))[0]
    plain = "/".join(str(spec.parse(part)) for part in wanted.split("/"))
    exact = [one for one in methods if plain in (one.name, f"{one.model}/{one.sampler}")]
    loose = exact or [one for one in methods if plain in (one.sampler, one.model, one.loss)]
    if len(loose) != 1:
        names = [one.name for one in methods]
        hint = nearest(wanted, names) if not loose else ""
        raise UsageError(f"baseline {wanted!r} fits {len(loose)} of the methods {', '.join(names)}.{hint}")
    return loose[0]


def make_plan(
    name: str,
    config: RunConfig,
    *,
    methods: Sequence[Method],
    seeds: Sequence[int],
    baseline: str | None,
    own: Sequence[str] = (),
) -> Plan:
    """A plan, checked: at least one method and seed, no seed twice, own settings that fit a method.

    The metric that chooses epochs is the one that methods are compared on, under the name that
    results have it; it must have a value a user.
    """
    if not methods or not seeds:
        raise UsageError("a comparison needs at least one method and one seed")
    if len(set(seeds)) != len(seeds):
        raise UsageError(f"seeds {list(seeds)} repeat")
    methods = tuple(dict.fromkeys(methods))
    known = set().union(*(method.names for method in methods))
    for text in own:
        if parse_own(text)[0] not in known:
            raise UsageError(f"settings of its own {text!r}: no method has that name; there are {sorted(known)}")
    methods = tuple(dict.fromkeys(_with_oracle(method, config, own) for method in methods))
    metric = parse_metric(config.train.metric)
    if metric.of_lists:
        raise UsageError(
            f"train.metric={metric}: it describes all lists together and has no value a user, so methods cannot be "
            "tested on it; choose another, such as ndcg@20"
        )
    primary = reported(config, metric)
    plan = Plan(name, config, methods, tuple(seeds), pick_baseline(methods, baseline), primary, tuple(own))
    for method in methods:
        plan.config_of(method, seeds[0])
    return plan


def _with_oracle(method: Method, config: RunConfig, own: Sequence[str]) -> Method:
    """The method with the held-out parts that it was given by ``own`` or by the settings that all share."""
    given = [layer["oracle"] for name, layer in map(parse_own, own) if "oracle" in layer and name in method.names]
    known = method.oracle or (resolve({"oracle": given[-1]}).oracle if given else config.oracle)
    return replace(method, oracle=known)


@dataclass
class Outcome:
    """What became of one run: its result, or why there is none."""

    method: Method
    seed: int
    path: Path
    result: dict[str, Any] | None = None
    why: str | None = None
