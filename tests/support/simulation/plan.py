"""Parameters of a simulated sweep, and the probabilities of its faults."""

from __future__ import annotations

import random
from dataclasses import dataclass, field, replace

from tuner.backends import Faults


@dataclass(frozen=True)
class Plan:
    """Parameters of a sweep; all probabilities are per pause.

    `kill_at` kills the first driver at that pause, independently of the probabilities.
    """

    n_trials: int = 6
    workers: int = 2
    steps: int = 2
    failing: float = 0.0
    asha: bool = False
    tpe: bool = False
    lookahead: int = 1
    max_retries: int = 1
    trial_timeout: float | None = 60.0
    timeout: float | None = None
    faults: Faults = field(default_factory=Faults)
    sizes: tuple[tuple[float, int], ...] = ()
    kill: float = 0.0
    kill_at: int | None = None
    freeze: float = 0.0
    interrupt: float = 0.0
    refuse: float = 0.0
    unanswered: float = 0.0
    late: float = 0.0
    outage: float = 0.0
    second_driver: float = 0.0
    stale: float = 0.0
    skew: float = 0.0
    most_faults: int = 15

    def killed_at(self, pause: int) -> Plan:
        """Return the plan with the first driver killed at that pause."""
        return replace(self, kill_at=pause)

    @classmethod
    def of(cls, seed: int) -> Plan:
        """Return the plan of a seed: a few faults are frequent, most others off."""
        rng = random.Random(f"plan {seed}")

        def sometimes(highest: float) -> float:
            return rng.choice((0.0, 0.3, 1.0)) * highest

        workers = rng.randint(1, 4)
        sizes = [(rng.uniform(0, 20), rng.randint(0, workers)) for _ in range(rng.randint(0, 2))]
        return cls(
            n_trials=rng.randint(1, 6),
            workers=workers,
            steps=rng.randint(0, 2),
            failing=sometimes(0.3),
            asha=rng.random() < 0.4,
            tpe=rng.random() < 0.1,
            lookahead=rng.choice((1, 1, 4)),
            max_retries=rng.randint(0, 2),
            timeout=rng.choice((None, None, 40.0)),
            faults=Faults(
                crash=sometimes(0.1),
                freeze=sometimes(0.05),
                lost=sometimes(0.1),
                delay=sometimes(4.0),
                duplicate=sometimes(0.3),
                restart=sometimes(10.0),
            ),
            sizes=(*sorted(sizes), (20.0, workers)) if sizes else (),
            kill=sometimes(0.02),
            freeze=sometimes(0.02),
            interrupt=sometimes(0.004),
            refuse=sometimes(0.03),
            unanswered=sometimes(0.05),
            late=sometimes(0.1),
            outage=sometimes(0.005),
            second_driver=sometimes(0.02),
            stale=sometimes(0.2),
            skew=sometimes(1000.0),
        )
