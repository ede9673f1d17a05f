"""What is planned covers what is published, and every run of it can be made."""

import re
from collections import Counter

import pytest

from negsieve.config import resolve
from negsieve.errors import UsageError
from negsieve.models import named as models
from negsieve.samplers import named as samplers
from negsieve.spec import convert, parse
from negsieve.training import build

GIVEN = ("n_items", "seen", "train", "last_row", "seed")


@pytest.fixture(scope="module")
def parts(command):
    from realhns_parts import plan, published, settings, work

    return plan, published, settings, work


def test_published_figures_are_those_of_the_tables(parts):
    """Sums of each row, every column weighted by its place, added up apart from the file: no digit changes unseen."""
    published = parts[1]
    sums = {
        (2, "toy"): [18.6077, 18.9765, 18.9321, 18.9505, 18.4547, 18.9848, 19.384, 19.5192],
        (2, "game"): [28.3799, 28.591, 28.6772, 28.7587, 28.7737, 28.7173, 28.9847, 28.9756],
        (3, "toy"): [19.0763, 18.4487, 19.4523, 19.2772, 19.5192],
        (3, "game"): [28.7725, 28.7737, 28.907, 28.9512, 28.9756],
        (4, ""): [25.0623, 25.243, 25.6889, 28.3697, 27.7187, 28.4494, 28.761, 28.8224, 28.9643],
    }
    tables = {2: published.TABLE2, 3: published.TABLE3, 4: {"": published.TABLE4}}
    for (number, target), wanted in sums.items():
        rows = tables[number][target].values()
        assert all(len(row) == len(published.METRICS) for row in rows)
        found = [round(sum(place * value for place, value in enumerate(row, start=1)), 4) for row in rows]
        assert found == wanted


@pytest.mark.parametrize("preset", ["clean", "reference", "paper"])
def test_every_published_row_and_every_grid_is_planned_and_can_be_made(parts, preset):
    plan, published, settings, _ = parts
    found = plan.experiments(settings.PRESETS[preset])
    kinds = Counter(one.kind for one in found.values())
    assert kinds == {kind: 2 for kind in kinds} | {"table4": 1} and len(kinds) == 11
    for target in plan.TARGETS:
        known = {row.label: row.published for row in found[f"table2:{target}"].rows}
        assert known == published.TABLE2[target] | {"UNS": published.TABLE3[target]["UNS"]}
        assert {row.label: row.published for row in found[f"table3:{target}"].rows} == published.TABLE3[target]
    assert {row.label: row.published for row in found["table4:game"].rows} == published.TABLE4
    for one in found.values():
        assert len({row.label for row in one.rows}) == len(one.rows)
        for row in one.rows:
            parsed = parse(row.sampler)
            convert(samplers.METHODS[parsed.name], parsed, skip=GIVEN)
    for target, model in {(one.target, row.model) for one in found.values() for row in one.rows}:
        models.check_model(settings.model_of(model, settings.PRESETS[preset]))
        resolve(settings.settings(target, model, settings.PRESETS[preset], epochs=None, begin={}))


@pytest.mark.parametrize("preset", ["clean", "reference", "paper"])
def test_every_planned_method_draws_on_its_model(parts, tiny, preset):
    plan, _, settings, work = parts
    preset = settings.PRESETS[preset]
    one = work.Work(tiny, tiny, preset)
    dataset = settings.load(tiny, settings.settings("game", "mf", preset, epochs=1, begin={})["data"])
    rows = plan.picked(list(plan.experiments(preset).values()), [])
    for experiment, row in {one.method(row).name: (experiment, row) for experiment, row in rows}.values():
        shared = settings.settings(experiment.target, row.model, preset, epochs=1, begin={})
        own = {"model": settings.model_of(row.model, preset), "sampler": row.sampler, "loss": "bce"}
        build.refuse_misnamed(resolve(shared, own, {"oracle": row.oracle}), dataset)


def test_only_the_reference_and_the_control_of_the_leak_know_held_out_items(parts):
    plan, _, settings, _ = parts
    clean = [row for one in plan.experiments(settings.PRESETS["clean"]).values() for row in one.rows]
    assert {row.label for row in clean if row.oracle} == {"leak on"}
    reference = [row for one in plan.experiments(settings.PRESETS["reference"]).values() for row in one.rows]
    knows = {row.label for row in reference if row.sampler.startswith("realhns")} - {"leak off"}
    assert {row.label for row in reference if row.oracle} == knows
    assert settings.PRESETS["reference"].select_on == "test" and settings.PRESETS["clean"].select_on == "valid"


def test_methods_of_a_table_start_alike_and_equal_rows_are_one_run(parts, tmp_path):
    plan, _, settings, work = parts
    preset = settings.PRESETS["clean"]
    found = plan.experiments(preset)
    for kind in ("table2", "table3", "figure4", "figure7", "sizes"):
        assert {row.start for row in found[f"{kind}:game"].rows} == {"pretrained"}
    one = work.Work(tmp_path, tmp_path, preset)
    rows = plan.picked([found["table2:game"], found["table3:game"], found["figure7:game"]], [])
    cells = one.todo(rows)
    assert list(cells) == [work.Cell("game", "sasrec_cdr", "pretrained")]
    assert len(next(iter(cells.values()))) < len(rows)
    path = {(experiment.kind, row.label): one.path(experiment, row, 1) for experiment, row in rows}
    assert path["table2", "RealHNS(DNS*)"] == path["table3", "+GS+CS+UF"] == path["figure7", "outliers 0.8"]
    assert one.estimate(next(iter(cells)), rows=[row for _, row in rows]) > 0


def test_a_name_or_label_that_is_none_is_refused_with_those_there_are(parts):
    plan, _, settings, _ = parts
    found = plan.experiments(settings.PRESETS["clean"])
    with pytest.raises(UsageError, match=re.escape("table5: wanted one of table2:game")):
        plan.chosen(found, ["table5"])
    with pytest.raises(UsageError, match="'DNS'"):
        plan.picked(plan.chosen(found, ["table2"]), ["DNSS"])
    assert {one.target for one in plan.chosen(found, ["toy"])} == {"toy"}
    assert [one.name for one in plan.chosen(found, ["table3"])] == ["table3:game", "table3:toy"]
