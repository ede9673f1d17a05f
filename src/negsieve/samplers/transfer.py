"""Users seen from another domain: their state there beside the mean state here of users who are like them there.

Users are clustered by what they did in the source domain. The mean target state of a cluster says what such
users want here, and fused with a user's own source state it is the user's transferred view. A user
who is unlike the cluster in the target domain, an outlier, is one of whom that view tells something new.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import normalize

from negsieve.errors import CapabilityError, UsageError, nearest
from negsieve.samplers.base import Composition, Learner, Sampler
from negsieve.samplers.kmeans import k_means, means
from negsieve.samplers.prior import PriorStates, due
from negsieve.scorers import Scorer
from negsieve.types import Batch

CHOICES = {
    "centroid": ("raw", "normalised"),
    "outlier_centroid": ("own", "first"),
    "outlier_score": ("cosine", "dot", "random"),
    "without_source": ("apart", "clustered"),
}


class Transfer(Learner):
    """Clusters of users, the target centroid of each, and who is an outlier; made anew before an epoch.

    n_users           U
    clusters          of users, by cosine of their source states
    outliers          w_o: the ``int(size * w_o)`` users of a cluster least like its centroid are outliers
    every, rounds     epochs between two clusterings, and updates of one at most
    states            which state of a user counts
    cosine            users belong to a cluster by cosine; False: by distance
    centroid          "raw": the mean of target states as they are; "normalised": of states of length 1, as in the
                      authors' code, which makes them a tenth of what the fusion was trained on
    outlier_centroid  "own", or "first": that of the first cluster for everybody, as in the authors' code
    outlier_score     "cosine" or "dot", of a user's target state with the centroid; "random": as many users of a
                      cluster at random, which tells what it is worth to choose them
    without_source    users who did nothing elsewhere: "apart" in a group of their own of which nobody is an
                      outlier, or "clustered" by the state that stands for nothing, as in the authors' code

    Before the first refresh nobody is an
    outlier and every centroid is 0. Memory: 5 bytes a user and 8 D a cluster. Ma et al., RecSys 2023, Eqs. 5 and 6.
    """

    needs = frozenset({"domains"})
    advice = "Within one domain: realhns_general."
    elastic = ("centre", "centroid")

    def __init__(
        self,
        n_users: int,
        *,
        clusters: int = 20,
        outliers: float = 0.1,
        every: int = 1,
        rounds: int = 25,
        states: PriorStates | None = None,
        cosine: bool = True,
        centroid: str = "raw",
        outlier_centroid: str = "own",
        outlier_score: str = "cosine",
        without_source: str = "apart",
    ) -> None:
        super().__init__()
        if min(clusters, every, rounds) < 1 or not 0 <= outliers <= 1:
            raise UsageError(
                f"clusters={clusters}, every={every}, rounds={rounds}, outliers={outliers}: wanted 1 or more of the "
                "first three, and a share of outliers from 0 to 1"
            )
        given = {"centroid": centroid, "outlier_centroid": outlier_centroid}
        given |= {"outlier_score": outlier_score, "without_source": without_source}
        for name, value in given.items():
            if value not in CHOICES[name]:
                known = CHOICES[name]
                raise UsageError(f"{name}={value!r}, wanted {' or '.join(known)}.{nearest(value, known)}")
        self.clusters, self.share, self.every, self.rounds, self.cosine = clusters, outliers, every, rounds, cosine
        self.raw, self.first, self.score = centroid == "raw", outlier_centroid == "first", outlier_score
        self.apart = without_source == "apart"
        self.states = PriorStates(n_users) if states is None else states
        self.register_buffer("cluster", torch.zeros(n_users, dtype=torch.int32))  # the last one: without source
        self.register_buffer("outlier", torch.zeros(n_users, dtype=torch.bool))
        self.register_buffer("centre", torch.empty(0, 0))  # [C, D], of source states
        self.register_buffer("centroid", torch.empty(0, 0))  # [C + 1, D], of target states
        self.register_buffer("built", torch.tensor(-1))

    @torch.no_grad()
    def view_of(self, batch: Batch, scorer: Scorer) -> Scorer:
        """The transferred view of a batch: source states beside their clusters' centroids."""
        if not hasattr(scorer, "crossed"):
            raise CapabilityError(
                f"{type(scorer).__name__} shows no states of two domains. Use a model of two domains, such as "
                "sasrec_cdr with a source domain, or realhns_general, which needs one domain alone"
            )
        if not len(self.centroid):
            return scorer.crossed(torch.zeros_like(scorer.target))
        return scorer.crossed(self.centroid[self.cluster[batch.user].long()].to(scorer.target.dtype))

    def is_outlier(self, user: Tensor) -> Tensor:
        """``Long[B]`` -> ``Bool[B]``."""
        return self.outlier[user]

    @torch.no_grad()
    def refresh(self, epoch, view, rng):
        if not due(self.built, epoch, self.every):
            return
        asked = [(batch.user, view(batch)) for batch in self.states.batches()]
        if not asked:
            return
        user = torch.cat([some for some, _ in asked])
        source, target, met = (
            torch.cat([getattr(one, name) for _, one in asked]) for name in ("source", "target", "met")
        )
        self._cluster(user, source.float(), target.float(), met if self.apart else torch.ones_like(met), rng)
        self.built.fill_(epoch)

    def _cluster(self, user: Tensor, source: Tensor, target: Tensor, met: Tensor, rng: torch.Generator) -> None:
        """Makes the memory of the users' states, ``Float[n, D]`` each, and of who has a source, ``Bool[n]``."""
        near = torch.full((len(user),), self.clusters, device=user.device)
        seen = normalize(source[met], dim=-1)
        if len(seen):
            start = self.centre if self.centre.shape == (self.clusters, seen.shape[1]) else None
            many = min(self.clusters, len(seen))
            how = {"rounds": self.rounds, "cosine": self.cosine, "tolerance": 1e-4}
            near[met], centre = k_means(seen, many, rng, start=start, **how)
            self.centre = torch.nn.functional.pad(centre, (0, 0, 0, self.clusters - len(centre)))
        unit = normalize(target, dim=-1)
        self.centroid, _ = means(target if self.raw else unit, near, self.clusters + 1)
        if self.score == "random":
            alike = torch.rand(len(near), generator=rng, device=near.device)
        else:
            facing = self.centroid[torch.zeros_like(near) if self.first else near]
            alike = (target * facing if self.score == "dot" else unit * normalize(facing, dim=-1)).sum(1)
        self.cluster, self.outlier = torch.zeros_like(self.cluster), torch.zeros_like(self.outlier)
        self.cluster[user] = near.int()
        self.outlier[user] = lowest_share(alike, near, self.share) & (near < self.clusters)


