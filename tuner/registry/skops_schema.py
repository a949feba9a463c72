"""The grammar of a skops file's schema, checked before skops creates any object.

skops lets each node of a schema name a class or function, and calls it in many places: the types of
a dict's keys, the classes of lists and arrays, the constructors of reduced objects. Here each kind
of node may only name classes of its own kind, so that a file chooses data and never a call.
Functions of the list may appear as attributes, each in its own place; loading never calls them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection
from typing import Any

from tuner.registry import trusted as lists
from tuner.registry.limits import Refused
from tuner.registry.skops_archive import SkopsArchive
from tuner.registry.skops_values import (
    REMEDY_OF,
    Node,
    SharedNodes,
    check_attributes,
    check_slice,
    check_tuple,
    check_values,
    integer_of,
    is_empty,
    is_name,
    is_none,
    is_none_or_nones,
    is_plain,
    name_of,
    resolve,
    value_of,
)

_PROTOCOLS = (2,)
_DEPTH = 200
_FILE = re.compile(r"[0-9a-f-]+\.(npy|npz|bin)")
_COMMON = frozenset({"__class__", "__module__", "__loader__", "__id__"})
_ROOT = frozenset({"protocol", "_skops_version"})


class SkopsSchema:
    """Checker of one schema against the grammar.

    Parameters
    ----------
    archive
        The file.
    extra
        Names of classes and functions that the operator or the caller trusts.

    Attributes
    ----------
    untrusted
        Names that the file requires and that are not allowed.
    """

    def __init__(self, archive: SkopsArchive, extra: Collection[str] = ()) -> None:
        self.untrusted: set[str] = set()
        self.types: set[str] = set()
        self._flaw = ""
        self._archive = archive
        self._extra = frozenset(extra)
        self._shared = SharedNodes(archive.read)
        self._reader_of: dict[str, Node] = {}
        self._attributes: set[tuple[str, str, tuple[str, ...]]] = set()

    def check(self) -> None:
        """Check the whole file.

        Raises
        ------
        Refused
            If it violates the grammar in a way that trusting a name cannot allow.
        """
        root = self._archive.schema()
        if not isinstance(root, dict) or root.get("protocol") not in _PROTOCOLS:
            raise Refused("its schema is of a protocol that tuner does not read")
        if type(root["protocol"]) is not int or type(root.get("_skops_version", "")) is not str:
            raise Refused("its schema has no protocol and version")
        self._node({k: v for k, v in root.items() if k not in _ROOT}, "", 0)
        if self.untrusted:
            return
        if self._flaw:
            raise Refused(self._flaw)
        for module, name, attributes in sorted(self._attributes):
            check_attributes(module, name, attributes)

    # --- nodes of every kind --------------------------------------------------------------------

    def _node(self, node: Any, where: str, depth: int, *, is_state: bool = False) -> None:
        """Check a node that is the value of the attribute `where`."""
        if not isinstance(node, dict) or not isinstance(node.get("__loader__"), str):
            raise Refused(f"attribute {where!r} has a value that is not a skops node")
        if depth > _DEPTH:
            raise Refused(f"its schema is more than {_DEPTH} levels deep")
        loader = node["__loader__"]
        check, fields = _LOADERS.get(loader, (None, frozenset()))
        if check is None:
            raise Refused(f"attribute {where!r} has a node of the unknown kind {loader!r}")
        if unknown := node.keys() - _COMMON - fields:
            self._flaw = self._flaw or f"a {loader} has the fields {sorted(map(str, unknown))}"
        if missing := fields - _OPTIONAL.get(loader, set()) - node.keys():
            raise Refused(f"a {loader} lacks the fields {sorted(missing)}")
        if not is_name(node.get("__module__"), node.get("__class__")):
            raise Refused(f"a {loader} names no class or function")
        self._shared.check(node)
        self.types.add(name_of(node))
        if is_state:
            self._dict(node, where, depth, is_state=True)
        else:
            check(self, node, where, depth)

    def _class(self, node: Node, *allowed: str) -> None:
        name = name_of(node)
        if name not in allowed:
            raise Refused(f"a {node['__loader__']} may not be a {name}")

    def _trust(self, name: str, allowed: Collection[str]) -> bool:
        """Whether a name is allowed; records it as untrusted otherwise."""
        self.types.add(name)
        if name in allowed or name in self._extra:
            return True
        self.untrusted.add(name)
        return False

    def _file(self, node: Node, ending: str) -> str:
        name = node["file"]
        if not isinstance(name, str) or not _FILE.fullmatch(name) or not name.endswith(ending):
            raise Refused(f"a {node['__loader__']} reads the file {name!r}")
        reader = self._reader_of.setdefault(name, node)
        if reader is not node and (
            node.get("__id__") is None or reader.get("__id__") != node.get("__id__")
        ):
            raise Refused(f"two nodes read the file {name!r}")
        return name

    # --- containers -----------------------------------------------------------------------------

    def _dict(self, node: Node, where: str, depth: int, is_state: bool = False) -> None:
        """Check a dict: its values inherit its place; in a state, each has its key as its place."""
        name = name_of(node)
        if name not in lists.DICTS:
            self._trust(name, ())
        types, content = node["key_types"], node["content"]
        self._node(types, where, depth + 1)
        if not isinstance(content, dict) or name_of(types) != "builtins.list":
            raise Refused(f"the dict {where!r} has no content")
        if types["__loader__"] != "ListNode" or len(types["content"]) != len(content):
            raise Refused(f"the dict {where!r} has other keys than types of keys")
        for of_key in types["content"]:
            self._key_type(of_key, where, lists.NAME_TYPES if is_state else lists.KEY_TYPES)
        for key, value in content.items():
            if (is_state or name != "builtins.dict") and key.startswith("__"):
                raise Refused(f"attribute {where!r} has the attribute {key!r}")
            if key.endswith("__memory") and not is_none_or_nones(value):
                raise Refused(REMEDY_OF["memory"])
            self._node(value, key if is_state else where, depth + 1)

    def _key_type(self, node: Node, where: str, allowed: Collection[str]) -> None:
        name = name_of(node)
        if node["__loader__"] != "TypeNode":
            self._trust(name, ())
        if (node["__loader__"] != "TypeNode" or name not in allowed) and not self.untrusted:
            raise Refused(f"the dict {where!r} has keys of the type {name}")

    def _list(self, node: Node, where: str, depth: int) -> None:
        name = name_of(node)
        if name != f"builtins.{node['__loader__'].removesuffix('Node').lower()}":
            self._trust(name, ())
        if not isinstance(node["content"], list):
            raise Refused(f"the list {where!r} has no content")
        for value in node["content"]:
            self._node(value, where, depth + 1)

    def _json(self, node: Node, where: str, depth: int) -> None:  # noqa: ARG002
        self._class(node, "builtins.str")
        content = node["content"]
        if node["is_json"] is not True or not isinstance(content, str) or not content:
            raise Refused(f"attribute {where!r} has no plain value")
        if content[0] in "[{ \t\r\n":
            self._flaw = self._flaw or f"attribute {where!r} has several values in one JsonNode"

    def _slice(self, node: Node, where: str, depth: int) -> None:  # noqa: ARG002
        self._class(node, "builtins.slice")
        check_slice(node["content"], where)

    # --- arrays ---------------------------------------------------------------------------------

    def _array(self, node: Node, where: str, depth: int) -> None:
        name = name_of(node)
        if name != "numpy.ndarray" and name not in lists.NUMBERS:
            self._trust(name, ())
        if node["type"] == "numpy":
            if node.keys() - _COMMON != {"type", "file"}:
                raise Refused(f"the array {where!r} has unknown fields")
            header = self._archive.array_header(self._file(node, ".npy"))
            if name != "numpy.ndarray" and header.shape != ():
                raise Refused(f"the number {where!r} is an array of shape {header.shape}")
            return
        if node["type"] != "json" or node.keys() - _COMMON != {"type", "content", "shape"}:
            raise Refused(f"the array {where!r} is of an unknown kind")
        self._class(node, "numpy.ndarray")
        self._node(node["shape"], where, depth + 1)
        if node["shape"]["__loader__"] != "TupleNode":
            raise Refused(f"the array {where!r} has no shape")
        shape = [integer_of(length) for length in node["shape"]["content"]]
        if not 1 <= len(shape) <= 8 or min(shape) < 0:
            raise Refused(f"the array {where!r} has the shape {shape}")
        self._items(node["content"], shape, where, depth)

    def _items(self, content: Any, shape: list[int], where: str, depth: int) -> None:
        """Check that nested lists have the shape that the array declares."""
        if not isinstance(content, list) or len(content) != shape[0]:
            raise Refused(f"the array {where!r} has other items than its shape says")
        for item in content:
            self._node(item, where, depth + 1)
            if len(shape) > 1:
                if item["__loader__"] != "ListNode":
                    raise Refused(f"the array {where!r} has other items than its shape says")
                self._items(item["content"], shape[1:], where, depth + 1)

    def _masked(self, node: Node, where: str, depth: int) -> None:
        self._class(node, "numpy.ma.MaskedArray", "numpy.ma.core.MaskedArray")
        content = node["content"]
        if not isinstance(content, dict) or content.keys() != {"data", "mask"}:
            raise Refused(f"attribute {where!r} has a masked array without a mask")
        for part in content.values():
            self._node(part, where, depth + 1)
            if part["__loader__"] != "NdArrayNode":
                raise Refused(f"attribute {where!r} has a masked array of no arrays")

    def _dtype(self, node: Node, where: str, depth: int) -> None:
        self._class(node, "numpy.dtype")
        self._node(node["content"], where, depth + 1)
        if node["content"]["__loader__"] != "NdArrayNode":
            raise Refused(f"attribute {where!r} has a data type of no array")

    def _sparse(self, node: Node, where: str, depth: int) -> None:  # noqa: ARG002
        self._trust(name_of(node), lists.SPARSE)
        if node["type"] != "scipy":
            raise Refused(f"the matrix {where!r} is of an unknown kind")
        self._archive.check_sparse(self._file(node, ".npz"))

    def _bytes(self, node: Node, where: str, depth: int) -> None:  # noqa: ARG002
        self._class(node, "builtins.bytes", "builtins.bytearray")
        self._archive.read(self._file(node, ".bin"))

    # --- random numbers -------------------------------------------------------------------------

    def _random_state(self, node: Node, where: str, depth: int) -> None:
        self._class(node, "numpy.random.mtrand.RandomState")
        state = self._plain_dict(node["content"], where, depth)
        if state.keys() != {"bit_generator", "state", "has_gauss", "gauss"}:
            raise Refused(f"attribute {where!r} has no state of random numbers")
        self._bit_generator(state, "MT19937", where, depth)

    def _generator(self, node: Node, where: str, depth: int) -> None:
        self._class(node, "numpy.random._generator.Generator")
        content = node["content"]
        if not isinstance(content, dict) or content.keys() != {"bit_generator", "seed_seq"}:
            raise Refused(f"attribute {where!r} has no state of random numbers")
        state = self._plain_dict(content["bit_generator"], where, depth)
        self._bit_generator(state, "PCG64", where, depth)
        seed = self._plain_dict(content["seed_seq"], where, depth)
        if seed.keys() != {"entropy", "spawn_key", "pool_size", "n_children_spawned"}:
            raise Refused(f"attribute {where!r} has no seed of random numbers")
        if not 4 <= integer_of(seed["pool_size"]) <= 64:
            raise Refused(f"attribute {where!r} has no seed of random numbers")

    def _bit_generator(self, state: Node, kind: str, where: str, depth: int) -> None:
        if value_of(state.get("bit_generator", {})) != kind:
            raise Refused(f"attribute {where!r} has other random numbers than {kind}")
        inner = self._plain_dict(state["state"], where, depth)
        if kind == "MT19937":
            if inner.keys() != {"key", "pos"} or not 0 <= integer_of(inner["pos"]) <= 624:
                raise Refused(f"attribute {where!r} has no state of random numbers")
            header = self._archive.array_header(self._file(inner["key"], ".npy"))
            if header.shape != (624,) or header.dtype != "uint32":
                raise Refused(f"attribute {where!r} has no state of random numbers")

    def _plain_dict(self, node: Any, where: str, depth: int) -> Node:
        """Return the content of a plain dict with string keys."""
        self._node(node, where, depth + 1)
        if node["__loader__"] != "DictNode" or name_of(node) != "builtins.dict":
            raise Refused(f"attribute {where!r} has no dict where one must be")
        if any(name_of(t) != "builtins.str" for t in node["key_types"]["content"]):
            raise Refused(f"attribute {where!r} has a dict whose keys are not strings")
        content: Node = node["content"]
        return content

    # --- types, functions and objects -----------------------------------------------------------

    def _type(self, node: Node, where: str, depth: int) -> None:  # noqa: ARG002
        self._trust(name_of(node), lists.types_at(where))

    def _function(self, node: Node, where: str, depth: int) -> None:  # noqa: ARG002
        if not lists.is_function_of_numbers(node["__module__"], node["__class__"]):
            self._trust(name_of(node), lists.functions_at(where))

    def _partial(self, node: Node, where: str, depth: int) -> None:
        """Check a ``functools.partial``: an allowed function with plain values as arguments."""
        self._class(node, "functools.partial")
        content = node["content"]
        if not isinstance(content, dict) or content.keys() != {"func", "args", "kwds", "namespace"}:
            raise Refused(f"attribute {where!r} has a function with unknown arguments")
        self._node(content["func"], "func of partial" if where == "func" else where, depth + 1)
        for part in ("args", "kwds", "namespace"):
            self._node(content[part], f"{part} of partial", depth + 1)
            if not is_plain(content[part]):
                raise Refused(f"attribute {where!r} binds arguments that are no plain values")
        if content["func"]["__loader__"] != "FunctionNode":
            raise Refused(f"attribute {where!r} binds arguments to something not a function")
        if not is_empty(content["namespace"]):
            raise Refused(f"attribute {where!r} has a function with attributes")

    def _applied(self, node: Node, where: str, depth: int) -> None:
        """Check a node that makes skops call a named object: only trusted classes may have one."""
        self._trust(name_of(node), ())
        self._node(node["content"], where, depth + 1)
        if node["content"]["__loader__"] != "TupleNode":
            raise Refused(f"attribute {where!r} is made of no list of arguments")
        if name_of(node) in self._extra and not isinstance(resolve(name_of(node)), type):
            raise Refused(f"attribute {where!r} is made by {name_of(node)}, which is not a class")

    def _operator(self, node: Node, where: str, depth: int) -> None:
        self._trust(name_of(node), ())
        self._node(node["attrs"], where, depth + 1)
        if name_of(node) in self._extra and node["__class__"] not in (
            "attrgetter", "itemgetter", "methodcaller",
        ):  # fmt: skip
            raise Refused(f"attribute {where!r} is made by {name_of(node)}, which is not a getter")
        if not is_plain(node["attrs"]) and not self.untrusted:
            raise Refused(f"attribute {where!r} has arguments that are not plain values")

    def _method(self, node: Node, where: str, depth: int) -> None:
        content = node["content"]
        if not isinstance(content, dict) or content.keys() != {"func", "obj"}:
            raise Refused(f"attribute {where!r} has a method of no object")
        self._trust(f"{name_of(node)}.{content['func']}", ())
        self._node(content["obj"], where, depth + 1)

    def _tree(self, node: Node, where: str, depth: int) -> None:
        self._trust(name_of(node), lists.TREES)
        features, classes, outputs = self._reduced(node, where, depth, 3)
        n_outputs = integer_of(outputs)
        if classes["__loader__"] != "NdArrayNode" or classes["type"] != "numpy":
            raise Refused(f"{lists.UNFITTED}: the tree {where!r} has no numbers of classes")
        n_classes = self._archive.array(classes["file"])
        if not 0 < integer_of(features) < 2**31 or not 0 < n_outputs < 2**31:
            raise Refused(f"{lists.UNFITTED}: the tree {where!r} has no features or outputs")
        if n_classes.dtype != "int64" or n_classes.shape != (n_outputs,):
            raise Refused(f"{lists.UNFITTED}: the tree {where!r} has other counts than outputs")
        if n_classes.min() < 1 or n_classes.max() > 2**31:
            raise Refused(f"{lists.UNFITTED}: the tree {where!r} has no classes")
        state = self._plain_dict(node["content"], where, depth)
        if state.keys() != {"max_depth", "node_count", "nodes", "values"}:
            raise Refused(f"{lists.UNFITTED}: the tree {where!r} has unknown attributes")
        shapes = []
        for part in ("nodes", "values"):
            array = state[part]
            if array["__loader__"] != "NdArrayNode" or array["type"] != "numpy":
                raise Refused(f"{lists.UNFITTED}: the tree {where!r} has no {part}")
            shapes.append(self._archive.array_header(array["file"]).shape)
        n_nodes = integer_of(state["node_count"])
        expected = [(n_nodes,), (n_nodes, n_outputs, int(n_classes.max()))]
        if n_nodes < 1 or shapes != expected:
            raise Refused(
                f"{lists.UNFITTED}: the tree {where!r} has arrays of the shapes {shapes}, "
                f"not {expected}"
            )
        if not 0 <= integer_of(state["max_depth"]) < n_nodes:
            raise Refused(f"{lists.UNFITTED}: the tree {where!r} is deeper than it has nodes")

    def _loss(self, node: Node, where: str, depth: int) -> None:
        if not self._trust(name_of(node), lists.LOSSES):
            return
        arguments = self._reduced(node, where, depth, None)
        if any(type(value_of(argument)) not in (int, float) for argument in arguments):
            raise Refused(f"the loss {where!r} has arguments that are not numbers")
        self._node(node["content"], where, depth + 1)
        if not is_empty(node["content"]):
            raise Refused(f"the loss {where!r} has a state")

    def _reduced(self, node: Node, where: str, depth: int, length: int | None) -> list[Node]:
        reduce = node["__reduce__"]
        if not isinstance(reduce, dict) or reduce.keys() != {"args"}:
            raise Refused(f"attribute {where!r} has no arguments to be made of")
        self._node(reduce["args"], where, depth + 1)
        arguments: list[Node] = reduce["args"].get("content")
        is_tuple = reduce["args"]["__loader__"] == "TupleNode"
        if not is_tuple or length not in (None, len(arguments)):
            raise Refused(f"attribute {where!r} has other arguments than its constructor takes")
        return arguments

    def _object(self, node: Node, where: str, depth: int) -> None:
        name, content = name_of(node), node.get("content")
        known = self._trust(name, lists.objects_at(where))
        is_own = name in self._extra or not known
        if name in lists.STATES_OF_TUPLES and not is_own:
            self._node(content, where, depth + 1)
            check_tuple(name, content)
        elif content is None or is_none(content):
            if name not in lists.WITHOUT_STATE and not is_own:
                raise Refused(f"attribute {where!r} has a {name} without attributes")
        elif isinstance(content, dict) and content.get("__loader__") == "DictNode":
            self._node(content, where, depth + 1, is_state=True)
            if not is_own:
                module, _, short = name.rpartition(".")
                self._attributes.add((module, short, tuple(content["content"])))
                check_values(name, content["content"])
        elif is_own:
            self._node(content, where, depth + 1)
        else:
            raise Refused(f"attribute {where!r} has a {name} without attributes")


_Check = Callable[..., None]
_LOADERS: dict[str, tuple[_Check, frozenset[str]]] = {
    loader: (check, frozenset(fields.split()))
    for loader, check, fields in (
        ("BytearrayNode", SkopsSchema._bytes, "file"),
        ("BytesNode", SkopsSchema._bytes, "file"),
        ("ConstructorFromReduceNode", SkopsSchema._applied, "content"),
        ("DTypeNode", SkopsSchema._dtype, "content"),
        ("DictNode", SkopsSchema._dict, "content key_types"),
        ("FunctionNode", SkopsSchema._function, ""),
        ("JsonNode", SkopsSchema._json, "content is_json"),
        ("ListNode", SkopsSchema._list, "content"),
        ("LossNode", SkopsSchema._loss, "__reduce__ content"),
        ("MaskedArrayNode", SkopsSchema._masked, "content"),
        ("MethodNode", SkopsSchema._method, "content"),
        ("NdArrayNode", SkopsSchema._array, "type file shape content"),
        ("ObjectNode", SkopsSchema._object, "content"),
        ("OperatorFuncNode", SkopsSchema._operator, "attrs"),
        ("PartialNode", SkopsSchema._partial, "content"),
        ("RandomGeneratorNode", SkopsSchema._generator, "content"),
        ("RandomStateNode", SkopsSchema._random_state, "content"),
        ("SetNode", SkopsSchema._list, "content"),
        ("SliceNode", SkopsSchema._slice, "content"),
        ("SparseMatrixNode", SkopsSchema._sparse, "type file"),
        ("TreeNode", SkopsSchema._tree, "__reduce__ content"),
        ("TupleNode", SkopsSchema._list, "content"),
        ("TypeNode", SkopsSchema._type, ""),
    )
}
_OPTIONAL = {"NdArrayNode": {"file", "shape", "content"}, "ObjectNode": {"content"}}
