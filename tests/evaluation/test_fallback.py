import torch

from negsieve.evaluation.fallback import ServeCold
from negsieve.scorers import Dot, Towers
from negsieve.types import Batch


def test_cold_rows_get_popularity_and_others_their_own(dataset_of):
    data = dataset_of([[0, 0, -1], [2, -1, 2], [0, -1, -1]])
    served = ServeCold(Towers(torch.full((3, 1), -1.0), torch.tensor([[1.0], [2.0], [3.0]])), data)
    scorer = served(Batch(torch.tensor([0, 1])))
    assert scorer.all().tolist() == [[-1.0, -2.0, -3.0], [2.0, 1.0, 0.0]]
    assert scorer.score(torch.tensor([[2, 0]])).tolist() == [[-3.0, -1.0], [0.0, 2.0]]
    assert scorer.score(torch.tensor([[2], [1]])).tolist() == [[-3.0], [1.0]]


def test_a_batch_without_cold_users_passes_untouched(dataset_of):
    data = dataset_of([[0, 0, -1], [2, -1, 2]])
    assert isinstance(ServeCold(Towers(torch.ones(2, 1), torch.ones(3, 1)), data)(Batch(torch.tensor([0]))), Dot)
