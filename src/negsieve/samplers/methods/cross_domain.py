"""Real hard negatives: from a band of the ranking, filtered by similarity, and some by way of another domain."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

from pydantic import NonNegativeInt, PositiveFloat, PositiveInt
from torch import Tensor

from negsieve.errors import UsageError
from negsieve.samplers.amongkept import AmongKept
from negsieve.samplers.base import Chain, Sampler, Stage
from negsieve.samplers.columns import Columns
from negsieve.samplers.curriculum import Always, Growing, Plan
from negsieve.samplers.draw import Weighted
from negsieve.samplers.groups import HardestOfEach
from negsieve.samplers.prior import PriorStates
from negsieve.samplers.rankband import RankBand
from negsieve.samplers.similar import SimilarTo
from negsieve.samplers.synthesise import HopMix
from negsieve.samplers.topdraw import TopDraw
from negsieve.samplers.transfer import Through, Transfer
from negsieve.seen import Seen

Base = Literal["dns_star", "dns", "mixgcf"]
Preset = Literal["clean", "paper", "reference"]

PRESETS = {
    "clean": {
        "exclude": "train",
        "columns": "own",
        "growth": "general_first",
        "state": "last_positive",
        "metric": "cosine",
        "centroid": "raw",
        "outlier_centroid": "own",
        "outlier_score": "cosine",
        "without_source": "apart",
        "draws": "replace",
    },
    "paper": {
        "exclude": "train",
        "columns": "top",
        "growth": "proportional",
        "state": "last",
        "metric": "euclid",
        "centroid": "raw",
        "outlier_centroid": "own",
        "outlier_score": "dot",
        "without_source": "clustered",
        "draws": "distinct",
    },
    "reference": {
        "exclude": "all",
        "columns": "shared",
        "growth": "general_first",
        "state": "last_positive",
        "metric": "cosine",
        "centroid": "normalised",
        "outlier_centroid": "first",
        "outlier_score": "cosine",
        "without_source": "clustered",
        "draws": "replace",
    },
}
"""What a setting left at "auto" is: our choice, the paper's text read literally, the authors' code."""


def realhns(
    n_items: int,
    *,
    seen: Seen,
    train: Seen | None = None,
    last_row: Tensor | None = None,
    base: Base = "dns_star",
    general: bool = True,
    cross: bool = True,
    user_filter: bool = True,
    preset: Preset = "clean",
    n_negatives: PositiveInt = 20,
    n_general: PositiveInt = 8,
    n_cross: PositiveInt = 2,
    candidates: PositiveInt = 1000,
    fine_min: NonNegativeInt = 0,
    fine_max: PositiveInt = 100,
    group: PositiveInt = 10,
    p_min: float = 30.0,
    p_max: float = 40.0,
    cross_min: float = 0.0,
    cross_max: float = 30.0,
    item_filter: Literal["on", "off", "inverted"] = "on",
    item_clusters: PositiveInt = 100,
    chi: PositiveFloat = 5.0,
    tau: PositiveFloat = 1.15,
    user_clusters: PositiveInt = 20,
    outliers: float = 0.1,
    spare: Literal["general", "random"] = "general",
    curriculum: bool = True,
    mu: NonNegativeInt = 5,
    psi: PositiveInt = 2,
    eta: PositiveInt = 1,
    every: PositiveInt = 1,
    mode: Literal["auto", "exact", "sampled"] = "auto",
    choice: Literal["eval", "train"] = "eval",
    exclude: Literal["auto", "train", "all"] = "auto",
    columns: Literal["auto", "own", "shared", "top"] = "auto",
    growth: Literal["auto", "general_first", "proportional"] = "auto",
    state: Literal["auto", "last_positive", "last"] = "auto",
    metric: Literal["auto", "cosine", "euclid"] = "auto",
    draws: Literal["auto", "replace", "distinct"] = "auto",
    centroid: Literal["auto", "raw", "normalised"] = "auto",
    outlier_centroid: Literal["auto", "own", "first"] = "auto",
    outlier_score: Literal["auto", "cosine", "dot", "random"] = "auto",
    without_source: Literal["auto", "apart", "clustered"] = "auto",
) -> Sampler:
    """Real hard negatives across domains, RealHNS (Ma et al., RecSys 2023).

    Of ``n_negatives`` columns, all random at first, up to ``n_general + n_cross`` become hard as epochs pass: a user's
    candidates are uniform ones from a band of its ranking of the catalogue; those too similar to the positive
    are dropped; of the highest-scored that are left the base draws. Cross-domain ones are ranked by the user's source
    state beside the mean target state of users with such a source state, for users who are unlike that mean.

    train, last_row        the training pairs alone, and each user's last train row; a run gives both
    base                   "dns_star": uniform of the places ``fine_min`` to ``fine_max`` of the survivors by score;
                           "dns": the hardest of ``group`` survivors; "mixgcf": of ``group`` of those places the hardest
                           of each layer, mixed with the positive
    general                False: hard columns from uniform candidates, without band and filter: the base alone
    cross, user_filter     cross-domain columns at all; for outliers alone (False: for all who have a source)
    preset                 what every setting left at "auto" is: "clean", "paper", or "reference", which removes
                           held-out items from the candidates and so needs an oracle run
    n_general, n_cross     columns of each kind at the end
    candidates             K a user
    p_min, p_max           the general band, per cent of the catalogue; the paper's: 10 to 20 or 30 to 40
    cross_min, cross_max   the cross-domain band
    item_filter            "off": without the filter by similarity; "inverted": it keeps what is like the positive, a
                           control of its direction
    item_clusters, chi, tau, mu, psi  of the filter, see ``SimilarTo``; ``mu`` and ``psi`` also of the curriculum
    user_clusters, outliers  of users, and the share of outliers in each: .1 or .8 in the paper, by data set
    outlier_score          "random": as many users of each cluster at random, a control of what outliers are worth
    spare                  what users who are no outliers have in the cross-domain columns
    curriculum, eta        False: all hard columns from the first epoch; ``eta`` more every ``psi`` epochs after ``mu``
    every                  epochs between two rebuilds of candidates and clusters
    mode                   ranking of all items, or of a random part of them, see ``RankBand``
    choice                 the fine choice by scores without dropout, or with

    Cost K + (n_negatives + 1), K more for outliers, and K cosines; before an epoch ``U I`` scores for each kind (less
    when sampled) and two clusterings; nothing while no column is hard. docs/methods/realhns.md has the places where
    paper and code differ.
    """
    asked = {"exclude": exclude, "columns": columns, "growth": growth, "state": state, "metric": metric, "draws": draws}
    asked |= {"centroid": centroid, "outlier_centroid": outlier_centroid}
    asked |= {"outlier_score": outlier_score, "without_source": without_source}
    how = {name: PRESETS[preset][name] if value == "auto" else value for name, value in asked.items()}
    train = seen if train is None else train
    hidden = _hidden(seen, train, how["exclude"], preset)
    states = PriorStates(seen.n_users, last_row if how["state"] == "last_positive" else None)
    many = n_general + n_cross
    banded = {
        "seen": hidden,
        "k": candidates,
        "every": every,
        "states": states,
        "columns": how["columns"],
        "mode": mode,
    }
    similar = SimilarTo(
        n_items,
        clusters=item_clusters,
        chi=chi,
        tau=tau,
        mu=mu if curriculum else 0,
        psi=psi,
        every=every,
        cosine=how["metric"] == "cosine",
        inverted=item_filter == "inverted",
    )
    filters = [similar] if item_filter != "off" else []
    pick = {"low": fine_min, "high": fine_max, "group": group, "distinct": how["draws"] == "distinct"}
    own: Sampler = Chain(Weighted(n_items, seen=train, n_negatives=candidates), *_pickers(base, many, **pick))
    if general:
        own = Chain(RankBand(n_items, p_min=p_min, p_max=p_max, **banded), *filters, *_pickers(base, many, **pick))
    first = how["growth"] == "general_first"
    plan: Plan = Growing(n_general, n_cross, mu=mu, psi=psi, eta=eta, first=first)
    plan = plan if curriculum else Always(n_general, n_cross)
    random = Weighted(n_items, seen=train, n_negatives=n_negatives)
    if not cross:
        return Columns(random, own, plan=plan, noiseless=choice == "eval")
    transfer = Transfer(
        seen.n_users,
        clusters=user_clusters,
        outliers=outliers if user_filter else 1.0,
        every=every,
        states=states,
        cosine=how["metric"] == "cosine",
        **{name: how[name] for name in ("centroid", "outlier_centroid", "outlier_score", "without_source")},
    )
    across = RankBand(n_items, p_min=cross_min, p_max=cross_max, whose=transfer.is_outlier, **banded)
    return Columns(
        random,
        own,
        Through(transfer, Chain(across, *filters, *_pickers(base, n_cross, **pick))),
        plan=plan,
        whose=transfer.is_outlier,
        spare=spare,
        noiseless=choice == "eval",
    )


def realhns_general(
    n_items: int,
    *,
    seen: Seen,
    train: Seen | None = None,
    last_row: Tensor | None = None,
    base: Base = "dns_star",
    preset: Preset = "clean",
    n_negatives: PositiveInt = 20,
    n_hard: PositiveInt = 10,
    candidates: PositiveInt = 1000,
    fine_min: NonNegativeInt = 0,
    fine_max: PositiveInt = 100,
    group: PositiveInt = 10,
    p_min: float = 30.0,
    p_max: float = 40.0,
    item_filter: Literal["on", "off", "inverted"] = "on",
    item_clusters: PositiveInt = 100,
    chi: PositiveFloat = 5.0,
    tau: PositiveFloat = 1.15,
    curriculum: bool = True,
    mu: NonNegativeInt = 5,
    psi: PositiveInt = 2,
    eta: PositiveInt = 1,
    every: PositiveInt = 1,
    mode: Literal["auto", "exact", "sampled"] = "auto",
    choice: Literal["eval", "train"] = "eval",
    exclude: Literal["auto", "train", "all"] = "auto",
    columns: Literal["auto", "own", "shared", "top"] = "auto",
    state: Literal["auto", "last_positive", "last"] = "auto",
    metric: Literal["auto", "cosine", "euclid"] = "auto",
    draws: Literal["auto", "replace", "distinct"] = "auto",
) -> Sampler:
    """The general selector of RealHNS on one domain, for any model: ``realhns`` without its cross-domain columns.

    n_hard  hard columns at the end, of ``n_negatives``

    Everything else as in ``realhns``. Cost K + (n_negatives + 1) and K cosines; before an epoch ``U I`` scores, less
    when sampled, and a clustering; nothing while no column is hard.
    """
    return realhns(
        n_items,
        seen=seen,
        train=train,
        last_row=last_row,
        base=base,
        cross=False,
        preset=preset,
        n_negatives=n_negatives,
        n_general=n_hard,
        n_cross=0,
        candidates=candidates,
        fine_min=fine_min,
        fine_max=fine_max,
        group=group,
        p_min=p_min,
        p_max=p_max,
        item_filter=item_filter,
        item_clusters=item_clusters,
        chi=chi,
        tau=tau,
        curriculum=curriculum,
        mu=mu,
        psi=psi,
        eta=eta,
        every=every,
        mode=mode,
        choice=choice,
        exclude=exclude,
        columns=columns,
        state=state,
        metric=metric,
        draws=draws,
    )


def _hidden(seen: Seen, train: Seen, exclude: str, preset: str) -> Seen:
    """What candidates may not be. Raises UsageError where that is more than a run may know."""
    if exclude == "train":
        return train
    if not seen.oracle:
        raise UsageError(
            f"preset={preset} with exclude={exclude} takes held-out items out of the candidates, as the authors' code "
            "does, and so reads the answers: only as an oracle run, which is stamped (--oracle valid,test), or with "
            "exclude=train"
        )
    return seen


def _pickers(base: str, many: int, *, low: int, high: int, group: int, distinct: bool) -> Iterable[Stage]:
    """From the survivors of a filter to ``many`` negatives."""
    if base == "dns":
        return AmongKept(many * group), HardestOfEach(many)
    if base == "mixgcf":
        return TopDraw(many * group, low=low, high=high), HopMix(many, one_layer=True)
    return (TopDraw(many, low=low, high=high, distinct=distinct),)


METHODS = {"realhns": realhns, "realhns_general": realhns_general}

ALIASES = {"real_hns": "realhns", "general_selector": "realhns_general"}

LOSSES = {"realhns": "bce", "realhns_general": "bce"}
