"""A user's prior as a factor of the acquisition function; it decays with the number of trials."""

from __future__ import annotations

from dataclasses import dataclass

from tuner.optimizers.embedding import Bools, Floats
from tuner.search_spaces.priors import SpacePrior


@dataclass(frozen=True, slots=True)
class PriorWeight:
    """The log of the prior density raised to the power `exponent`.

    Hvarfner et al. 2022, "piBO: Augmenting acquisition functions with user beliefs for Bayesian
    optimization", eq. 6, where the exponent is beta / n.
    """

    prior: SpacePrior
    exponent: float

    def __call__(self, X: Floats, active: Bools) -> Floats:
        """Return the values at `X` (m, d), shape (m,)."""
        return self.exponent * self.prior.log(X, active)

    def with_gradient(self, X: Floats, active: Bools) -> tuple[Floats, Floats]:
        """Return the values, shape (m,), and their gradients, shape (m, d), at `X` (m, d)."""
        return self(X, active), self.exponent * self.prior.slope(X, active)
