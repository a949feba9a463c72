"""Domains with listed values: `Choice` (unordered), `Ordinal` (ordered), `Bool` and `Const`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from tuner.errors import SpaceError
from tuner.search_spaces.advice import first_valid
from tuner.search_spaces.domains import Condition, Domain
from tuner.search_spaces.priors import weights_of
from tuner.search_spaces.values import Array, is_scalar, plain, shown


class Bool(Domain):
    """True or False.

    Parameters
    ----------
    default
        The value to try first.
    prior
        The expected weights of both values: ``{True: 3, False: 1}``.

    Examples
    --------
    >>> Bool().grid(levels=2)
    [False, True]
    """

    kind = "bool"

    def __init__(
        self,
        default: bool | None = None,
        prior: Mapping[bool, float] | Sequence[float] | None = None,
    ) -> None:
        if default is not None and not isinstance(default, bool | np.bool_):
            raise SpaceError(f"Bool(default={default!r}): default must be True or False")
        self.default = None if default is None else bool(default)
        if prior is not None:
            self.prior = weights_of(self, (False, True), self.contains, prior)

    size = 2

    def cast(self, value: Any) -> bool:
        """Return `value` if it is True or False; 1 and 0 are rejected."""
        if not isinstance(value, bool | np.bool_):
            raise ValueError(value)
        return bool(value)

    def to_unit(self, values: Sequence[Any]) -> Array:
        """Return 0.25 for False, 0.75 for True."""
        return 0.25 + 0.5 * np.asarray(values, dtype=float)

    def from_unit(self, unit: ArrayLike) -> list[bool]:
        """Return False below 0.5, True otherwise."""
        return (np.asarray(unit, dtype=float) >= 0.5).tolist()  # type: ignore[no-any-return]

    def snap(self, unit: Array) -> Array:
        """Return 0.25 below 0.5, 0.75 otherwise."""
        return np.where(unit >= 0.5, 0.75, 0.25)

    def grid(self, levels: int) -> list[bool]:  # noqa: ARG002 (the values are already finite)
        """Return both values."""
        return [False, True]

    def to_dict(self) -> dict[str, Any]:
        """Return the domain as a JSON-compatible dict."""
        given = {"type": self.kind} | ({} if self.default is None else {"default": self.default})
        return given if self.prior is None else given | {"prior": list(self.prior)}

    def __repr__(self) -> str:
        given = {"default": self.default, "prior": self.prior}
        return f"Bool({', '.join(f'{k}={v}' for k, v in given.items() if v is not None)})"


class Listed(Domain):
    """Base class of domains with listed values; see `Choice` and `Ordinal`."""

    options: tuple[Any, ...]

    @cached_property
    def _index(self) -> dict[Any, int]:
        return {_identity(option): i for i, option in enumerate(self.options)}

    @property
    def size(self) -> float:
        """The number of options."""
        return len(self.options)

    def _declare(self, default: Any, prior: Any) -> None:
        """Validate and set the default and the prior of the options."""
        if default is not None:
            try:
                self.default = self.cast(default)
            except ValueError:
                raise SpaceError(
                    f"{type(self).__name__}: default={default!r} must be one of {self.options!r}"
                ) from None
        if prior is not None:
            self.prior = weights_of(self, self.options, self.contains, prior)

    def index(self, value: Any) -> int:
        """Return the position of `value` among the options.

        Raises
        ------
        ValueError
            If `value` is not an option.
        """
        try:
            return self._index[_identity(plain(value))]
        except (KeyError, TypeError, RecursionError):
            raise ValueError(value) from None

    def cast(self, value: Any) -> Any:
        """Return the option equal to `value`."""
        return self.options[self.index(value)]

    def to_unit(self, values: Sequence[Any]) -> Array:
        """Return (k + 0.5) / n for option k of n."""
        index = np.fromiter(map(self.index, values), dtype=float)
        return (index + 0.5) / len(self.options)

    def from_unit(self, unit: ArrayLike) -> list[Any]:
        """Return the options at positions in [0, 1]."""
        n = len(self.options)
        index = np.clip((np.asarray(unit, dtype=float) * n).astype(int), 0, n - 1)
        return [self.options[i] for i in index.tolist()]

    def snap(self, unit: Array) -> Array:
        """Return the center of the option's cell for each position in [0, 1]."""
        n = len(self.options)
        return (np.clip(np.floor(unit * n), 0, n - 1) + 0.5) / n

    def grid(self, levels: int) -> list[Any]:  # noqa: ARG002 (the values are already finite)
        """Return all options."""
        return list(self.options)


