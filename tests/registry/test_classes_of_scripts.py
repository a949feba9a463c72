"""Models with classes and functions that another process cannot import by name."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from sklearn.base import BaseEstimator
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

from tuner.errors import RegistryError, UntrustedModel
from tuner.provenance.scripts import load_script
from tuner.registry.formats import load_files, save_model
from tuner.registry.skops_format import FILE

CODE = """
from sklearn.base import BaseEstimator

class Mean(BaseEstimator):
    def fit(self, X, y=None):
        self.mean_ = 2.0
        return self

    class Inner(BaseEstimator):
        pass

def local():
    class Local(BaseEstimator):
        pass

    return Local()

def double(X):
    return 2 * X
"""


@pytest.fixture
def main(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The script that runs, with the classes of `CODE` in it."""
    module = ModuleType("__main__")
    exec(CODE, vars(module))
    monkeypatch.setitem(sys.modules, "__main__", module)
    return module


MODELS = {
    "class": lambda module: module.Mean().fit(None),
    "in a pipeline": lambda module: make_pipeline(FunctionTransformer(), module.Mean()),
    "function": lambda module: FunctionTransformer(module.double),
    "parameter": lambda module: FunctionTransformer(kw_args={"kind": module.Mean}),
}


@pytest.mark.parametrize("make", MODELS.values(), ids=MODELS)
def test_a_model_class_of_the_script_is_checked_on_saving(make: Any, main: ModuleType) -> None:
    with pytest.raises(RegistryError, match=r"__main__\..*in the script.*module.*allow_pickle"):
        save_model(make(main))
    format, files = save_model(make(main), allow_pickle=True)
    assert format == "pickle"
    main.__dict__.clear()  # as in another program
    assert isinstance(load_files(format, files, allow_pickle=True), BaseEstimator)


@pytest.mark.parametrize("make", ["Mean.Inner", "local"])
def test_a_nested_or_local_class_cannot_be_imported(
    make: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "nested_classes.py").write_text(CODE)
    monkeypatch.syspath_prepend(tmp_path)
    import nested_classes  # type: ignore[import-not-found]

    found: Any = nested_classes
    for part in make.split("."):
        found = getattr(found, part)
    try:
        with pytest.raises(RegistryError, match=r"has no '(Inner|Local)'.*at the top of a module"):
            save_model(found())
        format, _ = save_model(found(), allow_pickle=True)
        assert format == "pickle"
    finally:
        del sys.modules["nested_classes"]


def test_a_class_of_a_script_under_another_name_cannot_be_imported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["test"])
    (tmp_path / "json.py").write_text(CODE)
    module = load_script(tmp_path / "json.py")
    with pytest.raises(
        RegistryError, match=r"'script_json' of script_json.Mean is not on the path"
    ):
        save_model(module.Mean())
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "only_there.py").write_text(CODE)
    with pytest.raises(RegistryError, match=r"'only_there' of only_there.Mean is not on the path"):
        save_model(load_script(tmp_path / "elsewhere" / "only_there.py").Mean())


def test_a_class_pickled_by_value_is_saved_without_running_its_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "its_script.py").write_text("raise SystemExit('runs')")
    monkeypatch.syspath_prepend(tmp_path)
    shipped = ModuleType("its_script")
    exec(CODE, vars(shipped))
    assert save_model(shipped.Mean())[0] == "skops"
    assert "its_script" not in sys.modules


def test_an_older_file_with_a_class_of_a_script_names_the_remedy(
    main: ModuleType, tmp_path: Path
) -> None:
    from skops import io

    content = io.dumps(main.Mean().fit(None))
    mean = vars(main).pop("Mean")
    with pytest.raises(UntrustedModel) as caught:
        load_files("skops", {FILE: content})
    assert "defined in the script that saved it" in str(caught.value)
    assert "trusted=" not in str(caught.value)
    main.Mean = mean
    with pytest.raises(UntrustedModel, match=r"write trusted=\['__main__.Mean'\]"):
        load_files("skops", {FILE: content})
    assert load_files("skops", {FILE: content}, trusted=["__main__.Mean"]).mean_ == 2.0


def test_loading_a_model_starts_no_search(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    script = f"{CODE}\nimport tuner\ntuner.optimize(None, {{}})\n"
    (tmp_path / "unguarded_class.py").write_text(CODE)
    import unguarded_class  # type: ignore[import-not-found]

    saved = [
        save_model(unguarded_class.Mean()),
        save_model(unguarded_class.Mean(), format="pickle", allow_pickle=True),
    ]
    del sys.modules["unguarded_class"]
    (tmp_path / "unguarded_class.py").write_text(script)
    for format, files in saved:
        with pytest.raises(RegistryError, match=r"tuner\.optimize is called while .*__main__"):
            load_files(format, files, allow_pickle=True, trusted=["unguarded_class.Mean"])
