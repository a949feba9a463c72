"""Seeds: all random numbers of a study derive from one seed."""

from __future__ import annotations

import secrets

_MASK = (1 << 64) - 1


def fresh_seed() -> int:
    """Return a random seed for a study, in [0, 2**32)."""
    return secrets.randbits(32)


def repeat_seed(study_seed: int, repeat: int) -> int:
    """Return the seed of a repeat of any trial, in [0, 2**32); `repeat` counts from 0.

    The same repeat of two trials has the same seed. Trials that are compared then share what the
    seed decides, such as the split of the data, which narrows their difference.
    """
    return trial_seed(study_seed, REPEATS + repeat)


REPEATS = 1 << 40
"""Offset of the numbers of repeats, above the number of any trial."""


def trial_seed(study_seed: int, number: int) -> int:
    """Return the seed of a trial, in [0, 2**32); it depends on the arguments only.

    The finalizer of SplitMix64 (Steele, Lea and Flood 2014), applied to the study's seed and the
    trial's number, gives neighboring trials unrelated seeds.
    """
    z = (study_seed + (number + 1) * 0x9E3779B97F4A7C15) & _MASK
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & _MASK
    return (z ^ (z >> 31)) >> 32
