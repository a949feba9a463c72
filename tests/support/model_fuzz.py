"""Mutate model files, load them and predict with them, in a monitored process.

``python model_fuzz.py SEED COUNT`` prints a line before each mutation is tried, so the last line
names the mutation that killed the process. It prints a JSON summary at the end. The summary lists
the side effects of loading that an audit hook observed. Audit hooks cannot be removed, so the fuzz
runs in a separate process.
"""

from __future__ import annotations

import copy
import io
import json
import resource
import signal
import sys
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from tokenize import TokenError
from typing import Any

import numpy as np
import pandas as pd
from scipy import sparse
from sklearn import cluster, decomposition, ensemble, linear_model, model_selection, neighbors, svm
from sklearn import preprocessing as pre
from sklearn.compose import make_column_transformer
from sklearn.datasets import load_iris
from sklearn.feature_extraction import DictVectorizer, FeatureHasher
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.gaussian_process import GaussianProcessRegressor, kernels
from sklearn.isotonic import IsotonicRegression
from sklearn.multiclass import OneVsRestClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer
from sklearn.semi_supervised import LabelPropagation
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

from support.skops_nodes import Node, npy, packed, unpacked
from tuner.registry import skops_library
from tuner.registry.skops_format import load_skops
from tuner.registry.trusted import TRUSTED

skops_io = skops_library.skops_io()

X, y = load_iris(return_X_y=True)
X, y = X[::3], y[::3]
TABLE = pd.DataFrame(X, columns=list("abcd")).assign(f=pd.Categorical(np.where(X[:, 0] > 5, 1, 2)))
TEXTS = [f"{'short' if x[0] < 5 else 'long'} {'wide' if x[1] > 3 else 'thin'} leaf" for x in X]
DICTS = [{"a": x[0], "b": "u" if x[1] > 3 else "v"} for x in X]
CODES = np.where(X > 3, 2, 1)

MODELS: dict[str, Callable[[], tuple[Any, Any]]] = {
    "tree": lambda: (DecisionTreeClassifier(max_depth=3), X),
    "tree of two outputs": lambda: (DecisionTreeRegressor(max_depth=2), X),
    "forest": lambda: (ensemble.RandomForestClassifier(2, max_depth=3), X),
    "embedding": lambda: (ensemble.RandomTreesEmbedding(2, max_depth=2), X),
    "isolation": lambda: (ensemble.IsolationForest(n_estimators=2, max_features=0.5), X),
    "bagging": lambda: (ensemble.BaggingClassifier(n_estimators=2, max_features=0.5), X),
    "boosting": lambda: (ensemble.GradientBoostingClassifier(n_estimators=2, max_depth=2), X),
    "boosted numbers": lambda: (ensemble.GradientBoostingRegressor(n_estimators=2), X),
    "histograms": lambda: (ensemble.HistGradientBoostingClassifier(max_iter=2), X),
    "categories": lambda: (
        ensemble.HistGradientBoostingClassifier(max_iter=2, min_samples_leaf=3),
        TABLE,
    ),
    "vectors": lambda: (svm.SVC(), X),
    "nu vectors": lambda: (svm.NuSVC(), X),
    "sparse vectors": lambda: (svm.SVC(kernel="linear"), sparse.csr_matrix(X)),
    "precomputed": lambda: (svm.SVC(kernel="precomputed"), X @ X.T),
    "regression": lambda: (svm.SVR(), X),
    "one class": lambda: (svm.OneClassSVM(), X),
    "neighbors": lambda: (neighbors.KNeighborsClassifier(3, algorithm="brute"), X),
    "neighbors in trees": lambda: (neighbors.KNeighborsRegressor(3, algorithm="kd_tree"), X),
    "neighbors in balls": lambda: (
        neighbors.LocalOutlierFactor(algorithm="ball_tree", novelty=True),
        X,
    ),
    "sparse neighbors": lambda: (neighbors.KNeighborsClassifier(3), sparse.csr_matrix(X)),
    "radius": lambda: (
        neighbors.RadiusNeighborsClassifier(radius=9.0, algorithm="brute", outlier_label=0),
        X,
    ),
    "density": lambda: (neighbors.KernelDensity(), X),
    "means": lambda: (cluster.KMeans(3, n_init=1), X),
    "batches": lambda: (cluster.MiniBatchKMeans(3, n_init=1), X),
    "bisected": lambda: (cluster.BisectingKMeans(3), X),
    "texts": lambda: (make_pipeline(TfidfVectorizer(), linear_model.SGDClassifier()), TEXTS),
    "dicts": lambda: (make_pipeline(DictVectorizer(), linear_model.LogisticRegression()), DICTS),
    "hashes": lambda: (make_pipeline(FeatureHasher(8), linear_model.Ridge()), DICTS),
    "codes": lambda: (
        make_pipeline(pre.OneHotEncoder(drop="first", max_categories=2), svm.SVC()),
        CODES,
    ),
    "bins": lambda: (
        make_pipeline(
            pre.KBinsDiscretizer(3, quantile_method="averaged_inverted_cdf"),
            DecisionTreeClassifier(),
        ),
        X,
    ),
    "columns": lambda: (
        make_pipeline(
            make_column_transformer((pre.StandardScaler(), [0, 1]), (FunctionTransformer(), [2])),
            linear_model.LogisticRegression(),
        ),
        X,
    ),
    "search": lambda: (
        model_selection.GridSearchCV(
            DecisionTreeClassifier(), {"max_depth": [1, 2]}, cv=2, scoring="f1_macro"
        ),
        X,
    ),
    "stacked": lambda: (
        ensemble.StackingClassifier([("a", DecisionTreeClassifier(max_depth=1))], cv=2),
        X,
    ),
    "factors": lambda: (decomposition.NMF(2, max_iter=20), X),
    "topics": lambda: (decomposition.LatentDirichletAllocation(2, max_iter=2), X),
    "atoms": lambda: (decomposition.MiniBatchDictionaryLearning(2, max_iter=2), X),
    "process": lambda: (GaussianProcessRegressor(kernels.RBF() + kernels.WhiteKernel()), X),
    "isotonic": lambda: (IsotonicRegression(), X[:, 0]),
    "labels": lambda: (LabelPropagation(kernel="knn", n_neighbors=3), X),
    "rest": lambda: (OneVsRestClassifier(svm.LinearSVC()), X),
    "random state": lambda: (
        ensemble.RandomForestClassifier(2, random_state=np.random.RandomState(0)),
        X,
    ),
    "multilabel": lambda: (pre.MultiLabelBinarizer(), [[1, 2], [3]] * 10),
}

