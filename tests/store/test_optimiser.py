import copy

import pytest
import torch

from negsieve.errors import ConfigError
from negsieve.store.checkpoint import load, pack_optimiser, save, unpack_optimiser

MAKERS = {
    "adam": lambda p: torch.optim.Adam(p, lr=1e-3, betas=(0.8, 0.95)),
    "amsgrad": lambda p: torch.optim.Adam(p, lr=1e-3, amsgrad=True),
    "adamw": lambda p: torch.optim.AdamW([{"params": p[:1], "lr": 0.1 + 0.2}, {"params": p[1:]}], weight_decay=0.1),
    "tensor lr": lambda p: torch.optim.Adam(p, lr=torch.tensor(1e-3)),
    "sgd": lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9, nesterov=True),
    "plain sgd": lambda p: torch.optim.SGD(p, lr=0.1),
    "adagrad": lambda p: torch.optim.Adagrad(p, lr=0.1, initial_accumulator_value=0.1),
}


def parameters(shapes=((4, 3), (5,), ())):
    rng = torch.Generator().manual_seed(3)
    return [torch.nn.Parameter(torch.randn(shape, generator=rng)) for shape in shapes]


def steps(params, optimiser, first, last):
    for number in range(first, last):
        rng = torch.Generator().manual_seed(number)
        for place, one in enumerate(params):
            # the last parameter gets no gradient at first: an optimiser then has no memory of it
            one.grad = None if place == 2 and number < 5 else torch.randn(one.shape, generator=rng)
        optimiser.step()


@pytest.mark.parametrize("name", MAKERS)
@pytest.mark.parametrize("stop", [0, 3, 8])
def test_going_on_after_a_checkpoint_gives_the_same_bits(tmp_path, name, stop):
    params = parameters()
    optimiser = MAKERS[name](params)
    steps(params, optimiser, 0, stop)
    tensors, state = pack_optimiser(optimiser)
    weights = {str(place): one for place, one in enumerate(params)}
    folder = save(tmp_path, stop, {"model": weights, "optimiser": tensors}, {"optimiser": state})
    steps(params, optimiser, stop, 12)

    found = load(folder)
    other = parameters()
    for place, one in enumerate(other):
        one.data.copy_(found.groups["model"][str(place)])
    again = MAKERS[name](other)
    unpack_optimiser(again, found.groups["optimiser"], found.state["optimiser"])
    steps(other, again, stop, 12)
    for one, two in zip(params, other, strict=True):
        assert torch.equal(one, two)
    one, two = pack_optimiser(optimiser), pack_optimiser(again)
    assert one[1] == two[1] and one[0].keys() == two[0].keys()
    assert all(torch.equal(one[0][key], two[0][key]) for key in one[0])


def test_options_keep_their_type(tmp_path):
    params = parameters()
    optimiser = MAKERS["adam"](params)
    tensors, state = pack_optimiser(optimiser)
    found = load(save(tmp_path, 0, {"optimiser": tensors}, state))
    before = copy.deepcopy(optimiser.state_dict()["param_groups"])
    unpack_optimiser(optimiser, found.groups["optimiser"], found.state)
    assert optimiser.state_dict()["param_groups"] == before
    assert isinstance(optimiser.param_groups[0]["betas"], tuple)


def test_loading_does_not_share_memory_with_the_checkpoint():
    params = parameters()
    optimiser = MAKERS["adam"](params)
    steps(params, optimiser, 0, 2)
    tensors, state = pack_optimiser(optimiser)
    kept = {name: one.clone() for name, one in tensors.items()}
    other = MAKERS["adam"](parameters())
    unpack_optimiser(other, kept, state)
    steps(params, other, 2, 4)
    assert all(torch.equal(kept[name], tensors[name]) for name in kept)


def test_another_optimiser_or_model_is_refused():
    tensors, state = pack_optimiser(MAKERS["adam"](parameters()))
    with pytest.raises(ConfigError, match="is of Adam, this run uses SGD"):
        unpack_optimiser(MAKERS["sgd"](parameters()), tensors, state)
    with pytest.raises(ConfigError, match="shaped"):
        unpack_optimiser(MAKERS["adam"](parameters(((4, 3), (6,), ()))), tensors, state)
    with pytest.raises(ConfigError, match="shaped"):
        unpack_optimiser(MAKERS["adam"](parameters(((4, 3),))), tensors, state)
