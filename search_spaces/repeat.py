"""`Repeat`: a block of parameters that is repeated as often as a count says."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from numpy.typing import ArrayLike

from tuner.errors import SpaceError
from tuner.search_spaces.domains import AtLeast, Condition, Domain
from tuner.search_spaces.numeric import Int
from tuner.search_spaces.values import Array, shown

MAX_REPEATS = 100
"""Maximum count; each repetition adds its columns to the space."""


class Repeat(Domain):
    """A list of blocks of parameters, such as the layers of a network.

    The objective receives a list with one dict for each block; its length is the count. Block k
    has the same parameters in points of every count of at least k. Their columns are named by the
    block: ``layers.layer_2.units``. The column of the count has the name of the parameter.

    Parameters
    ----------
    name
        The name of a block, in the singular; an identifier.
    count
        The range of the number of blocks, from 0 or more to at most 100.
    params
        The parameters of a block by name; or a list of these dicts, one for each block, if the
        blocks differ.

    Raises
    ------
    SpaceError
        If the name is not an identifier, or the count or the parameters are not valid.

    Examples
    --------
    >>> from tuner.search_spaces import Int, Space
    >>> space = Space({"layers": Repeat("layer", Int(1, 3), {"units": Int(16, 256)})})
    >>> [column.path for column in space.columns]
    ['layers', 'layers.layer_1.units', 'layers.layer_2.units', 'layers.layer_3.units']
    >>> space.flatten({"layers": [{"units": 64}, {"units": 32}]})
    {'layers': 2, 'layers.layer_1.units': 64, 'layers.layer_2.units': 32}
    """

    kind = "repeat"

    def __init__(
        self,
        name: str,
        count: Int,
        params: Mapping[str, Domain] | Sequence[Mapping[str, Domain]],
    ) -> None:
        if not isinstance(name, str) or not name.isidentifier():
            raise SpaceError(
                f"Repeat({name!r}, ...): the name of a block must be an identifier, such as 'layer'"
            )
        if not isinstance(count, Int) or count.low < 0 or not 1 <= count.high <= MAX_REPEATS:
            raise SpaceError(
                f"Repeat({name!r}, {shown(count)}): the count must be an Int from 0 or more to at "
                f"most {MAX_REPEATS}, such as Int(1, 5)"
            )
        if isinstance(params, Mapping):
            blocks = [params] * count.high
        else:  # a type checker excludes a single domain, a user may write it
            blocks = list(params) if isinstance(params, Sequence) else []
        if len(blocks) != count.high or not all(isinstance(b, Mapping) and b for b in blocks):
            raise SpaceError(
                f"Repeat({name!r}, {count!r}, {shown(params)}): the parameters must be a dict of "
                f"domains, or a list of {count.high} such dicts, one for each block"
            )
        self.name, self.count = name, count
        self.branches = {f"{name}_{k}": dict(block) for k, block in enumerate(blocks, 1)}
        self.default = count.default

    @property
    def own(self) -> Int:
        """The domain of the count."""
        return self.count

    @property
    def blocks(self) -> list[dict[str, Domain]]:
        """The parameters of each block."""
        assert self.branches is not None
        return list(self.branches.values())

    @property
    def size(self) -> float:
        """The number of counts."""
        return self.count.size

    def open_branches(self, value: Any) -> list[str]:
        """Return the names of the first `value` blocks."""
        assert self.branches is not None
        return list(self.branches)[:value]

    def condition(self, path: str, branch: str) -> Condition | None:
        """Return the condition of a block; None if every count includes it."""
        assert self.branches is not None
        k = list(self.branches).index(branch) + 1
        return AtLeast(path, k) if k > self.count.low else None

    def join_value(self, value: Any, inner: Sequence[Any]) -> Any:  # noqa: ARG002 (its length)
        """Return the list of the blocks."""
        return list(inner)

    def split_value(self, value: Any) -> tuple[Any, Sequence[Any]]:
        """Return the number of blocks and the blocks.

        Raises
        ------
        ValueError
            If `value` is not a list.
        """
        if not isinstance(value, list | tuple):
            raise ValueError(value)
        return len(value), value

    @property
    def value_form(self) -> str:
        """The form of a value, for error messages."""
        return f"a list of {self.count.low} to {self.count.high} dicts, one for each {self.name}"

    def cast(self, value: Any) -> Any:
        """Convert a count to an int."""
        return self.count.cast(value)

    def to_unit(self, values: Sequence[Any]) -> Array:
        """Return the positions of counts in [0, 1]."""
        return self.count.to_unit(values)

    def from_unit(self, unit: ArrayLike) -> list[Any]:
        """Return the counts at positions in [0, 1]."""
        return self.count.from_unit(unit)

    def grid(self, levels: int) -> list[Any]:
        """Return all counts."""
        return self.count.grid(levels)

    @property
    def _params(self) -> dict[str, Domain] | list[dict[str, Domain]]:
        """The parameters of all blocks if these are the same, else of each block."""
        blocks = self.blocks
        return blocks[0] if all(block == blocks[0] for block in blocks) else blocks

    def with_count(self, count: Int) -> Repeat:
        """Return the same blocks with another range of the count.

        Raises
        ------
        SpaceError
            If there are more blocks than before, and the blocks differ.
        """
        params = self._params
        return Repeat(
            self.name, count, params if isinstance(params, dict) else params[: count.high]
        )

    def to_dict(self) -> dict[str, Any]:
        """Return the domain as a JSON-compatible dict."""
        blocks = [{name: d.to_dict() for name, d in block.items()} for block in self.blocks]
        same = all(block == blocks[0] for block in blocks)
        params: Any = blocks[0] if same else blocks
        return {
            "type": self.kind, "name": self.name, "count": self.count.to_dict(), "params": params,
        }  # fmt: skip

    def __repr__(self) -> str:
        return f"Repeat({self.name!r}, {self.count!r}, {self._params!r})"
