"""``negsieve compare``: samplers, models and losses over seeds, in one table that says what is luck."""

from __future__ import annotations

import contextlib
import multiprocessing
import signal
import sys
from collections.abc import Iterator
from typing import Any

import typer

from negsieve.cli import failure, options, screen, settings
from negsieve.cli.train import read
from negsieve.errors import ConfigError, Interrupted, UsageError

EXAMPLES = options.examples(
    ("the first look: the data that comes along, seven methods, three seeds", "negsieve compare"),
    ("two samplers on your own log", "negsieve compare log.csv --sampler uniform --sampler dns:candidates=16"),
    (
        "single methods, written MODEL/SAMPLER/LOSS",
        "negsieve compare log.csv --method mf/uniform --method lightgcn/dns/bce",
    ),
    ("five seeds, tested against another method", "negsieve compare log.csv --seeds 5 --baseline mf/popularity"),
    ("go on with what is missing: the same command again", "negsieve compare log.csv --out studies/mine"),
)


def compare(
    data: options.Data = None,
    models: options.Models = None,
    samplers: options.Samplers = None,
    losses: options.Losses = None,
    methods: options.Methods = None,
    seeds: options.Seeds = None,
    baseline: options.Baseline = None,
    own: options.Own = None,
    oracle: options.Oracle = None,
    epochs: options.Epochs = None,
    lr: options.Lr = None,
    l2: options.L2 = None,
    batch_size: options.BatchSize = None,
    device: options.Device = None,
    engine: options.Engine = None,
    columns: options.Columns = None,
    format: options.DataFormat = None,
    split: options.Split = None,
    target: options.Target = None,
    source: options.Source = None,
    negatives: options.NegativesFile = None,
    jobs: options.Jobs = None,
    out: options.StudyFolder = None,
    name: options.Name = None,
    config: options.Config = None,
    set_: options.Set = None,
    json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Train methods over several seeds and test their differences.

    Without a method it takes a first look with five samplers on MF and two on LightGCN.

    Finished runs are never done twice: the same command goes on where it stopped.
    """
    quiet = quiet or json
    with contextlib.redirect_stdout(sys.stderr) if json else contextlib.nullcontext():
        chosen = _methods(models, samplers, losses, methods, own, alone=data is None and config is None)
        layers = settings.layered(
            config=config,
            assignments=_shared_only(set_),
            data=data,
            columns=columns,
            data_format=format,
            split=split,
            negatives=negatives,
            target=target,
            source=source,
            top={"oracle": oracle},
            train={
                "epochs": epochs,
                "lr": lr,
                "l2": l2,
                "batch_size": batch_size,
                "device": device,
                "engine": engine,
            },
            below=_preset()["settings"] if data is None and config is None else None,
        )
        found = _study(
            layers, chosen, seeds=_seeds(seeds), baseline=baseline, jobs=jobs, out=out, name=name, quiet=quiet
        )
    if json:
        screen.write_json(found)
    else:
        from negsieve.cli import standings

        standings.show(found)
    if any(row["missing"] for row in found["rows"]):
        raise typer.Exit(failure.DEFECT)


def _study(layers: dict[str, Any], chosen: dict[str, Any], *, jobs: int | None, quiet: bool, **more: Any) -> dict:
    from negsieve import api
    from negsieve.cli import early, watch_study
    from negsieve.config import resolve
    from negsieve.study.plan import cross, parse_method

    config = resolve(layers)
    crossed = cross(chosen["models"], chosen["samplers"], chosen.get("losses", ("auto",)))
    for method in [*crossed, *(parse_method(text) for text in chosen["methods"])]:
        early.check_method(method.model, method.sampler, method.loss, trusted=True)
    jobs = jobs if jobs is not None else usable_jobs(config.train.device)
    dataset = read(layers, quiet=quiet)
    told = watch_study.told(metric=config.train.metric, part=config.train.select_on, quiet=quiet)
    with _stopping(), told as watch:
        return api.compare(dataset, settings=layers, jobs=jobs, watch=watch, **chosen, **more)


@contextlib.contextmanager
def _stopping() -> Iterator[None]:
    """Ctrl-C or SIGTERM stops the runs after their step, saved, and says how to go on.

    Ctrl-C reaches the processes of the runs by itself; SIGTERM is passed on to them.
    """

    def stop(number: int, frame) -> None:
        for child in multiprocessing.active_children():
            child.terminate()
        raise Interrupted("", signal_number=number)

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    except (KeyboardInterrupt, Interrupted) as stopped:
        number = getattr(stopped, "exit_code", 128 + signal.SIGINT) - 128
        raise Interrupted(
            "stopped; finished runs and checkpoints are saved. Go on with the same command", signal_number=number
        ) from None
    finally:
        signal.signal(signal.SIGTERM, before)


def usable_jobs(device: str) -> int:
    """As many runs at a time as this process may use processors; one where they would share a GPU."""
    from negsieve.cores import usable_cores
    from negsieve.training.build import pick_device

    if pick_device(device).type != "cpu":
        return 1
    return usable_cores()


def _preset() -> dict[str, Any]:
    from negsieve.study.preset import first_look

    return first_look()


def _methods(models, samplers, losses, methods, own, *, alone: bool) -> dict[str, Any]:
    """The methods asked for; the preset's where none is, with settings of their own on its own data."""
    preset = _preset()
    if not (models or samplers or losses or methods):
        found = {name: preset[name] for name in ("models", "samplers", "methods")}
        return found | {"own": (*(preset["own"] if alone else ()), *(own or ()))}
    crossed = bool(models or samplers or losses)
    return {
        "models": tuple(models or ("mf",)) if crossed else (),
        "samplers": tuple(samplers or preset["samplers"]) if crossed else (),
        "losses": tuple(losses or ("auto",)),
        "methods": tuple(methods or ()),
        "own": tuple(own or ()),
    }


def _seeds(text: str | None) -> int | list[int]:
    if text is None:
        return _preset()["seeds"]
    try:
        found = [int(piece) for piece in text.split(",")]
    except ValueError:
        raise UsageError(f"--seeds {text!r}: wanted a number of seeds such as 3, or seeds such as 7,8,9") from None
    if "," in text:
        return found
    if found[0] < 1:
        raise UsageError(f"--seeds {text}: wanted 1 or more")
    return found[0]


def _shared_only(assignments: list[str] | None) -> list[str] | None:
    """Refuses settings that a comparison varies: --set would be silently overruled."""
    for text in assignments or ():
        key = text.partition("=")[0]
        if key in ("model", "sampler", "loss", "name"):
            raise ConfigError(f"--set {text!r}: in a comparison {key} is given with --{key}")
    return assignments
