"""Dynamic selection: among some candidates, the model's own scores say which are hard."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from pydantic import NonNegativeInt, PositiveInt

from negsieve.errors import UsageError
from negsieve.samplers.band import First, RankRange
from negsieve.samplers.base import Chain, Sampler
from negsieve.samplers.columns import Columns
from negsieve.samplers.combine import Concat
from negsieve.samplers.curriculum import Always, Growing, Plan
from negsieve.samplers.draw import Shared, Weighted, powered
from negsieve.samplers.groups import HardestOfEach
from negsieve.samplers.nearest import Nearest
from negsieve.samplers.posterior import MinRisk
from negsieve.samplers.ranking import FactorRank
from negsieve.samplers.select import Hardest, SoftmaxWeight
from negsieve.samplers.synthesise import HopMix
from negsieve.samplers.violator import FirstViolator
from negsieve.seen import Seen
from negsieve.spec import Positive, Scalar, Share


def dns(n_items: int, *, seen: Seen, candidates: PositiveInt = 16, n_negatives: PositiveInt = 1) -> Sampler:
    """The hardest of some uniform candidates, DNS (Zhang et al., SIGIR 2013): ``argmax_k s(u, k)``.

    candidates   H, drawn once a row; grid 2, 4, 8, 16, 32, 64
    n_negatives  the top K of the H (not K times the top of H)

    Cost H + (K + 1). Hardness depends on H / I, not on H alone: a large H on a small or dense
    catalogue finds mostly false negatives.
    """
    return Chain(Weighted(n_items, seen=seen, n_negatives=candidates), Hardest(n_negatives))


def dns_mn(
    n_items: int, *, seen: Seen, m: PositiveInt = 4, n: PositiveInt = 32, mode: Literal["mean", "sum", "one"] = "mean"
) -> Sampler:
    """The top M of N uniform candidates, DNS(M,N) (Shi et al., WWW 2023).

    m     M, grid 1, 2, 3, 4, 5, 10, 20
    n     N, 200 or 500 in the paper
    mode  "mean" over the M (the paper, the default), "sum" (their code), "one" of the M at random
          (another group's code)

    With "mean" an estimator of the one-way partial AUC at false positive rates up to M / N.
    Cost N + (M + 1). Their code also draws without exclusion, and scores all N with gradient.
    """
    return Chain(Weighted(n_items, seen=seen, n_negatives=n), Hardest(m, mode=mode))


def dns_star(
    n_items: int,
    *,
    seen: Seen,
    m: PositiveInt = 5,
    n: PositiveInt = 50,
    mix: bool = False,
    n_negatives: PositiveInt = 20,
    n_hard: PositiveInt = 10,
    curriculum: bool = False,
    mu: NonNegativeInt = 5,
    psi: PositiveInt = 2,
    eta: PositiveInt = 1,
) -> Sampler:
    """Random and hard columns side by side, DNS* as RealHNS compares with it (Ma et al., RecSys 2023).

    Each hard column is a uniform one of the top M of N uniform candidates of its own; ``m=1`` is DNS in columns.

    m, n         M and N
    mix          the hardest of the N, mixed with the positive at a random share: MixGCF in columns, with ``m=1``
    n_negatives  columns
    n_hard       hard ones among them
    curriculum   False: from the first epoch on; True: ``eta`` more every ``psi`` epochs after epoch ``mu``

    Cost n_hard N + (n_negatives + 1). ``dns_mn`` averages over the M of one pool instead, without random columns.
    """
    if mix and m > 1:
        raise UsageError(f"m={m} with mix=true: what is mixed is the hardest of the {n}, so m=1")
    picker = HopMix(n_hard, one_layer=True) if mix else HardestOfEach(n_hard, m=m)
    plan: Plan = Growing(n_hard, 0, mu=mu, psi=psi, eta=eta) if curriculum else Always(n_hard)
    random, hard = (Weighted(n_items, seen=seen, n_negatives=k) for k in (n_negatives, n_hard * n))
    return Columns(random, Chain(hard, picker), plan=plan)


def softmax_v(n_items: int, *, seen: Seen, n: PositiveInt = 32, rho: Positive = 1.0) -> Sampler:
    """N uniform candidates weighted by the softmax of their loss, Softmax-v (Shi et al., WWW 2023).

    ``w_j = softmax(l_j / tau)``, ``l_j = softplus(s_j - s_i)``, ``tau = sqrt(Var_j(l_j) / (2 rho))``.

    n    N, 200 or 500 in the paper
    rho  grid .01, .1, 1, 10, 100, or a schedule; towards 0 plain averaging, towards infinity DNS

    Cost (N + 1) + (N + 1). Their code also subtracts log q, a constant for uniform draws.
    """
    return Chain(Weighted(n_items, seen=seen, n_negatives=n), SoftmaxWeight(rho))


def dns_band(
    n_items: int,
    *,
    seen: Seen,
    n: PositiveInt = 32,
    low: Share = 0.1,
    high: Share = 0.2,
    n_negatives: PositiveInt = 1,
) -> Sampler:
    """Uniform draws from a band of N candidates ranked by score: DNS that skips the very hardest.

    n            N, drawn once a row
    low, high    the band as shares of the N, hardest first; numbers or schedules; low=0 with high=1/N is DNS
    n_negatives  draws from the band, with replacement

    Cost N + (K + 1). Percentile bands are a step of several methods (RealHNS, RecSys 2023, takes them over
    all items once an epoch); alone and over N candidates, as here, it is nobody's published method.
    """
    return Chain(Weighted(n_items, seen=seen, n_negatives=n), RankRange(low, high, m=n_negatives))


def curriculum(n_items: int, *, seen: Seen, candidates: PositiveInt = 16, epochs: PositiveInt = 100) -> Sampler:
    """From hard to easy by the number of candidates, CNS (a baseline in the code of Lai et al., AAAI 2024).

    At epoch t the hardest of the first ``max(1, floor((1 - t / T) C))`` uniform candidates.

    candidates  C at the start
    epochs      T, after which draws are uniform

    Cost C + 2: all C are scored and then masked, so the cost does not fall with the pool, as theirs does.
    """
    draws = Weighted(n_items, seen=seen, n_negatives=candidates)
    return Chain(draws, First(f"linear:1:0:{epochs}"), Hardest())


def ahns(
    n_items: int,
    *,
    seen: Seen,
    candidates: PositiveInt = 16,
    alpha: Scalar = 1.0,
    beta: Positive = 0.1,
    p: float = -2.0,
) -> Sampler:
    """Adaptive hardness, AHNS (Lai et al., AAAI 2024): ``argmin_k |s_k - beta (s_i + alpha)^(p + 1)|``.

    candidates   C; grid 16, 32
    alpha, beta  grid .1, .5, 1 and .1, .4, or schedules
    p            below 0; -2 makes the target ``beta / (s_i + alpha)``

    Cost (C + 1) + 2. Their code takes ``s_i + alpha`` as it comes, which flips the target's sign or makes it infinite
    when it is not above 0; here it is held above 0. Their choice of similarity is the model's here.
    """
    return Chain(Weighted(n_items, seen=seen, n_negatives=candidates), Nearest(alpha, beta, p=p))


def warp(n_items: int, *, seen: Seen, tries: PositiveInt = 32, margin: float = 1.0) -> Sampler:
    """The first of T uniform tries that violates the margin, WARP (Weston et al., IJCAI 2011).

    Weighted by ``Phi(floor((I - 1) / n))`` for a violator at try n, ``Phi(k) = 1 + 1/2 + .. + 1/k``.

    tries   T; grid 10 to 500
    margin  of the choice and of the default loss, ``hinge`` with the same margin

    Cost (T + 1) + 2, all tries at once: the law of drawing until one violates, without its early stop. A row
    without a violator counts nothing.
    """
    return Chain(Weighted(n_items, seen=seen, n_negatives=tries), FirstViolator(n_items, margin=margin))


def bns(
    n_items: int,
    *,
    seen: Seen,
    candidates: PositiveInt = 5,
    lam: Scalar = 5.0,
    prior_scale: Scalar = 1.0,
    reference: PositiveInt = 256,
) -> Sampler:
    """The candidate of the least Bayesian risk, BNS (Liu and Wang, ICDE 2023).

    ``argmin_l info_l (1 - (1 + lam) unbias_l)``, ``info = sigmoid(s_l - s_i)``,
    ``unbias = (1 - F)(1 - P) / (1 - F - P + 2 F P)``.

    candidates   5 in the paper
    lam          what a false negative costs, 0 or more; a number or a schedule
    prior_scale  ``P = min(1, prior_scale * count / pairs)``; 1 is their code's, at which the filter is almost
                 inert; try up to pairs / users
    reference    R uniform unseen items that ``F`` is estimated on; .085 off at most at 256, 19 times in 20

    Cost (C + 1 + R) + 2, R of it one matmul. Their code computes F over all items, in one version with the
    training positives among them.
    """
    risk = MinRisk(seen, lam=lam, prior_scale=prior_scale, reference=reference)
    return Chain(Weighted(n_items, seen=seen, n_negatives=candidates), risk)


def amns(
    n_items: int,
    *,
    seen: Seen,
    uniform: PositiveInt = 200,
    popular: PositiveInt = 50,
    n_negatives: PositiveInt = 50,
    alpha: float = 1.0,
) -> Sampler:
    """The hardest of uniform and popular candidates together, AMNS (Apple, 2024).

    uniform, popular  how many of each kind, one set for the whole batch
    n_negatives       K, the hardest of them for each row
    alpha             popular candidates are drawn by ``count^alpha``

    Cost (uniform + popular) in one matmul + (K + 1). Their second kind are positives of the batch, whose law is
    popularity at alpha=1. An item may occur twice among the K.
    """
    law = powered(seen.popularity(), alpha=alpha)
    popular_draws = Shared(n_items, seen=seen, n_negatives=popular, weight=law)
    return Chain(Concat(Shared(n_items, seen=seen, n_negatives=uniform), popular_draws), Hardest(n_negatives))


def aobpr(
    n_items: int, *, seen: Seen, n_negatives: PositiveInt = 1, lam: Positive = 200.0, tries: PositiveInt = 8
) -> Sampler:
    """Draws by rank along the model's factors, AOBPR (Rendle and Freudenthaler, WSDM 2014).

    A factor f by ``|q_f| std_f``, a rank by ``p(r) ~ exp(-(r + 1) / lam)``; the item at that rank by
    factor f, from the other end where ``q_f`` is below 0.

    n_negatives  K, with replacement
    lam          mean rank, a number or a schedule; smaller is harder
    tries        draws for one negative until it is unseen

    Cost 0 + (K + 1), and D sorts of all items an epoch. Needs a dot product. The paper sorts anew after
    I log I draws; here every epoch, of a graph model's propagated vectors.
    """
    return FactorRank(n_items, seen=seen, n_negatives=n_negatives, lam=lam, tries=tries)


def _warp_loss(params: Mapping[str, object]) -> str:
    return f"hinge:margin={params.get('margin', 1.0)}"


METHODS = {
    "dns": dns,
    "dns_mn": dns_mn,
    "dns_star": dns_star,
    "softmax_v": softmax_v,
    "dns_band": dns_band,
    "curriculum": curriculum,
    "ahns": ahns,
    "warp": warp,
    "bns": bns,
    "amns": amns,
    "aobpr": aobpr,
}

ALIASES = {
    "hard": "dns",
    "hard_negatives": "dns",
    "dns+": "dns_mn",
    "dns*": "dns_mn",
    "dnsmn": "dns_mn",
    "dnsstar": "dns_star",
    "softmaxv": "softmax_v",
    "cns": "curriculum",
}

LOSSES = {"warp": _warp_loss, "amns": "softmax", "dns_star": "bce"}
