"""The conformance suite of domains, the parameters of a search space."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from tuner.search_spaces import Domain, Space

MAX_ENUMERATED = 1_000
"""Maximum size of a finite domain of which every value is tested."""


class DomainConformance:
    """Tests of the contract of `tuner.search_spaces.Domain`.

    Subclass it as ``TestMyDomain`` and define `domains`. Samples must be values of the domain; the
    unit interval, the grid and JSON must preserve values; a uniform domain must sample uniformly.

    Attributes
    ----------
    domains
        Domains with various options.
    outsiders
        Values that no domain contains; a value that a domain enumerates is skipped for it.

    Examples
    --------
    >>> from tuner import Int
    >>> class TestInt(DomainConformance):
    ...     domains = [Int(1, 9), Int(0, 100, step=10), Int(1, 1000, log=True)]
    """

    domains: Sequence[Domain]
    outsiders: Sequence[Any] = (None, float("nan"), float("inf"), object(), [], {})

    def rng(self) -> np.random.Generator:
        """Return a generator with a fixed seed."""
        return np.random.default_rng(0)

    def test_samples_are_values_of_the_domain(self) -> None:
        for domain in self.domains:
            for value in domain.sample(self.rng(), 200):
                assert domain.contains(value)
                assert domain.cast(value) == value
                assert type(domain.cast(value)) is type(value)

    def test_the_unit_interval_is_covered_whole(self) -> None:
        for domain in self.domains:
            values = domain.from_unit([0.0, 0.25, 0.5, 0.75, 1.0])
            assert all(map(domain.contains, values))
            unit = domain.to_unit(values)
            assert ((unit >= 0) & (unit <= 1)).all()

    def test_values_survive_the_unit_interval(self) -> None:
        for domain in self.domains:
            values = domain.sample(self.rng(), 200)
            back = domain.from_unit(domain.to_unit(values))
            for value, same in zip(values, back, strict=True):
                if math.isinf(domain.size):
                    assert same == pytest.approx(value, rel=1e-12, abs=1e-12)
                else:
                    assert same == value

    def test_snapping_is_decoding_and_encoding_again(self) -> None:
        for domain in self.domains:
            unit = np.concatenate([self.rng().random(500), [0.0, 0.5, 1.0]])
            snapped = domain.snap(unit)
            places = domain.to_unit(domain.from_unit(unit))
            np.testing.assert_allclose(snapped, places, rtol=1e-9, atol=1e-9)
            if domain.size < math.inf:
                assert domain.from_unit(snapped) == domain.from_unit(places)

    def test_every_value_of_a_finite_domain_is_equally_likely(self) -> None:
        for domain in self.domains:
            if domain.size > MAX_ENUMERATED or getattr(domain, "log", False):
                continue
            n = int(2_000 * domain.size)
            index = {repr(value): i for i, value in enumerate(domain.grid(2))}
            counts = np.zeros(len(index))
            for value in domain.sample(self.rng(), n):
                counts[index[repr(value)]] += 1
            expected = n / len(index)
            chi_squared = float(((counts - expected) ** 2 / expected).sum())
            freedom = max(1, len(index) - 1)
            assert chi_squared < freedom + 5 * math.sqrt(2 * freedom)

    def test_the_grid_is_the_domain(self) -> None:
        for domain in self.domains:
            if MAX_ENUMERATED < domain.size < math.inf:
                continue
            grid = domain.grid(4)
            assert all(map(domain.contains, grid))
            assert len(grid) == (4 if math.isinf(domain.size) else domain.size)
            assert len({repr(value) for value in grid}) == len(grid)

    def test_outsiders_are_refused(self) -> None:
        for domain in self.domains:
            for value in self.outsiders:
                if domain.size <= MAX_ENUMERATED and any(value is v for v in domain.grid(2)):
                    continue
                assert not domain.contains(value), (domain, value)

    def test_a_domain_is_plain_json(self) -> None:
        for domain in self.domains:
            space = Space({"p": domain})
            again = Space.from_dict(json.loads(json.dumps(space.to_dict())))
            assert again.params["p"] == domain
            assert repr(again.params["p"]) == repr(domain)
            assert hash(again.params["p"]) == hash(domain)
