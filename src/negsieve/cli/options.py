"""The options that several commands share, each said once."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from negsieve.cli import complete

# Typer before 0.28 joins the lines of a paragraph and shows paragraphs as lines; since then both stay as they are.
_BREAK = "\n" if tuple(int(part) for part in typer.__version__.split(".")[:2]) >= (0, 28) else "\n\n"
DATA, METHOD, TRAINING, OUTPUT = "Data", "Method", "Training", "Output and settings"


def examples(*lines: tuple[str, str]) -> str:
    """The end of a help page: commands to copy, each under the words that say what it does."""
    told = [piece for words, command in lines for piece in (f"[dim]# {words}[/dim]", command)]
    return _BREAK.join(["[bold]Examples[/bold]", *told])


def option(
    *names: str, help: str, panel: str | None = None, metavar: str = "", completion=None, min: int | None = None
):
    """An option as all here are: its default told in its help, no metavar for a flag."""
    return typer.Option(
        *names,
        help=help,
        rich_help_panel=panel,
        metavar=metavar,
        autocompletion=completion,
        show_default=False,
        min=min,
    )


Data = Annotated[
    str | None,
    typer.Argument(
        help="A file, a folder or the name of a known data set (see: negsieve data list). Default: online-retail",
        metavar="DATA",
        autocompletion=complete.data,
        show_default=False,
    ),
]
RunPath = Annotated[
    Path, typer.Argument(help="A run directory, made by negsieve train or compare", metavar="RUN", show_default=False)
]

Columns = Annotated[
    str | None,
    option(
        "--columns",
        help="Which column is which, where the names are unusual: user=who,item=what,rating=,timestamp=when. "
        "An empty name leaves a column out",
        panel=DATA,
        metavar="ROLE=NAME,...",
    ),
]
DataFormat = Annotated[
    str | None,
    option(
        "--format",
        help="csv, tsv, jsonl, parquet, inter (RecBole) or lightgcn, where the file's ending does not say",
        panel=DATA,
        metavar="FORMAT",
        completion=complete.formats,
    ),
]
Split = Annotated[
    str | None,
    option(
        "--split",
        help="auto, given, ratio, loo, temporal or kfold. Auto: as the data say, else by time, else at random",
        panel=DATA,
        metavar="METHOD",
        completion=complete.splits,
    ),
]
Target = Annotated[
    str | None,
    option(
        "--target",
        help="The domain that is trained on and recommended, where the log has several (see: negsieve data summary)",
        panel=DATA,
        metavar="DOMAIN",
    ),
]
Source = Annotated[
    list[str] | None,
    option(
        "--source",
        help="A domain that stands beside the target, for models of several domains; repeatable, or a,b",
        panel=DATA,
        metavar="DOMAIN",
    ),
]
NegativesFile = Annotated[
    str | None,
    option(
        "--negatives",
        help="A file of pairs that users turned down (user, item, perhaps a time), for --sampler explicit",
        panel=DATA,
        metavar="FILE",
    ),
]
Oracle = Annotated[
    str | None,
    option(
        "--oracle",
        help="Held-out parts that the sampler may know: valid, test or valid,test. An experiment, stamped as one",
        panel=METHOD,
        metavar="PARTS",
    ),
]

Epochs = Annotated[int | None, option("--epochs", help="At most so many epochs (100)", panel=TRAINING, metavar="N")]
Lr = Annotated[
    str | None,
    option("--lr", help="Learning rate (0.001), or a schedule: step:0.01:0.5:10", panel=TRAINING, metavar="X"),
]
L2 = Annotated[
    float | None, option("--l2", help="Penalty on the vectors that a batch used (0.0001)", panel=TRAINING, metavar="X")
]
BatchSize = Annotated[int | None, option("--batch-size", help="Rows a step (2048)", panel=TRAINING, metavar="N")]
Seed = Annotated[
    int | None, option("--seed", help="Everything random follows from it (42)", panel=TRAINING, metavar="N")
]
Device = Annotated[
    str | None,
    option("--device", help="auto, cpu or cuda[:n]", panel=TRAINING, metavar="DEVICE", completion=complete.devices),
]
Engine = Annotated[
    str | None,
    option(
        "--engine",
        help="auto, compiled or torch: what does the steps. Auto: compiled kernels where they serve, else torch",
        panel=TRAINING,
        metavar="ENGINE",
        completion=complete.engines,
    ),
]
Threads = Annotated[
    int | None,
    option("--threads", help="Processor threads (the cores that it may use)", panel=TRAINING, metavar="N"),
]

Config = Annotated[
    Path | None,
    option("--config", panel=OUTPUT, help="A YAML file of settings, such as a run's config.yaml", metavar="FILE"),
]
Set = Annotated[
    list[str] | None,
    option(
        "--set",
        panel=OUTPUT,
        help="Any setting by its name, such as train.patience=5; repeatable, and stronger than all else",
        metavar="KEY=VALUE",
        completion=complete.settings,
    ),
]
Json = Annotated[bool, option("--json", help="Print one JSON object on stdout and nothing else there")]
Quiet = Annotated[bool, option("--quiet", "-q", help="No progress on stderr")]
Model = Annotated[
    str | None,
    option(
        "--model",
        help="mf, lightgcn, sasrec, or of two domains sasrec_cdr or dasl, with parameters: lightgcn:layers=3,dim=64. "
        "See: negsieve list models",
        panel=METHOD,
        metavar="NAME",
        completion=complete.models,
    ),
]
Sampler = Annotated[
    str | None,
    option(
        "--sampler",
        help="What draws the negatives: uniform, dns:candidates=16, package.module:function. "
        "See: negsieve list samplers",
        panel=METHOD,
        metavar="NAME",
        completion=complete.samplers,
    ),
]
Loss = Annotated[
    str | None,
    option(
        "--loss",
        help="By default that of the sampler's paper. See: negsieve list losses",
        panel=METHOD,
        metavar="NAME",
        completion=complete.losses,
    ),
]
Models = Annotated[
    list[str] | None,
    option("--model", help="A model; repeatable (mf)", panel=METHOD, metavar="NAME", completion=complete.models),
]
Samplers = Annotated[
    list[str] | None,
    option(
        "--sampler",
        help="A sampler; repeatable (uniform, popularity, dns, dns_mn, pdns)",
        panel=METHOD,
        metavar="NAME",
        completion=complete.samplers,
    ),
]
Losses = Annotated[
    list[str] | None,
    option(
        "--loss",
        help="A loss; repeatable (that of each sampler's paper)",
        panel=METHOD,
        metavar="NAME",
        completion=complete.losses,
    ),
]

RunFolder = Annotated[
    Path | None,
    option("--out", panel=OUTPUT, help="The run directory; by default a new one below runs/", metavar="FOLDER"),
]
Name = Annotated[
    str | None, option("--name", panel=OUTPUT, help="A name, for the report and the folder", metavar="NAME")
]
Resume = Annotated[
    Path | None,
    option("--resume", panel=OUTPUT, help="Go on with this run where it stopped, as it was configured", metavar="RUN"),
]
StudyFolder = Annotated[
    Path | None,
    option("--out", panel=OUTPUT, help="The study's folder; by default studies/ and the data's name", metavar="FOLDER"),
]
Jobs = Annotated[
    int | None, option("--jobs", panel=OUTPUT, help="Runs at a time (the number of processors)", metavar="N", min=1)
]
Methods = Annotated[
    list[str] | None,
    option(
        "--method",
        help="One more method, as MODEL/SAMPLER or MODEL/SAMPLER/LOSS\\[/oracle=PARTS]; repeatable",
        panel=METHOD,
        metavar="METHOD",
    ),
]
Seeds = Annotated[str | None, option("--seeds", help="How many seeds (3), or which: 7,8,9", panel=METHOD, metavar="N")]
Baseline = Annotated[
    str | None,
    option(
        "--baseline",
        help="The method that the others are tested against (uniform on the first model)",
        panel=METHOD,
        metavar="METHOD",
    ),
]
Own = Annotated[
    list[str] | None,
    option(
        "--own",
        help="Settings of some methods only, by the name of their model, sampler or loss: "
        "pdns:train.l2=0.003,train.lr=0.03, or dns:oracle=valid,test; repeatable",
        metavar="NAME:KEY=VALUE,...",
        panel=METHOD,
    ),
]
