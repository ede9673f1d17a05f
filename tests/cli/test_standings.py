import io

from rich.console import Console

from negsieve.cli import figures, standings


def row(method: str, value: float | None, **more) -> dict:
    model, sampler, loss = (*method.split("/"), None, None)[:3]
    mean = {} if value is None else {"recall@20": 2 * value, "ndcg@20": value}
    return {
        "method": method,
        "model": model,
        "sampler": sampler,
        "loss": loss,
        "seeds": [1, 2] if value else [],
        "missing": [],
        "mean": mean,
        "sd": {name: 0.001 for name in mean},
        "difference": None,
        "false_negative_rate": {"mean": 0.0123, "sd": 0.0},
        "seconds": {"mean": 61.0, "sd": 0.0},
        "reference": False,
    } | more


def gap(mean: float, p: float) -> dict:
    return {
        "metric": "ndcg@20",
        "mean": mean,
        "low": mean - 0.01,
        "high": mean + 0.01,
        "p": p,
        "p_adjusted": p,
        "users": 9,
    }


ROWS = [
    row("mf/uniform/bpr", 0.05),
    row("mf/dns/bpr", 0.07, difference=gap(0.02, 0.0001)),
    row("mf/dns/bce", 0.04, difference=gap(-0.01, 0.03)),
    row("[red]x/pdns/bpr", None, missing=[{"seed": 1, "why": "lost"}], false_negative_rate=None, seconds=None),
    row("itemknn", 0.06, reference=True, sd={}, false_negative_rate=None, seconds=None),
]


def shown(width: int) -> list[str]:
    out = io.StringIO()
    console = Console(file=out, width=width, markup=False, highlight=False)
    console.print(standings._table(console, ROWS, "ndcg@20", "mf/uniform/bpr"))
    return [line.rstrip() for line in out.getvalue().splitlines()]


def test_the_best_first_and_everything_in_its_place():
    lines = shown(100)
    assert [line.split()[0] for line in lines[2:] if line[0] != " "][:4] == [
        "mf/dns/bpr",
        "itemknn",
        "mf/uniform",
        "mf/dns/bce",
    ]
    assert "0.1400 ±0.0010" in lines[2] and "+0.0200 ***" in lines[2] and lines[2].endswith("1.23 %   61 s")
    assert "untrained" in lines[3] and "baseline" in lines[4] and "−0.0100 *" in lines[5]


def test_a_method_shows_its_loss_only_where_that_tells_it_apart():
    text = "\n".join(shown(100))
    assert "mf/dns/bce" in text and "mf/dns/bpr" in text
    assert "mf/uniform " in text and "mf/uniform/bpr" not in text


def test_missing_runs_are_counted_beside_their_method_and_seeds_shown_when_they_differ():
    lines = shown(140)
    assert "seeds" in lines[0]
    assert any(line.startswith("[red]x/pdns  1 missing") for line in lines), lines


def test_at_80_columns_numbers_are_short_and_whole():
    lines = shown(80)
    assert max(map(len, lines)) <= 80
    assert any(".1400 ±.0010" in line and "+.0200 ***" in line for line in lines)


def test_warm_and_cold_stand_apart_where_anything_is_cold():
    def groups(warm, cold):
        return {"warm": {"users": 90, "ndcg@20": warm}, "cold_items": {"users": 1234, "ndcg@20": cold}}

    rows = [row("mf/uniform/bpr", 0.05, groups=groups(0.06, 0.001)), row("mf/dns/bpr", 0.07, groups=groups(0.08, 0.0))]
    out = io.StringIO()
    Console(file=out, width=100).print(figures.groups_table(rows, "ndcg@20"))
    lines = [line.split() for line in out.getvalue().splitlines() if line.strip()]
    assert lines[0] == ["ndcg@20", "warm", "cold", "items"] and lines[2] == ["users", "90", "1,234"]
    assert lines[3:] == [["mf/dns/bpr", "0.0800", "0.0000"], ["mf/uniform/bpr", "0.0600", "0.0010"]]
    warm = {"warm": {"users": 1, "ndcg@20": 1}}
    assert figures.groups_table([row("mf/dns/bpr", 0.07, groups=warm)], "ndcg@20") is None
    assert figures.groups_table(ROWS, "ndcg@20") is None
