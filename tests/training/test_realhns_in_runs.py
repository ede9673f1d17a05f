"""RealHNS through the whole product: trained and resumed while columns turn hard, nothing leaked, oracles stamped."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from negsieve.config import resolve
from negsieve.errors import CapabilityError, UsageError
from negsieve.store.run import Run
from negsieve.training import session

SHAPE = "dim=8,max_len=8,dropout=0.2,order=given"
MODEL = f"sasrec_cdr:{SHAPE}"
SMALL = "mu=0,psi=1,eta=2,candidates=8,fine_max=6,p_min=10,p_max=90,item_clusters=4,n_negatives=8"
CROSS = f"realhns:{SMALL},n_general=3,n_cross=2,cross_max=80,user_clusters=3,outliers=0.5"
GENERAL = f"realhns_general:{SMALL},n_hard=4"


@pytest.fixture(scope="module")
def data(domains):
    return domains()


def settings(model, sampler=CROSS, **layers):
    train = {"epochs": 4, "batch_size": 128, "lr": 0.01, "device": "cpu", "seed": 3} | layers.pop("train", {})
    first = {"model": model, "sampler": sampler, "evaluate": {"metrics": ["recall@5", "ndcg@20"], "test_metrics": []}}
    return resolve({"train": train}, first, layers)


def test_a_resume_in_the_middle_of_the_curriculum_is_bit_identical(data, tmp_path, stopping):
    config = settings(MODEL, train={"checkpoint_every": 4, "patience": 0})
    result = session.start(config, data, path=tmp_path / "whole")
    records = Run(tmp_path / "whole").metrics()
    hard = [1 - one["origins"]["random"] for one in records]
    assert hard == pytest.approx([2 / 8, 4 / 8, 5 / 8, 5 / 8])
    assert [one["origins"]["cross"] > 0 for one in records] == [False, True, True, True]
    assert result["loss"] == "bce" and records[-1]["loss"] < records[0]["loss"]
    steps = records[0]["steps"]
    for epoch, step in [(1, 0), (2, steps - 1)]:
        path = tmp_path / f"cut-{epoch}-{step}"
        with pytest.raises(stopping.Killed):
            session.start(config, data, path=path, watch=stopping.At(epoch, step))
        session.resume(path)
        assert stopping.digest(Run(path)) == stopping.digest(Run(tmp_path / "whole"))


@pytest.mark.parametrize(("model", "sampler"), [
    (MODEL, CROSS),
    (f"sasrec:{SHAPE}", GENERAL),
    ("lightgcn:dim=8,layers=1", f"{GENERAL},base=mixgcf"),
    ("mf:dim=8", GENERAL),
])  # fmt: skip
def test_nothing_held_out_reaches_training(data, tmp_path, model, sampler):
    """Every held-out item, and every source item after the last train row, is another: the trained bits stay."""
    log, beside = data.interactions, data.aside
    item = np.where(data.part > 0, (log.item + 7) % data.n_items, log.item)
    last = np.zeros(data.n_users, dtype=np.int64)
    np.maximum.at(last, log.user[data.part == 0], beside.target[data.part == 0])
    elsewhere = np.where(beside.row > last[beside.user], (beside.item + 5) % beside.n_items, beside.item)
    other = replace(data, interactions=replace(log, item=item), aside=replace(beside, item=elsewhere))
    for path, one in (("own", data), ("other", other)):
        session.start(settings(model, sampler, train={"patience": 0}), one, path=tmp_path / path)
    own, other = (Run(tmp_path / path).load_latest().groups for path in ("own", "other"))
    assert all(torch.equal(own[group][one], other[group][one]) for group in ("model", "memory") for one in own[group])


def test_the_authors_code_runs_as_an_oracle_alone(data, tmp_path):
    config = settings(MODEL, f"{CROSS},preset=reference")
    with pytest.raises(UsageError, match="--oracle valid,test"):
        session.start(config, data, path=tmp_path / "run")
    assert not (tmp_path / "run").exists()
    config = settings(MODEL, f"{CROSS},preset=reference", oracle=("valid", "test"))
    result = session.start(config, data, path=tmp_path / "run")
    assert result["stamps"] == ["oracle: the sampler knew valid, test"]
    memory = Run(tmp_path / "run").load_latest().groups["memory"]
    candidate = memory["general.source.candidate"].long()
    own = data.seen("train", "valid", "test").contains(torch.arange(data.n_users), candidate)
    assert not (own & (candidate >= 0)).any()


def test_a_model_of_one_domain_is_refused_with_what_would_serve(data, tmp_path):
    with pytest.raises(CapabilityError, match=r"sasrec_cdr.*realhns_general"):
        session.start(settings("mf:dim=8"), data, path=tmp_path / "run")


@pytest.mark.parametrize(
    ("model", "sampler"),
    [(MODEL, f"{CROSS},base=mixgcf"), (f"dasl:{SHAPE}", f"{CROSS},base=dns"), (MODEL, f"{CROSS},preset=paper")],
)
def test_every_kind_of_columns_trains(data, tmp_path, model, sampler):
    session.start(settings(model, sampler), data, path=tmp_path / "run")
    records = Run(tmp_path / "run").metrics()
    assert records[-1]["loss"] < records[0]["loss"]
