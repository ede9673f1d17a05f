"""``negsieve data``: what is in a log, and which data sets are known by name."""

from __future__ import annotations

from dataclasses import asdict

from negsieve.cli import options, screen, settings

EXAMPLES = options.examples(
    ("look at a log before training on it", "negsieve data summary log.csv"),
    ("data sets known by name", "negsieve data list"),
)
SUMMARY_EXAMPLES = options.examples(
    ("the data that comes along", "negsieve data summary"),
    ("a log of your own", "negsieve data summary ratings.csv --columns user=who,item=what"),
    ("after cleaning", "negsieve data summary ratings.csv --set data.core=5 --set data.rating_min=4"),
    ("another split, for a script", "negsieve data summary ratings.csv --split loo --json"),
)
LIST_EXAMPLES = options.examples(
    ("what is there", "negsieve data list"),
    ("with a folder of your own", "NEGSIEVE_DATA=~/logs negsieve data list"),
)


def summary(
    data: options.Data = None,
    columns: options.Columns = None,
    format: options.DataFormat = None,
    split: options.Split = None,
    target: options.Target = None,
    source: options.Source = None,
    negatives: options.NegativesFile = None,
    config: options.Config = None,
    set_: options.Set = None,
    json: options.Json = False,
) -> None:
    """Read a log, clean and split it, and say what it is like.

    Counts, density, activity, repeats, times, domains, what train does not know, and what cleaning left out.
    """
    from negsieve.cli.train import read

    layers = settings.layered(
        config=config,
        assignments=set_,
        data=data,
        columns=columns,
        data_format=format,
        split=split,
        negatives=negatives,
        target=target,
        source=source,
    )
    dataset = read(layers, quiet=True)
    from negsieve.data.summary import summary as describe
    from negsieve.data.summary import summary_lines

    told = describe(dataset)
    if json:
        screen.write_json(told)
        return
    out = screen.console()
    out.print()
    out.print(screen.facts(summary_lines(told)))
    out.print()


def known(json: options.Json = False) -> None:
    """List the data sets that are known by name, with their licences.

    One comes along. The environment variable NEGSIEVE_DATA may name a folder with more.
    """
    from negsieve.data import catalogue

    with screen.busy("reading", quiet=json):
        entries = catalogue.known()
    if json:
        screen.write_json({"data": [asdict(entry) for entry in entries]})
        return
    out = screen.console()
    made = screen.table("name", "licence", "where", "users", "items", "rows", right=3)
    for one in entries:
        counts = [f"{count:,}" if count else "unreadable" for count in (one.users, one.items, one.interactions)]
        made.add_row(screen.plain(one.name, "cyan"), screen.plain(one.licence), screen.plain(one.where, "dim"), *counts)
    out.print()
    out.print(made)
    several = [(one.name, ", ".join(one.domains)) for one in entries if one.domains]
    if several:
        out.print()
        out.print("Several domains, for --target and --source", style="dim")
        out.print(screen.facts(several))
    out.print()
