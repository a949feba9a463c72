"""PyTorch modules: equal predictions after loading, trust in the constructor, crafted files."""

from __future__ import annotations

import io
import pickle
import struct
import zipfile
from collections import OrderedDict
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from support.model_files import forged
from tuner.errors import ArgumentError, RegistryError, UntrustedModel
from tuner.registry.formats import check_format, load_files, save_model
from tuner.registry.native.torch_format import FILE, TorchFormat
from tuner.testing import ModelFormatConformance
from tuner.testing.model_formats import Touch

pytestmark = pytest.mark.slow

NET = "support.networks.Net"
TRUSTED = [NET, "support.networks.Wide", "support.networks.make_net"]


@cache
def nets() -> list[Any]:
    import torch

    from support.networks import Net

    torch.manual_seed(0)
    net = Net()
    net(torch.randn(20, 3))  # moves the averages of BatchNorm
    return [net, Net()]


class TestTorchFormat(ModelFormatConformance):
    def make(self) -> TorchFormat:
        return TorchFormat(trusted=TRUSTED)

    def make_careful(self) -> TorchFormat:
        return TorchFormat()

    def models(self) -> list[Any]:
        return nets()

    def same(self, model: Any, loaded: Any) -> bool:
        import torch

        states = [each.state_dict() for each in (model, loaded)]
        equal = [torch.equal(states[0][name], states[1][name]) for name in states[0]]
        return type(model) is type(loaded) and all(equal) and not loaded.training


def saved(folder: Path) -> bytes:
    TorchFormat().save(nets()[0], folder)
    return (folder / FILE).read_bytes()


def test_it_is_the_format_of_a_module_and_loads_if_trusted() -> None:
    name, files = save_model(nets()[0])
    assert name == "torch"
    with pytest.raises(UntrustedModel, match=rf"import and call {NET}.*trusted=\['{NET}'\]"):
        load_files(name, files)
    assert type(load_files(name, files, trusted=[NET])).__name__ == "Net"


def test_the_operator_can_trust_a_constructor(monkeypatch: pytest.MonkeyPatch) -> None:
    name, files = save_model(nets()[0])
    monkeypatch.setenv("TUNER_TRUSTED_TYPES", NET)
    load_files(name, files)


def test_a_constructor_has_arguments(tmp_path: Path) -> None:
    import torch

    from support.networks import Wide, make_net

    for constructor, arguments in [(Wide, {"hidden": 5}), (make_net, {"hidden": 7})]:
        model = constructor(**arguments).eval()
        before = torch.random.get_rng_state()
        given = TorchFormat(constructor, arguments)
        check_format(model, format=given)
        name, files = save_model(model, format=given)
        loaded = load_files(name, files, trusted=TRUSTED)
        assert torch.equal(before, torch.random.get_rng_state())
        x = torch.randn(4, 3, dtype=next(model.parameters()).dtype)
        assert torch.equal(model(x), loaded(x))


def test_a_module_that_cannot_be_made_anew_is_known_before_the_training() -> None:
    import torch

    from support.networks import Net, Wide, make_net

    class Local(Net):
        pass

    for model, format, says in [
        (Wide(5), "torch", "cannot be called: missing a required argument: 'hidden'.*TorchFormat"),
        (Local(), "torch", "within a function"),
        (Net(rate=0.9), "torch", "makes another module"),
        (Net(hidden=9), TorchFormat(make_net, {"hidden": 5}), "makes another module"),
        (Net(), TorchFormat(lambda: Net()), "a lambda"),
        (torch.nn.Sequential(torch.nn.Linear(2, 2)), None, "makes another module"),
    ]:
        with pytest.raises(RegistryError, match=says):
            check_format(model, format=format)
        with pytest.raises(RegistryError, match=says):
            save_model(model, format=format)


def test_arguments_are_plain_values() -> None:
    with pytest.raises(ArgumentError, match="plain values"):
        TorchFormat(print, {"file": object()})
    with pytest.raises(ArgumentError, match="pass a class or a function"):
        TorchFormat("support.networks:Net")  # type: ignore[arg-type]


# --- crafted files --------------------------------------------------------------------------------


