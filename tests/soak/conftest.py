"""Lets the tests import the benchmarks, which are not installed."""

import sys
from pathlib import Path

# Last, so that an installed tuner comes before the folder beside the benchmarks.
sys.path.append(str(Path(__file__).parents[2]))
