"""A real notebook kernel shows figures, records and reports below the cell."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from jupyter_client.manager import start_new_kernel

pytestmark = pytest.mark.process

Run = Callable[[str], list[dict[str, Any]]]

STUDY = """
import tempfile, tuner
from tuner import Choice, Float
folder = tempfile.mkdtemp()
study = tuner.create_study(
    {"rate": Float(0, 1), "model": Choice(svm={"C": Float(0.1, 10)}, dummy={})},
    study="<b>digits", store=folder, seed=0,
)
for _ in range(6):
    trial = study.ask()
    told = study.tell(trial, trial.params["rate"])
"""


@pytest.fixture(scope="module")
def kernel() -> Iterator[Run]:
    with running_kernel() as run:
        yield run


@contextmanager
def running_kernel() -> Iterator[Run]:
    """Give a function that runs a cell and returns its output by MIME type."""
    manager, client = start_new_kernel()

    def run(code: str) -> list[dict[str, Any]]:
        messages: list[dict[str, Any]] = []
        reply = client.execute_interactive(code, timeout=60, output_hook=messages.append)
        assert reply["content"]["status"] == "ok", reply["content"]
        kinds = ("display_data", "execute_result")
        return [m["content"]["data"] for m in messages if m["msg_type"] in kinds]

    try:
        run(STUDY)
        yield run
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)


def images(shown: list[dict[str, Any]]) -> int:
    return sum("image/png" in data for data in shown)


@pytest.mark.slow
def test_plots_and_the_users_own_figures_are_shown(kernel: Run) -> None:
    """The first figure of a kernel selects the backend; pyplot stays interactive after it."""
    assert images(kernel("study.plot.history();")) == 1
    assert images(kernel("study.plot.slice('rate');")) == 1
    assert images(kernel("study.plot.timeline(); study.plot.history();")) == 2
    assert images(kernel("import matplotlib.pyplot as plt; _ = plt.plot([1, 2])")) == 1
    assert images(kernel("_, ax = plt.subplots(); study.plot.history(ax=ax);")) == 1
    (shown,) = kernel("import matplotlib; matplotlib.rcParams['interactive']")
    assert shown["text/plain"] == "True"
    assert images(kernel("study.plot.timeline();")) == 1


@pytest.mark.slow
def test_the_style_of_the_first_figure_does_not_hide_later_ones() -> None:
    styled = "import matplotlib.pyplot as plt\nwith plt.style.context('dark_background'):\n    "
    with running_kernel() as run:
        assert images(run(f"{styled}study.plot.history()")) == 1
        assert images(run("_ = plt.plot([1, 2])")) == 1
        assert images(run("study.plot.history();")) == 1
        assert images(run("plt.ioff(); study.plot.history();")) == 0
        assert images(run("study.plot.history();")) == 0


def test_plots_are_shown_with_interactive_mode_off(kernel: Run) -> None:
    # The first figure of a kernel turns the mode on.
    kernel("import matplotlib.pyplot as plt; study.plot.history();")
    assert images(kernel("plt.ioff(); study.plot.history();")) == 0
    assert images(kernel("_ = plt.ion(); plt.close('all'); study.plot.history();")) == 1


def test_many_figures_in_a_cell_give_no_warning(kernel: Run) -> None:
    code = """
import warnings
import matplotlib.pyplot as plt
with warnings.catch_warnings(record=True) as seen:
    warnings.simplefilter("always")
    for _ in range(22):
        tuner.plotting.style.new_figure(1, 1)
plt.close("all")
[str(w.message) for w in seen]
"""
    assert kernel(f"import tuner.plotting.style\n{code}")[-1]["text/plain"] == "[]"


@pytest.mark.parametrize(
    "code",
    [
        "study",
        "study.trials",
        "study.trials[:2]",
        "study.best_trial",
        "study.best_trials",
        "study.runs()",
        "study.info",
        "study.find('value < 0.5')",
        "study.find('', what='runs')",
        "tuner.find('', store=folder)",
        "tuner.list_studies(store=folder)",
        "tuner.compare('<b>digits/0', '<b>digits/1', store=folder)",
    ],
)
def test_records_are_shown_as_html(kernel: Run, code: str) -> None:
    (shown,) = kernel(code)
    assert "tuner-html" in shown["text/html"]
    assert "<b>digits" not in shown["text/html"]
    assert shown["text/plain"]


@pytest.mark.slow
def test_the_report_is_shown_inline_without_figures_below_it(kernel: Run) -> None:
    (shown,) = kernel("study.report()")
    assert "<iframe" in shown["text/html"]
    assert "digits" in shown["text/html"]
    assert len(shown["text/plain"]) < 200
    assert images(kernel("study.report();")) == 0
