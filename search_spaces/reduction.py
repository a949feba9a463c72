"""What is left of a constraint when some of its parameters can never be active."""

from __future__ import annotations

from collections.abc import Set as AbstractSet

from tuner.search_spaces.expressions import LOGIC, Binary, Expression, Unary


def without(constraint: Expression, gone: AbstractSet[str]) -> Expression | None:
    """Return the constraint as it stands once the parameters `gone` are unknown for good.

    Returns
    -------
    Expression or None
        A constraint without these parameters that the same points break; None if no point can
        break it any more.

    Examples
    --------
    >>> from tuner.search_spaces import P
    >>> print(without((P("model.svm.C") > 1) & (P("lr") < 0.1), {"model.svm.C"}))
    lr < 0.1
    >>> print(without((P("model.svm.C") > 1) | (P("lr") < 0.1), {"model.svm.C"}))
    None
    """
    return _reduced(constraint, gone, outcome=False)


def _reduced(node: Expression, gone: AbstractSet[str], *, outcome: bool) -> Expression | None:
    """Return what is `outcome` exactly where `node` is, None if `node` never is."""
    if gone.isdisjoint(node.paths):
        return node
    if isinstance(node, Unary) and node.operation == "not":
        inner = _reduced(node.inner, gone, outcome=not outcome)
        return None if inner is None else ~inner
    if not isinstance(node, Binary) or node.operation not in LOGIC:
        return None
    sides = [_reduced(side, gone, outcome=outcome) for side in node.children()]
    possible = [side for side in sides if side is not None]
    # An "and" is false by one side and true by both; an "or" the other way round.
    by_one_side = outcome is (node.operation == "or")
    if len(possible) == len(sides):
        return Binary(node.operation, *possible)
    return possible[0] if possible and by_one_side else None
