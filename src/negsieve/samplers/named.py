"""Every published method by its name: one function a paper, each a composition of a few parts.

All of them take the number of items, and the training pairs ``seen`` that must not come up as
negatives, by keyword. Costs are in score evaluations per positive, as "without gradient + with
gradient"; the positive's own is the last 1. docs/methods has a page for each.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Literal

from pydantic import PositiveFloat, PositiveInt

from negsieve.errors import UsageError, nearest
from negsieve.samplers.base import Chain, Sampler
from negsieve.samplers.draw import InBatch, Shared, Weighted, powered
from negsieve.samplers.plugins import plugins
from negsieve.samplers.select import Hardest, SoftmaxWeight
from negsieve.samplers.synthesise import HopMix, MixPositive
from negsieve.seen import Seen
from negsieve.spec import Spec, resolve


def uniform(
    n_items: int, *, seen: Seen, n_negatives: PositiveInt = 1, exclude: Literal["train", "positive", "none"] = "train"
) -> Sampler:
    """Uniform negatives, RNS (Rendle et al., BPR, UAI 2009): ``j ~ U(I \\ I_u)``.

    Cost 0 + (K + 1). Exclusion is exact, without rejection. Many codes draw from all items instead,
    training positives included: ``exclude="none"`` does as they do, and is not the default.
    """
    return Weighted(n_items, seen=seen, n_negatives=n_negatives, exclude=exclude)


def popularity(n_items: int, *, seen: Seen, alpha: float = 0.75, n_negatives: PositiveInt = 1) -> Sampler:
    """Popularity negatives, PNS (Chen et al., KDD 2017): ``q(j) ~ count_j^alpha`` over ``I \\ I_u``.

    alpha  0 is uniform, 1 the training frequency; grid .25, .5, .75, 1

    Cost 0 + (K + 1). ``log_q`` is exact. Some codes draw without replacement and still correct by the
    law with replacement; here draws are with replacement.
    """
    return Weighted(n_items, seen=seen, n_negatives=n_negatives, weight=_weight(seen, alpha))


def in_batch(n_items: int, *, seen: Seen) -> Sampler:
    """The other positives of the batch, with log q (Yi et al., RecSys 2019).

    Cost 0 + B, by one matmul; its loss is a softmax. Equal items, and items that the row's user has
    seen, are masked, which the paper does not do. ``log_q`` is the training frequency; the paper's
    streaming estimate of it is not needed where the data are at hand.
    """
    return InBatch(seen.popularity(), seen=seen)


def shared(n_items: int, *, seen: Seen, n_negatives: PositiveInt = 256, alpha: float = 0.0) -> Sampler:
    """One set of K negatives for the whole batch, with log q: sampled softmax (Jean et al., ACL 2015).

    alpha  0 draws uniformly, else by count^alpha

    Cost 0 + (K + 1), by one matmul. What a row's user has seen is masked.
    """
    return Shared(n_items, seen=seen, n_negatives=n_negatives, weight=_weight(seen, alpha))


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


def softmax_v(n_items: int, *, seen: Seen, n: PositiveInt = 32, rho: PositiveFloat = 1.0) -> Sampler:
    """N uniform candidates weighted by the softmax of their loss, Softmax-v (Shi et al., WWW 2023).

    ``w_j = softmax(l_j / tau)``, ``l_j = softplus(s_j - s_i)``, ``tau = sqrt(Var_j(l_j) / (2 rho))``.

    n    N, 200 or 500 in the paper
    rho  grid .01, .1, 1, 10, 100; towards 0 plain averaging, towards infinity DNS

    Cost (N + 1) + (N + 1). Their code also subtracts log q, a constant for uniform draws.
    """
    return Chain(Weighted(n_items, seen=seen, n_negatives=n), SoftmaxWeight(rho))


def pdns(
    n_items: int, *, seen: Seen, candidates: PositiveInt = 16, beta: float = 0.1, form: Literal["mix", "soft"] = "mix"
) -> Sampler:
    """Positive-dominated negatives, PDNS: the DNS choice mixed with the positive.

    ``e' = (1 - beta) e_i + beta e_j``, and BPR on it.

    candidates  H, grid 8, 16, 32, 64
    beta        grid .01, .05, .1, .2, .3, .4
    form        "mix" makes that vector; "soft" is DNS, and its default loss ``soft_bpr`` with the
                same beta does the rest. One method for dot products, two for a cosine.

    Cost H + 2. The paper's text describes "mix", its algorithm is "soft". With free embeddings it is
    plain DNS at another learning rate, initial scale and L2: see docs/methods/pdns.md.
    """
    if not 0 < beta <= 1:
        raise UsageError(f"beta={beta}, wanted a share above 0 and up to 1")
    if form not in ("mix", "soft"):
        raise UsageError(f"form={form!r}, wanted one of mix, soft.{nearest(form, ('mix', 'soft'))}")
    hard = (Weighted(n_items, seen=seen, n_negatives=candidates), Hardest(1))
    return Chain(*hard, MixPositive(1 - beta)) if form == "mix" else Chain(*hard)


def mixgcf(
    n_items: int,
    *,
    seen: Seen,
    candidates: PositiveInt = 16,
    n_negatives: PositiveInt = 1,
    mix: Literal["row", "none"] = "row",
) -> Sampler:
    """Hop mixing, MixGCF (Huang et al., KDD 2021): a negative of the hardest layers, mixed with the positive's.

    candidates   a negative, as in their code: n_negatives times as many are drawn; grid 16, 32, 64
    n_negatives  K; above 1 the default loss is ``k_pair``
    mix          "row": one random share a row, negative and hop; "none": hop-wise DNS, without the positive

    Cost candidates * K * (H + 1) + (K + 1). The share does not change which candidate is hardest, so
    only the chosen are mixed. Their code drops the last incomplete batch, and other groups' copies
    draw the share per candidate and dimension, which is another method.
    """
    source = Weighted(n_items, seen=seen, n_negatives=candidates * n_negatives)
    return Chain(source, HopMix(n_negatives, mix=mix))


METHODS: dict[str, Callable[..., Sampler]] = {
    "uniform": uniform,
    "popularity": popularity,
    "in_batch": in_batch,
    "shared": shared,
    "dns": dns,
    "dns_mn": dns_mn,
    "softmax_v": softmax_v,
    "pdns": pdns,
    "mixgcf": mixgcf,
}

ALIASES: dict[str, str] = {
    "rns": "uniform",
    "random": "uniform",
    "bpr": "uniform",
    "pns": "popularity",
    "pop": "popularity",
    "nncf": "popularity",
    "inbatch": "in_batch",
    "sampled_softmax": "shared",
    "hard": "dns",
    "hard_negatives": "dns",
    "dns+": "dns_mn",
    "dns*": "dns_mn",
    "dnsmn": "dns_mn",
    "softmaxv": "softmax_v",
    "mix_gcf": "mixgcf",
}


def find(name: str, *, allow_import: bool = False) -> Callable[..., Sampler]:
    """The function behind a method's name, an alias, an installed plug-in's name, or ``module:function``.

    ``module:function`` is imported only with ``allow_import``, which is for the command line alone.
    Raises ``UsageError`` with a did-you-mean.
    """
    spec = Spec(name)
    plain = name.replace("-", "_").lower()
    known = spec.outside or plain in METHODS or plain in ALIASES
    offered = {} if known else plugins()
    return resolve(spec, METHODS, aliases=ALIASES, plugins=offered, allow_import=allow_import, what="sampler")


def default_loss(name: str, params: Mapping[str, object]) -> str:
    """The loss, as a string that the user could have typed, that a method's paper trains it with.

    ``params`` are the sampler's given parameters, as text or values. A sampler from outside has "bpr".
    """
    name = name.replace("-", "_").lower()
    name = ALIASES.get(name, name)
    if name in ("in_batch", "shared"):
        return "softmax"
    if name == "mixgcf" and str(params.get("n_negatives", 1)) != "1":
        return "k_pair"
    if name == "pdns" and params.get("form", "mix") == "soft":
        return f"soft_bpr:beta={params.get('beta', 0.1)}"
    return "bpr"


def from_recbole(args: Mapping[str, object]) -> str:
    """RecBole's ``train_neg_sample_args`` as the string of the same method here.

    ``{"distribution": "popularity", "sample_num": 2, "alpha": 0.5}`` -> ``"popularity:alpha=0.5,n_negatives=2"``.
    Raises ``UsageError`` for what has no equal here, instead of running something near it.
    """
    known = ("distribution", "sample_num", "alpha", "dynamic", "candidate_num")
    for name in args:
        if name not in known:
            raise UsageError(f"train_neg_sample_args has no {name!r}; known: {', '.join(known)}.{nearest(name, known)}")
    law, many = args.get("distribution", "uniform"), _whole(args, "sample_num", 1)
    if law not in ("uniform", "popularity"):
        raise UsageError(f"train_neg_sample_args: distribution={law!r}, wanted 'uniform' or 'popularity'")
    if args.get("dynamic"):
        candidates = _whole(args, "candidate_num", 0)
        if law != "uniform" or many != 1 or candidates < 1:
            raise UsageError(
                f"train_neg_sample_args: dynamic sampling with distribution={law!r}, sample_num={many} and "
                f"candidate_num={candidates} has no equal here; uniform, sample_num=1 and candidate_num above 0 has "
                "(dns), and several hard negatives are dns_mn"
            )
        return f"dns:candidates={candidates}"
    if law == "uniform":
        return f"uniform:n_negatives={many}"
    return f"popularity:alpha={args.get('alpha', 1.0)},n_negatives={many}"


def _whole(args: Mapping[str, object], name: str, default: int) -> int:
    value = args.get(name, default)
    if not str(value).isdigit():
        raise UsageError(f"train_neg_sample_args: {name}={value!r}, wanted a whole number")
    return int(str(value))


def _weight(seen: Seen, alpha: float):
    return powered(seen.popularity(), alpha=alpha, n_users=seen.n_users)