METHODS = (
    "predict", "predict_proba", "decision_function", "transform", "score_samples", "apply",
    "kneighbors", "decision_path", "kneighbors_graph",
)  # fmt: skip

LOADERS = (
    "BytearrayNode", "BytesNode", "CachedNode", "ConstructorFromReduceNode", "DTypeNode",
    "DefaultDictNode", "DictNode", "FunctionNode", "JsonNode", "ListNode", "LossNode",
    "MaskedArrayNode", "MethodNode", "NdArrayNode", "ObjectNode", "OperatorFuncNode", "PartialNode",
    "RandomGeneratorNode", "RandomStateNode", "SetNode", "SliceNode", "SparseMatrixNode",
    "TreeNode", "TupleNode", "TypeNode", "QuantileForestNode", "TreeNode_v0",
)  # fmt: skip

NAMES = (
    *sorted(TRUSTED), "builtins.eval", "builtins.exec", "builtins.open", "builtins.list",
    "builtins.dict", "builtins.str", "builtins.int", "builtins.type", "builtins.getattr",
    "functools.partial", "operator.methodcaller", "operator.attrgetter", "os.system", "os.mkdir",
    "subprocess.Popen", "pickle.loads", "numpy.load", "numpy.ndarray", "numpy.float64",
    "numpy.memmap", "joblib.load", "joblib.memory.Memory", "importlib.import_module",
    "collections.OrderedDict", "sklearn.utils._bunch.Bunch", "numpy.add", "numpy.log1p",
    "antigravity.fly", "this.d",
)  # fmt: skip

ATTRIBUTES = (
    "__array_interface__", "__class__", "__dict__", "__reduce__", "_estimator_type", "_impl", "fit",
    "func", "get_params", "input", "kernel", "memory", "metric", "n_features_in_", "predict",
    "scorer_", "score_func", "scoring", "steps", "transform", "tree_",
)  # fmt: skip

PLAIN = (
    None, True, False, 0, 1, -1, 2, 3, 7, 255, 2**31 - 1, 2**31, -(2**31), 2**63, 10**30, 0.5, -1.5,
    float("nan"), float("inf"), "", "fit", "brute", "kd_tree", "precomputed", "zero", "csr",
    "a/../b",
)  # fmt: skip

UNTOUCHED = ("n_jobs", "max_iter", "n_iter", "n_iter_", "degree", "verbose")  # only slow


def nodes(root: Any, name: str = "") -> Iterator[tuple[str, Node]]:
    """Yield every node with the name that it stands at."""
    if isinstance(root, list):
        for each in root:
            yield from nodes(each, name)
    elif isinstance(root, dict):
        if "__loader__" in root:
            yield name, root
        for key, each in root.items():
            yield from nodes(each, name if key in ("content", "key_types") else key)