class Through(Composition, Sampler):
    """Runs a sampler on the transferred view of every batch, and refreshes it on that of the frozen model."""

    def __init__(self, transfer: Transfer, inner: Sampler) -> None:
        super().__init__()
        self.transfer, self.inner = transfer, inner

    def parts(self):
        return [self.transfer, self.inner]

    def sample(self, batch, scorer, rng):
        return self.inner.sample(batch, self.transfer.view_of(batch, scorer), rng)

    def refresh(self, epoch, view, rng):
        self.transfer.refresh(epoch, view, rng)
        self.inner.refresh(epoch, lambda batch: self.transfer.view_of(batch, view(batch)), rng)

    def scorer_of(self, part, batch, scorer):
        return self.transfer.view_of(batch, scorer) if part is self.inner else scorer


def lowest_share(value: Tensor, group: Tensor, share: float) -> Tensor:
    """The ``int(size * share)`` lowest of each group, ties by place: ``Float[n]``, ``Long[n]`` -> ``Bool[n]``."""
    order = value.sort(stable=True).indices
    order = order[group[order].sort(stable=True).indices]
    size = torch.bincount(group)
    first = size.cumsum(0) - size
    rank = torch.empty_like(group)
    rank[order] = torch.arange(len(group), device=group.device) - first[group[order]]
    return rank < (size.double() * share).long()[group]
