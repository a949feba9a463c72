"""The grammar of a file of ``torch.save`` with a state dict, checked before PyTorch reads it.

The file is a zip archive with a pickle. ``weights_only=True`` restricts what the pickle calls, but
PyTorch believes the sizes that it declares. Here the pickle may only describe dense tensors, and
each of them must lie within its storage. PyTorch then gets an archive of the checked members.
"""

from __future__ import annotations

import io
import pickle
import pickletools
from collections import OrderedDict
from dataclasses import dataclass
from typing import Any

from tuner.errors import UntrustedModel
from tuner.registry.limits import Budget, Refused
from tuner.registry.zip_members import packed, unpacked

_BYTES = {
    "BFloat16Storage": 2, "BoolStorage": 1, "ByteStorage": 1, "CharStorage": 1,
    "ComplexDoubleStorage": 16, "ComplexFloatStorage": 8, "DoubleStorage": 8, "FloatStorage": 4,
    "HalfStorage": 2, "IntStorage": 4, "LongStorage": 8, "ShortStorage": 2,
}  # fmt: skip
"""Bytes of an item by the type of a storage."""

_TENSOR = ("torch._utils", "_rebuild_tensor_v2")
_HOOKS = ("collections", "OrderedDict")
_OPCODES = (
    "PROTO", "GLOBAL", "EMPTY_TUPLE", "REDUCE", "BINPUT", "LONG_BINPUT", "MARK", "BINUNICODE",
    "BININT", "BININT1", "BININT2", "LONG1", "TUPLE", "TUPLE1", "TUPLE2", "TUPLE3", "BINPERSID",
    "NEWTRUE", "NEWFALSE", "BINGET", "LONG_BINGET", "EMPTY_DICT", "SETITEM", "SETITEMS", "STOP",
)  # fmt: skip
_DIMENSIONS = 64
_BYTES_OF_OPCODE = 100
_CONSTANT = {"version": None, "byteorder": b"little", ".format_version": None}
_IGNORED = (".data/serialization_id", ".storage_alignment")


@dataclass(frozen=True, slots=True)
class _Type:
    name: str


@dataclass(frozen=True, slots=True)
class _Storage:
    type: str
    key: str
    items: int


def checked(content: bytes) -> bytes:
    """Return the archive of a state dict as it was checked.

    Raises
    ------
    UntrustedModel
        If the pickle needs a class or function that no state dict needs; the message names it.
    ValueError
        If the file is not such an archive, or a tensor exceeds its storage.
    """
    members = unpacked(content, "the state dict")
    top = next(iter(members), "").partition("/")[0]
    inner = {name.removeprefix(f"{top}/"): value for name, value in members.items()}
    if not all(name.startswith(f"{top}/") for name in members) or "data.pkl" not in inner:
        raise Refused("it is not an archive of torch.save")
    storages = {f"data/{storage.key}": storage for storage in _storages(inner["data.pkl"])}
    known = {"data.pkl", *_CONSTANT, *_IGNORED, *storages}
    if unknown := sorted(inner.keys() - known):
        raise Refused(f"it has the unknown member {unknown[0]!r:.80}")
    if inner.get("byteorder") != _CONSTANT["byteorder"]:
        raise Refused("its byte order is not that of this format")
    for name, storage in storages.items():
        size = storage.items * _BYTES[storage.type]
        if len(inner.get(name, b"")) != size:
            raise Refused(
                f"the storage {name!r:.60} declares {size} bytes and has "
                f"{len(inner.get(name, b''))}"
            )
    return packed({f"model/{name}": inner[name] for name in inner if name not in _IGNORED})


def _storages(content: bytes) -> list[_Storage]:
    """Return the storages that a pickle refers to, after its tensors were checked."""
    _check_opcodes(content)
    reader = _Reader(io.BytesIO(content))
    state = reader.load()
    if type(state) is not dict or not all(type(name) is str for name in state):
        raise Refused("it is not a dict of tensors by name")
    if not all(isinstance(value, _Tensor) for value in state.values()):
        raise Refused("it has values that are not tensors")
    return list(reader.storages.values())


def _check_opcodes(content: bytes) -> None:
    """Check the pickle without running it; a refused name is one that it would call."""
    budget = Budget(len(content))
    for opcode, argument, _ in pickletools.genops(content):
        budget.spend(_BYTES_OF_OPCODE)
        if opcode.name == "GLOBAL":
            module, _, name = str(argument).partition(" ")
            if (module, name) not in (_TENSOR, _HOOKS) and not (
                module == "torch" and name in _BYTES
            ):
                raise UntrustedModel(
                    f"loading this state dict would call {module}.{name}; a state dict has "
                    f"tensors only, so the file is not one, and its author is not to be trusted"
                )
        if opcode.name not in _OPCODES:
            raise Refused(f"its pickle has the opcode {opcode.name}, which no state dict needs")
        if opcode.name == "LONG_BINPUT" and argument is not None and argument > len(content):
            raise Refused("its pickle declares more objects than it has")


class _Tensor:
    """A tensor of the file: checked against its storage, without content."""

    __slots__ = ()

    def __init__(
        self, storage: Any, offset: Any, size: Any, stride: Any, gradient: Any, hooks: Any
    ) -> None:
        numbers = [offset, *size, *stride] if type(size) is type(stride) is tuple else [None]
        if (
            not isinstance(storage, _Storage)
            or not all(type(each) is int and each >= 0 for each in numbers)
            or len(size) != len(stride)
            or len(size) > _DIMENSIONS
            or type(gradient) is not bool
            or hooks != OrderedDict()
        ):
            raise Refused("it has a tensor of another form")
        last = sum((n - 1) * step for n, step in zip(size, stride, strict=True))
        end = offset if 0 in size else offset + last + 1
        if end > storage.items:
            raise Refused(
                f"it has a tensor of the shape {size} that ends after {end} items of a "
                f"storage with {storage.items}"
            )


class _Reader(pickle.Unpickler):
    """Reads a pickle of allowed opcodes; makes nothing but the classes of this module."""

    def __init__(self, file: io.BytesIO) -> None:
        super().__init__(file)
        self.storages: dict[str, _Storage] = {}

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == _HOOKS:
            return OrderedDict
        return _Tensor if (module, name) == _TENSOR else _Type(name)

    def persistent_load(self, pid: Any) -> _Storage:
        match pid:
            case ("storage", _Type(name), str(key), str(), int(items)) if (
                name in _BYTES and key.isascii() and key.isdigit() and items >= 0
            ):
                found = _Storage(name, key, items)
            case _:
                raise Refused("it refers to a storage of another form")
        if self.storages.setdefault(key, found) != found:
            raise Refused(f"it has two descriptions of the storage {key!r}")
        return found