def archive_with(content: bytes, pickled: bytes, **more: bytes) -> bytes:
    """Return a state dict's archive with another pickle and further members."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as old, zipfile.ZipFile(buffer, "w") as new:
        for name in old.namelist():
            new.writestr(name, pickled if name.endswith("/data.pkl") else old.read(name))
        for name, member in more.items():
            new.writestr(name, member)
    return buffer.getvalue()


def pickle_of(content: bytes) -> bytes:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        return archive.read(next(n for n in archive.namelist() if n.endswith("/data.pkl")))


def load(folder: Path, content: bytes) -> Any:
    forged(folder, {FILE: content})
    return TorchFormat(trusted=TRUSTED).load(folder)


@pytest.mark.parametrize("protocol", [0, 2, 4])
def test_a_pickle_in_the_archive_does_not_run(protocol: int, tmp_path: Path) -> None:
    content = saved(tmp_path)
    pickled = pickle.dumps({"a": Touch(tmp_path / "trace")}, protocol)
    with pytest.raises(RegistryError, match=r"mkdir|opcode"):
        load(tmp_path, archive_with(content, pickled))
    assert not (tmp_path / "trace").exists()


def test_an_old_file_of_torch_save_is_refused(tmp_path: Path) -> None:
    import torch

    saved(tmp_path)
    buffer = io.BytesIO()
    torch.save(nets()[0].state_dict(), buffer, _use_new_zipfile_serialization=False)
    with pytest.raises(RegistryError, match="not a zip archive"):
        load(tmp_path, buffer.getvalue())


def test_a_whole_module_in_the_file_is_refused(tmp_path: Path) -> None:
    import torch

    saved(tmp_path)
    buffer = io.BytesIO()
    torch.save(nets()[0], buffer)
    with pytest.raises(UntrustedModel, match=r"would call support\.networks\.Net"):
        load(tmp_path, buffer.getvalue())


def test_crafted_sizes_are_refused(tmp_path: Path) -> None:
    content = saved(tmp_path)
    pickled = pickle_of(content)
    items = b"K\x0ctq"  # the first storage has 12 items
    shape = b"K\x04K\x03\x86"  # and its tensor the shape (4, 3)
    assert items in pickled
    assert shape in pickled
    huge = b"J" + struct.pack("<i", 2**31 - 1)
    for crafted, says in [
        (pickled.replace(items, huge + b"tq", 1), "declares 8589934588 bytes and has 48"),
        (pickled.replace(shape, huge + b"K\x03\x86", 1), "ends after"),
        (pickled.replace(shape, b"K\x05K\x03\x86", 1), "ends after 15 items"),
        (pickled.replace(b"q\x00", b"r\xff\xff\xff\x7f", 1), "more objects than it has"),
        (pickle.dumps([1], 2), "opcode|not a dict"),
        (pickle.dumps(OrderedDict(a=1), 2), "opcode|not a dict"),
    ]:
        with pytest.raises(RegistryError, match=says):
            load(tmp_path, archive_with(content, crafted))


def test_crafted_members_are_refused(tmp_path: Path) -> None:
    content = saved(tmp_path)
    pickled = pickle_of(content)
    for name in ("archive/../../../etc/x", "/etc/x", "archive/code/x.py", "archive/data/99"):
        with pytest.raises(RegistryError, match=r"unknown member|not an archive of"):
            load(tmp_path, archive_with(content, pickled, **{name: b"x"}))
    bomb = io.BytesIO()
    with zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        archive.writestr("archive/data.pkl", pickled)
        archive.writestr("archive/data/0", bytes(66 * 2**20))
    with pytest.raises(RegistryError, match="unpacks to more than"):
        load(tmp_path, bomb.getvalue())


@pytest.mark.parametrize(
    ("facts", "error", "says"),
    [
        ({"constructor": "os:system", "arguments": {"command": "true"}}, UntrustedModel, "system"),
        ({"constructor": "os"}, RegistryError, "not a reference"),
        ({"constructor": "no.such:Net"}, UntrustedModel, "cannot be imported here"),
        ({"constructor": "support.networks:make_table"}, UntrustedModel, "make_table"),
        ({"arguments": {"hidden": 9}}, RegistryError, "size mismatch"),
        ({"arguments": {"other": 9}}, RegistryError, "unexpected keyword"),
    ],
)
def test_crafted_facts_are_refused(
    facts: dict[str, Any], error: type[Exception], says: str, tmp_path: Path
) -> None:
    saved(tmp_path)
    forged(tmp_path, {}, **facts)
    with pytest.raises(error, match=says):
        TorchFormat(trusted=TRUSTED).load(tmp_path)
