"""The peers: their names, their environments, and the fingerprints of their stored results."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from benchmarks.quality.environment import REQUIREMENTS

HERE = Path(__file__).parent


@dataclass(frozen=True)
class PeerSpec:
    """A peer: its `script` in this folder, run with `arguments` in `environment`."""

    script: str
    arguments: tuple[str, ...] = ()
    environment: str = "peers"

    def fingerprint(self) -> str:
        """Return what changes when the peer's script or the versions of its environment do."""
        digest = hashlib.sha256()
        for name in (self.script, "protocol.py"):
            digest.update((HERE / name).read_bytes())
        digest.update(repr((self.arguments, REQUIREMENTS[self.environment])).encode())
        return digest.hexdigest()[:12]


PEERS = {
    "optuna-tpe": PeerSpec("optuna_sampler.py", ("TPESampler", "multivariate", "group")),
    "optuna-tpe-default": PeerSpec("optuna_sampler.py", ("TPESampler",)),
    "optuna-gp": PeerSpec("optuna_sampler.py", ("GPSampler",)),
    "optuna-nsga2": PeerSpec("optuna_sampler.py", ("NSGAIISampler",)),
    "hyperopt-tpe": PeerSpec("hyperopt_tpe.py"),
    "smac": PeerSpec("smac_facade.py"),
    "nevergrad": PeerSpec("nevergrad_ngopt.py", environment="nevergrad"),
    "ax": PeerSpec("ax_client.py", environment="ax"),
}
