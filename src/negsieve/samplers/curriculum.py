"""From easy to hard by the epoch: how many columns of negatives are hard, and of which kind (RealHNS)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from negsieve.errors import UsageError


def stages_done(epoch: int, *, mu: int, psi: int) -> int:
    """``ceil((e - mu) / psi)``, 0 up to epoch mu; ``epoch`` is counted from 0, and e, as papers do, from 1."""
    return max(0, -((mu - epoch - 1) // psi))


class Plan(Protocol):
    """Says how many columns are hard."""

    def counts(self, epoch: int) -> tuple[int, int]:
        """General and cross-domain columns of an epoch, counted from 0."""
        ...

    def most(self) -> tuple[int, int]:
        """The most of each kind that there ever are."""
        ...


@dataclass(frozen=True, slots=True)
class Always:
    """The same columns from the first epoch on."""

    general: int
    cross: int = 0

    def counts(self, epoch: int) -> tuple[int, int]:
        return self.general, self.cross

    def most(self) -> tuple[int, int]:
        return self.general, self.cross


@dataclass(frozen=True, slots=True)
class Growing:
    """None for ``mu`` epochs, then ``eta`` hard columns more every ``psi`` epochs, up to ``general + cross``.

    general, cross  columns of each kind at the end
    first           the general ones come first, as the authors' code has it; False: both grow in proportion

    Ma et al., RecSys 2023, Eq. 7.
    """

    general: int = 8
    cross: int = 2
    mu: int = 5
    psi: int = 2
    eta: int = 1
    first: bool = True

    def __post_init__(self) -> None:
        if min(self.general, self.cross, self.mu) < 0 or min(self.psi, self.eta) < 1:
            raise UsageError(f"{self}: wanted psi and eta of 1 or more, and nothing below 0")

    def counts(self, epoch: int) -> tuple[int, int]:
        whole = self.general + self.cross
        hard = min(self.eta * stages_done(epoch, mu=self.mu, psi=self.psi), whole)
        own = min(hard, self.general) if self.first else -(-hard * self.general // max(whole, 1))
        return own, hard - own

    def most(self) -> tuple[int, int]:
        return self.general, self.cross