def attempt(root: Node, members: dict[str, bytes], others: list[Node], rng: Any) -> str:
    """Mutate a file; an earlier mutation may have left nothing that another one can change."""
    try:
        return mutate(root, members, others, rng)
    except (AttributeError, IndexError, KeyError, TokenError, TypeError, ValueError) as error:
        return f"nothing: {type(error).__name__}"


def mutate(root: Node, members: dict[str, bytes], others: list[Node], rng: Any) -> str:
    """Change a schema or one of its arrays in one place; return a description of the change."""
    found = [(n, node) for n, node in nodes(root) if n not in UNTOUCHED]
    kind = rng.choice(
        ["array"] * 8 + ["value"] * 6 + ["loader", "name", "graft", "wrap", "keys", "attribute"]
        + ["identity", "field", "file", "drop", "move"]
    )  # fmt: skip
    wanted = {"array": "NdArrayNode", "file": "NdArrayNode", "value": "JsonNode"}.get(kind)
    wanted = "DictNode" if kind in ("keys", "attribute", "drop", "move") else wanted
    fitting = [(n, node) for n, node in found if wanted in (None, node["__loader__"])]
    if not fitting:
        return "nothing"
    where, node = fitting[rng.integers(len(fitting))]
    others = [*others, *(each for _, each in found)]
    other = copy.deepcopy(others[rng.integers(len(others))])
    if kind == "array":
        return f"array {where}: {change_array(node, members, rng)}"
    if kind == "value":
        node["content"] = json.dumps(PLAIN[rng.integers(len(PLAIN))])
        node.pop("__id__", None)
    elif kind == "loader":
        node["__loader__"] = LOADERS[rng.integers(len(LOADERS))]
    elif kind == "name":
        name = NAMES[rng.integers(len(NAMES))]
        node["__module__"], _, node["__class__"] = name.rpartition(".")
    elif kind == "graft":
        other.pop("__id__", None)
        node.clear()
        node.update(other)
    elif kind == "wrap":
        wrap(node, rng)
    elif kind == "keys":
        types = node["key_types"]["content"]
        if types:
            types[rng.integers(len(types))] = other
    elif kind == "attribute":
        content = node["content"]
        if content:
            names = list(content)
            new = [*ATTRIBUTES, *names][rng.integers(len(ATTRIBUTES) + len(names))]
            content[str(new)] = content.pop(names[rng.integers(len(names))])
            del node["key_types"]["content"][len(content) :]
    elif kind == "identity":
        node["__id__"] = other.get("__id__", -1)
    elif kind == "field":
        keys = [key for key in node if key not in ("protocol", "_skops_version")]
        key = keys[rng.integers(len(keys))]
        node[key] = other.get(key, PLAIN[rng.integers(len(PLAIN))])
    elif kind == "file":
        node["file"] = [*members, "../x.npy", "schema.json", "/etc/passwd"][
            rng.integers(len(members) + 3)
        ]
    elif kind == "drop":
        if node["content"]:
            node["content"].pop(list(node["content"])[rng.integers(len(node["content"]))])
            node["key_types"]["content"].pop()
    elif kind == "move" and len(node["content"]) > 1:
        first, second = rng.choice(list(node["content"]), 2, replace=False)
        values = node["content"]
        values[first], values[second] = values[second], values[first]
    return f"{kind} {where}"


def wrap(node: Node, rng: Any) -> None:
    inner = copy.deepcopy(node)
    module, _, name = NAMES[rng.integers(len(NAMES))].rpartition(".")
    several = {"__class__": "tuple", "__module__": "builtins", "__loader__": "TupleNode"}
    arguments = {**several, "content": [inner]}
    made = {"__module__": module, "__class__": name}
    node.clear()
    forms = (
        {"__loader__": "ConstructorFromReduceNode", "content": arguments},
        {"__loader__": "OperatorFuncNode", "attrs": arguments, "__module__": "operator"},
        {"__loader__": "MethodNode", "content": {"func": "fit", "obj": inner}},
        {
            "__loader__": "PartialNode",
            "content": {"func": inner, "args": arguments, "kwds": inner, "namespace": inner},
        },
        {"__loader__": "ObjectNode", "content": inner},
        {"__loader__": "ListNode", "content": [inner]},
    )
    node.update({**made, **forms[rng.integers(len(forms))]})


