"""Search spaces: domains, conditional parameters, constraints and operations on points.

A space is a dict of domains; see `Space`. This package is independent of trials and optimizers.
"""

from tuner.search_spaces.categorical import Bool, Choice, Const, Ordinal
from tuner.search_spaces.domains import Domain
from tuner.search_spaces.expressions import Expression, P
from tuner.search_spaces.numeric import Float, Int
from tuner.search_spaces.parsing import parse_constraint
from tuner.search_spaces.points import Column
from tuner.search_spaces.priors import Normal
from tuner.search_spaces.repeat import Repeat
from tuner.search_spaces.space import Params, Space

__all__ = [
    "Bool",
    "Choice",
    "Column",
    "Const",
    "Domain",
    "Expression",
    "Float",
    "Int",
    "Normal",
    "Ordinal",
    "P",
    "Params",
    "Repeat",
    "Space",
    "parse_constraint",
]