class Choice(Listed):
    """A categorical parameter; each option can have conditional parameters.

    Parameters
    ----------
    *options
        None, booleans, numbers, strings or tuples of these; only names if there are branches.
    default
        The option to try first.
    prior
        The expected weights of the options: ``{"rbf": 3, "poly": 1}``, or a sequence in the order
        of the options.
    **branches
        Option name to its conditional parameters, nested to any depth.

    Examples
    --------
    Without branches, the objective receives the option itself; with branches, a pair:

    >>> from tuner.search_spaces import Float, Space
    >>> Choice("rbf", "poly").options
    ('rbf', 'poly')
    >>> model = Choice("dummy", svm={"C": Float(0.1, 10)})
    >>> space = Space({"model": model})
    >>> space.validate({"model": ("svm", {"C": 1})})
    {'model': ('svm', {'C': 1.0})}
    >>> space.validate({"model": ("dummy", {})})
    {'model': ('dummy', {})}
    """

    kind = "choice"

    def __init__(
        self,
        /,
        *options: Any,
        default: Any = None,
        prior: Any = None,
        **branches: Mapping[str, Domain],
    ) -> None:
        for word, given in (("default", default), ("prior", prior)):
            if isinstance(given, Mapping) and (
                word == "default" or any(isinstance(v, Domain) for v in given.values())
            ):
                raise SpaceError(
                    f"Choice: {word!r} is {_WORDS[word]} and cannot name a branch; "
                    f"write another name"
                )
        bare = tuple(_as_option("Choice", option) for option in options)
        self.options = (*bare, *branches)
        if not self.options:
            raise SpaceError("Choice(): give at least one option, such as Choice('a', 'b')")
        if branches:
            for option in self.options:
                if not isinstance(option, str) or not option or "." in option:
                    raise SpaceError(
                        f"Choice: with branches, the option {option!r} must be a non-empty string "
                        f"without '.', which separates the parts of a path"
                    )
            for name, branch in branches.items():
                if not isinstance(branch, Mapping):
                    raise SpaceError(
                        f"Choice: the branch {name!r} is {branch!r}; write a dict of its "
                        f"parameters, {name}={{}} if it is empty"
                    )
            self.branches = {
                **{option: {} for option in bare},
                **{name: dict(branch) for name, branch in branches.items()},
            }
        _refuse_duplicates("Choice", self.options)
        self._declare(default, prior)

    def open_branches(self, value: Any) -> list[str]:
        """Return the branch of the option."""
        return [value]

    def condition(self, path: str, branch: str) -> Condition:
        """Return the condition that the parameter at `path` has the option."""
        return Condition(path, branch)

    def join_value(self, value: Any, inner: Sequence[Any]) -> Any:
        """Return the pair of the option and its parameters."""
        return (value, inner[0])

    def split_value(self, value: Any) -> tuple[Any, Sequence[Any]]:
        """Return the option, and its parameters in a list.

        Raises
        ------
        ValueError
            If `value` is not a pair.
        """
        if not isinstance(value, tuple | list) or len(value) != 2:
            raise ValueError(value)
        return value[0], [value[1]]

    @property
    def value_form(self) -> str:
        """The form of a value with branches, for error messages."""
        return f"a pair such as ({self.options[0]!r}, {{...}})"

    def to_dict(self) -> dict[str, Any]:
        """Return the domain as a JSON-compatible dict."""
        given = _given(self)
        if self.branches is None:
            return {"type": "choice", "options": list(map(_to_json, self.options)), **given}
        branches = {
            option: {name: domain.to_dict() for name, domain in branch.items()}
            for option, branch in self.branches.items()
        }
        return {"type": "choice", "branches": branches, **given}

    def __repr__(self) -> str:
        if self.branches is None:
            parts = [repr(option) for option in self.options]
        else:
            parts = [f"{name}={branch!r}" for name, branch in self.branches.items()]
        return f"Choice({', '.join(parts + _shown_options(self))})"