def change_array(node: Node, members: dict[str, bytes], rng: Any) -> str:
    if node.get("type") != "numpy" or node.get("file") not in members:
        return "nothing"
    name = node["file"]
    try:
        array = np.load(io.BytesIO(members[name]), allow_pickle=False)
    except (ValueError, EOFError):
        return "nothing"  # an earlier change broke it
    change = rng.choice(["item"] * 4 + ["shorter", "longer", "dtype", "shape", "bytes", "objects"])
    if change == "item" and array.size:
        array = array.copy()
        flat = array.reshape(-1)
        at = rng.integers(flat.size)
        fields = array.dtype.names
        values = [0, 1, -1, 2, 5, 100, 10**6, 2**31 - 1, -5, array.size]
        value = values[rng.integers(len(values))]
        target = flat[fields[rng.integers(len(fields))]] if fields else flat
        with np.errstate(all="ignore"):
            target[at] = np.array(value).astype(target.dtype)
    elif change == "shorter":
        array = array[:-1] if array.ndim else array
    elif change == "longer" and array.ndim:
        array = np.concatenate([array, array])
    elif change == "dtype" and not array.dtype.names and array.dtype.kind in "iufb":
        kinds = ["float32", "float64", "int64", "int32", "uint8", "bool", "U3", "complex64", ">f8"]
        array = array.astype(kinds[rng.integers(len(kinds))])
    elif change == "shape" and array.ndim:
        shapes = [array.T, array.reshape(-1), array[:, None], array[None], array[:0]]
        array = shapes[rng.integers(len(shapes))]
    elif change == "bytes":
        content = bytearray(members[name])
        content[rng.integers(len(content))] ^= 1 << int(rng.integers(8))
        members[name] = bytes(content)
        return "a bit"
    elif change == "objects":
        members[name] = npy(array.astype(object), pickles=True)
        return "objects"
    members[name] = npy(array)
    return str(change)


# --- the watch ----------------------------------------------------------------------------------

QUIET = (
    "array.", "builtins.id", "code.__new__", "gc.", "marshal.", "object.", "sys._getframe",
    "sys._current_frames", "time.", "cpython.", "sys.unraisablehook", "sys.excepthook",
)  # fmt: skip


class Watch:
    """Notes what happens while it is on."""

    def __init__(self) -> None:
        self.on = False
        self.heard: list[str] = []
        sys.addaudithook(self._hear)

    def _hear(self, event: str, arguments: tuple[Any, ...]) -> None:
        if not self.on or event.startswith(QUIET):
            return
        if event == "compile" and arguments[1] == "<unknown>":
            return  # ast.literal_eval of the header of an array, which runs nothing
        if event == "os.listdir" and arguments[0] in sys.path:
            return  # an import looks at a folder again that other processes have changed
        self.on = False
        self.heard.append(f"{event} {str(arguments)[:200]}")
        self.on = True


def use(model: Any, data: Any) -> None:
    """Call each method of a model; ordinary errors are accepted."""
    for name in METHODS:
        try:
            getattr(model, name)(data)
        except Exception:
            continue


class Slow(BaseException):
    """A mutation that only takes long."""


def stop(*_: Any) -> None:
    raise Slow


def main(seed: int, count: int, only: str = "") -> dict[str, Any]:
    warnings.simplefilter("ignore")
    resource.setrlimit(resource.RLIMIT_AS, (6 * 2**30, 6 * 2**30))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    rng = np.random.default_rng(seed)
    files: dict[str, tuple[bytes, Any]] = {}
    for name, make in MODELS.items():
        if only not in name:
            continue
        model, data = make()
        target = np.c_[y, y] if name == "tree of two outputs" else y
        model.fit(data) if name == "multilabel" else model.fit(data, target)
        files[name] = skops_io.dumps(model), data
    watch, seen = Watch(), Counter[str]()
    signal.signal(signal.SIGALRM, stop)

    def load(content: bytes) -> Any:
        watch.on = True
        try:
            return load_skops(content, frozenset())
        finally:
            watch.on = False

    # Warm up: the imports of the first load of a valid file are not the file's choice.
    for content, data in files.values():
        use(honest := load(content), data)
        repr(honest)
    watch.heard.clear()
    parsed = {name: unpacked(content) for name, (content, _) in files.items()}
    pool = [node for root, _ in parsed.values() for _, node in nodes(root)]
    pool = [pool[i] for i in rng.integers(0, len(pool), 300)]
    for number in range(count):
        name = list(files)[number % len(files)]
        root, members = copy.deepcopy(parsed[name][0]), dict(parsed[name][1])
        done = [attempt(root, members, pool, rng) for _ in range(rng.integers(1, 3))]
        print(f"{seed} {number} {name}: {done}", flush=True)
        signal.setitimer(signal.ITIMER_REAL, 10)
        try:
            try:
                model = load(packed(root, members))
            except Exception as error:
                seen[f"refused: {type(error).__name__}"] += 1
            else:
                use(model, files[name][1])
                seen["loaded"] += 1
        except Slow:
            seen["slow"] += 1
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
        if watch.heard:
            break
    return {"heard": watch.heard, "seen": dict(seen)}


if __name__ == "__main__":
    summary = main(int(sys.argv[1]), int(sys.argv[2]), *sys.argv[3:4])
    print(json.dumps(summary))
