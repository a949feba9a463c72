"""The import of skops without PyTorch, which saving a model does not need."""

from __future__ import annotations

import sys
from types import ModuleType

import pytest

from support.forks import Fork
from tuner.registry import skops_library

WITHOUT = """
import sys
from tuner.registry.skops_library import skops_io

adapter = "sklearn.externals.array_api_compat.torch"
for name in [*sys.modules]:  # as in a new process
    if name.split(".")[0] in ("skops", "torch") or name.startswith(adapter):
        del sys.modules[name]
assert skops_io().__name__ == "skops.io"
assert "torch" not in sys.modules, "the import of skops loads PyTorch"
assert adapter not in sys.modules
"""


@pytest.mark.process
@pytest.mark.slow
def test_skops_is_imported_without_pytorch() -> None:
    fork = Fork(WITHOUT)
    _, errors = fork.communicate(timeout=60)
    assert fork.returncode == 0, errors


def test_an_adapter_of_a_loaded_library_is_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    adapter = "sklearn.externals.array_api_compat.torch"
    for name, module in list(sys.modules.items()):
        if name.startswith(("skops", adapter)):
            monkeypatch.setitem(sys.modules, name, module)  # restored
            monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "torch", ModuleType("torch"))
    seen = []
    monkeypatch.setattr(
        skops_library, "import_module", lambda _: seen.append(adapter in sys.modules)
    )
    skops_library.skops_io()
    monkeypatch.delitem(sys.modules, "torch")
    skops_library.skops_io()
    assert seen == [False, True], "hidden only while PyTorch is not loaded"
    assert adapter not in sys.modules