class Ordinal(Listed):
    """An ordered list of values, such as ``Ordinal("small", "medium", "large")``.

    Parameters
    ----------
    *values
        The values in ascending order.
    default
        The value to try first.
    prior
        The expected weights of the values: a dict by value, or a sequence in their order.

    Examples
    --------
    >>> Ordinal(16, 64, 1024).from_unit([0.0, 0.5, 1.0])
    [16, 64, 1024]
    """

    kind = "ordinal"

    def __init__(
        self,
        *values: Any,
        default: Any = None,
        prior: Any = None,
    ) -> None:
        if not values:
            raise SpaceError("Ordinal(): give at least one value, such as Ordinal(16, 32, 64)")
        self.options = tuple(_as_option("Ordinal", value) for value in values)
        _refuse_duplicates("Ordinal", self.options)
        self._declare(default, prior)

    def to_dict(self) -> dict[str, Any]:
        """Return the domain as a JSON-compatible dict."""
        return {"type": "ordinal", "values": list(map(_to_json, self.options)), **_given(self)}

    def __repr__(self) -> str:
        parts = [repr(option) for option in self.options]
        return f"Ordinal({', '.join(parts + _shown_options(self))})"


class Const(Listed):
    """A fixed value: the objective receives it, the search does not vary it.

    Examples
    --------
    >>> Const("auto").grid(levels=5)
    ['auto']
    """

    kind = "const"

    def __init__(self, value: Any) -> None:
        self.value = _as_option("Const", value)
        self.options = (self.value,)

    def to_dict(self) -> dict[str, Any]:
        """Return the domain as a JSON-compatible dict."""
        return {"type": "const", "value": _to_json(self.value)}

    def __repr__(self) -> str:
        return f"Const({self.value!r})"


_WORDS = {"default": "the option to try first", "prior": "the weights of the options"}


def _given(domain: Listed) -> dict[str, Any]:
    """Return the default and the prior as a JSON-compatible dict, without undeclared ones."""
    given = {} if domain.default is None else {"default": _to_json(domain.default)}
    return given if domain.prior is None else given | {"prior": list(domain.prior)}


def _shown_options(domain: Listed) -> list[str]:
    given = {"default": domain.default, "prior": domain.prior}
    return [f"{name}={value!r}" for name, value in given.items() if value is not None]


def from_json_option(value: Any) -> Any:
    """Convert an option from JSON: lists become tuples."""
    return tuple(map(from_json_option, value)) if isinstance(value, list) else value


def _to_json(option: Any) -> Any:
    return [_to_json(item) for item in option] if isinstance(option, tuple) else option


def _identity(option: Any) -> Any:
    """Return a hashable key of an option; distinguishes 1, 1.0 and True."""
    if isinstance(option, tuple):
        return tuple(map(_identity, option))
    return (type(option).__name__, option)


def _as_option(domain: str, value: Any) -> Any:
    """Convert `value` to an option.

    Raises
    ------
    SpaceError
        If it is neither a scalar nor a tuple of scalars: it cannot be stored or compared.
    """
    if isinstance(value, tuple):
        return tuple(_as_option(domain, item) for item in value)
    option = plain(value)
    if not isinstance(value, list) and is_scalar(option):
        return option
    raise SpaceError(f"{domain}: {_why_no_option(domain, value)}")


def _why_no_option(domain: str, value: Any) -> str:
    given = f"{shown(value)} is a {type(value).__name__}"
    if isinstance(value, list | set | frozenset | range | np.ndarray):
        items = list(map(plain, value))
        kinds: dict[str, Callable[..., Listed]] = {"Choice": Choice, "Ordinal": Ordinal}
        if domain == "Const":
            found = first_valid(lambda: Const(tuple(items)))
            return f"{given}; " + (f"write a tuple: {found!r}" if found else "write a tuple")
        found = first_valid(lambda: kinds[domain](*items))
        if found is None:
            return f"{given}; write the options one by one, as in {domain}('a', 'b')"
        return f"{given}; write {found!r}, or tuples if they are the options"
    if isinstance(value, Domain | Mapping):
        return (
            f"{given}; write the parameters of an option as a branch: Choice(option={{'x': ...}})"
        )
    if isinstance(value, float):
        return f"the option {value} is not finite; write a finite number"
    return (
        f"{given}; an option must be None, a bool, a number, a string or a tuple of these: write a "
        f"name and look the object up in the objective"
    )


def _refuse_duplicates(domain: str, options: tuple[Any, ...]) -> None:
    seen = set()
    for option in options:
        if _identity(option) in seen:
            raise SpaceError(f"{domain}: the option {option!r} is repeated; remove one of them")
        seen.add(_identity(option))
