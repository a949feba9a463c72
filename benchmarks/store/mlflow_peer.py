"""MLflow's client on a database: run in a separate environment, prints trials per second.

python mlflow_peer.py URL TRIALS REPORTS
"""

from __future__ import annotations

import logging
import os
import sys
import time
import warnings

os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
warnings.simplefilter("ignore")
logging.disable(logging.WARNING)

from mlflow.entities import Metric, Param  # noqa: E402
from mlflow.tracking import MlflowClient  # noqa: E402


def main() -> None:
    """Run the command."""
    url, n, reports = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    client = MlflowClient(tracking_uri=url)
    experiment = client.create_experiment(f"benchmark-{time.time()}")
    params = [Param(f"x{i}", str(0.1 * i)) for i in range(10)]

    def one() -> None:
        run = client.create_run(experiment).info.run_id
        now = int(1000 * time.time())
        curve = [Metric("loss", 1.0 / (k + 1), now, k) for k in range(reports)]
        client.log_batch(run, metrics=[Metric("value", 0.5, now, 0), *curve], params=params)
        client.set_terminated(run)

    one()
    began = time.perf_counter()
    for _ in range(n):
        one()
    print(n / (time.perf_counter() - began))


if __name__ == "__main__":
    main()
