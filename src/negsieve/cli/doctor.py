"""``negsieve doctor``: what this installation has to work with, and what would make it faster."""

from __future__ import annotations

from negsieve.cli import failure, options, screen

EXAMPLES = options.examples(
    ("what is in use here", "negsieve doctor"),
    ("for a bug report", "negsieve doctor --json"),
    ("without the compiled kernels", "NEGSIEVE_KERNELS=off negsieve doctor"),
)


def doctor(json: options.Json = False) -> None:
    """Say what this installation has to work with.

    Versions, cores, memory and GPU, which compiled kernels are in use, and what they bring on this machine.
    """
    from negsieve.review.doctor import examine

    with screen.busy("looking around", quiet=json):
        found = examine()
    if json:
        screen.write_json(found)
        return
    out = screen.console()
    here, cores, kernels = found["environment"], found["cores"], found["kernels"]
    others = [one for one in kernels["here"] if one != kernels["in_use"]]
    in_use = f"compiled for {kernels['in_use']}" if kernels["in_use"] else "torch (no compiled ones in use)"
    memory = found["memory"]
    out.print()
    out.print(
        screen.facts(
            [
                ("negsieve", here["negsieve"]),
                ("python, torch", f"{here['python']}, {here['torch']}"),
                ("processor", here["cpu"]),
                ("cores", f"{cores['usable']} of {cores['here']} may be used; torch uses {cores['threads']} threads"),
                ("memory", f"{memory['free_gb']} of {memory['total_gb']} GB free" if memory else None),
                ("GPU", ", ".join(found["gpu"]) or "none that torch can use"),
                ("kernels", in_use + (f" (also here: {', '.join(others)})" if others else "")),
            ]
        )
    )
    table = screen.table("one core does", "a second", "in torch alone", "ratio")
    for one in found["speed"]:
        ratio = f"{one['millions_a_second'] / one['torch']:.1f}x" if one["torch"] else "-"
        table.add_row(one["what"], f"{one['millions_a_second']} M", f"{one['torch']} M", ratio)
    out.print()
    out.print(table)
    out.print()
    for line in found["advice"]:
        failure.note(line, wrap=True)
