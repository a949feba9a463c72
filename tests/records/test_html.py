"""HTML of records in a notebook: complete, escaped, short, and readable in any theme."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

import tuner
from tuner import Choice, Float
from tuner.provenance.compare import Comparison
from tuner.provenance.replay import Changed, Replay
from tuner.records import (
    Artifact,
    Code,
    Environment,
    Failure,
    Goal,
    ModelVersion,
    Run,
    State,
    StudyInfo,
    Trial,
)
from tuner.records.lists import RecordList
from tuner.registry.lineage import Lineage

EVIL = "<img src=x onerror=alert(1)>\"'&"
NOISE = 0.0010000000000000002
FAILURE = Failure(EVIL, EVIL, EVIL * 50)
TRIAL = Trial(
    3, {EVIL: EVIL, "model": (EVIL, {EVIL: NOISE})}, State.FAILED, (NOISE,), {EVIL: 1.0}, FAILURE,
    started=0.0, ended=75.0, notes={EVIL: EVIL}, constraints={EVIL: -1.0},
)  # fmt: skip
RUN = Run("u", 3, 1, State.FAILED, {EVIL: 1.0}, FAILURE, EVIL, EVIL, output=f"{EVIL}\nline")
GOAL = Goal(EVIL)
INFO = StudyInfo("u", EVIL, {EVIL: EVIL}, "f", (GOAL,), 0, 0.0, {EVIL: EVIL}, tags={EVIL: EVIL})
KEPT = Artifact(EVIL, "u", EVIL, "s", 1)
VERSION = ModelVersion(EVIL, 1, EVIL, 0, "u", {EVIL: EVIL}, GOAL, NOISE, 0.0, KEPT, note=EVIL)
CODE = Code(EVIL, f"{EVIL}\n+", EVIL, f"{EVIL}\n")
PACKAGES = {f"package{i}{EVIL}": f"1.{i}" for i in range(175)}
ENVIRONMENT = Environment(EVIL, EVIL, PACKAGES)
RECORDS: list[Any] = [TRIAL, RUN, INFO, KEPT, VERSION, CODE, ENVIRONMENT, FAILURE]


class Page(HTMLParser):
    """The tags, the text that is not folded, and the handlers of a fragment."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.handlers: list[str] = []
        self.text, self.unfolded = "", ""
        self._closed = 0
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.handlers += [name for name, _ in attrs if name.startswith("on")]
        self._closed += tag == "details" and ("open", None) not in attrs

    def handle_endtag(self, tag: str) -> None:
        self._closed -= tag == "details" and self._closed > 0

    def handle_data(self, data: str) -> None:
        self.text += data
        self.unfolded += data if not self._closed else ""


def study_of(folder: Path, n: int = 6) -> tuner.Study:
    space = {"rate": Float(0, 1), "model": Choice(svm={"C": Float(0.1, 10)}, dummy={})}
    study = tuner.create_study(space, study="s", store=folder, seed=0, tags={EVIL: EVIL})
    for number in range(n):
        trial = study.ask()
        if number % 5 == 4:
            study.tell(trial, state="failed")
        else:
            study.tell(trial, {"value": NOISE * (1 + number % 2), EVIL: 1.0})
    return study


@pytest.mark.parametrize("record", RECORDS, ids=lambda record: type(record).__name__)
def test_text_of_a_record_is_never_markup(record: Any) -> None:
    for html in (record._repr_html_(), RecordList([record, record])._repr_html_()):
        page = Page(html)
        assert "img" not in page.tags
        assert page.handlers == []
        assert len(page.unfolded) < 3_000
    assert EVIL in Page(record._repr_html_()).text


def test_a_trial_shows_its_params_flat_and_its_numbers_short() -> None:
    text = Page(TRIAL._repr_html_()).text
    assert f"model.{EVIL}.{EVIL}0.001" in text
    assert "0.0010000000000000002" not in text
    assert "1 min 15 s" in text
    assert "failed" in text
    row = Page(RecordList([TRIAL])._repr_html_()).text
    assert f"params.model.{EVIL}.{EVIL}" in row


def test_credentials_and_control_characters_are_not_shown() -> None:
    run = Run("u", 0, output="postgresql://me:hunter2secret@host/db \x1b[2J \u202e\n")
    html = run._repr_html_()
    assert "hunter2secret" not in html
    cut = Trial(0, {"created": 1.5, "url": f"{'x' * 40}postgresql://me:hunter2secret@host"})
    assert "hunter2" not in RecordList([cut])._repr_html_()
    assert "1.5" in RecordList([cut])._repr_html_()
    assert "\x1b" not in html
    assert "\u202e" not in html


def test_colors_come_from_the_page() -> None:
    """A dark theme sets text and background; the fragment sets neither."""
    for html in (TRIAL._repr_html_(), RecordList([TRIAL])._repr_html_()):
        style = html[html.index("<style>") : html.index("</style>")]
        colors = set(re.findall(r"(?<![-\w])(?:color|background):([^;}!]+)", style))
        assert colors == {"inherit", "none", "rgba(128,128,128,.12)"}


def test_a_long_list_shows_its_first_and_last_rows() -> None:
    trials = RecordList([Trial(i, {"x": i}) for i in range(1000)])
    page = Page(trials._repr_html_())
    assert page.tags.count("tr") == 22
    assert "980 more" in page.text
    assert "1000 in all" in page.text
    assert isinstance(trials[:5], RecordList)
    assert trials[5] == Trial(5, {"x": 5})
    assert Page(RecordList()._repr_html_()).text.endswith("none")


def test_a_study_shows_its_best_trial_and_its_failures(tmp_path: Path) -> None:
    study = study_of(tmp_path)
    page = Page(study._repr_html_())
    assert "img" not in page.tags
    assert "0.001 in trial 0" in page.text
    assert "6 (5 completed, 1 failed)" in page.text
    assert "rate" in page.unfolded
    assert EVIL in page.text
    for trials in (study.trials, study.trials[1:3], study.best_trials, study.runs()):
        assert "tuner-html" in trials._repr_html_()  # type: ignore[attr-defined]


@pytest.mark.parametrize("n", [0, 1])
def test_a_study_with_few_or_no_trials(tmp_path: Path, n: int) -> None:
    study = study_of(tmp_path, n)
    assert ("no completed, feasible trial yet" in study._repr_html_()) == (n == 0)
    assert study.find()._repr_html_()


def test_a_query_result_shows_the_number_of_matches(tmp_path: Path) -> None:
    study = study_of(tmp_path, 27)
    page = Page(study.find("value < 1")._repr_html_())
    assert "22 trials" in page.text
    assert "the first 20: value < 1" in page.text
    assert page.tags.count("tr") == 21
    assert "params.rate" in page.text
    assert "img" not in page.tags
    assert "5 trials" in study.find("limit 5")._repr_html_()
    assert "1 trial<" in study.find("number = 3")._repr_html_()
    assert "0 trials" in study.find("number = 300")._repr_html_()
    for what in ("runs", "studies", "models"):
        assert "tuner-html" in tuner.find("", what=what, store=tmp_path)._repr_html_()
    assert len(repr(study.find("value < 1"))) < 200


def test_a_comparison_shows_what_differs() -> None:
    packages = {name: (version, version) for name, version in PACKAGES.items()}
    packages["numpy"] = ("2.0", "2.1")
    comparison = Comparison(
        ("a", EVIL),
        params={"x": (NOISE, 0.001), "y": (1.0, 1.0), "z": (None, 2)},
        packages=packages,
        code={EVIL: f"-{EVIL}\n+"},
    )
    page = Page(comparison._repr_html_())
    assert "img" not in page.tags
    assert "numpy2.02.1" in page.unfolded
    assert "package7" not in page.text
    assert "x0.00100000000000000020.001" in page.unfolded
    assert "z-2" in page.unfolded
    assert "176 equal rows not shown" in page.text
    assert len(repr(comparison)) < 200
    same = Comparison(("a", "b"), packages={"numpy": ("2.0", "2.0")})
    assert "Nothing differs" in same._repr_html_()


def test_a_replay_and_a_lineage_are_shown_compactly() -> None:
    changed = (Changed("commit", EVIL, "b"),)
    replay = Replay(
        EVIL, 3, RUN, {"loss": (NOISE, 0.001), "b": (None, 1.0)}, False, changed, (EVIL,)
    )
    page = Page(replay._repr_html_())
    assert "img" not in page.tags
    assert "loss0.00100000000000000020.001" in page.text
    assert "the metrics differ" in page.text
    lineage = Lineage(VERSION, INFO, TRIAL, RUN, CODE, ENVIRONMENT)
    page = Page(lineage._repr_html_())
    assert "img" not in page.tags
    assert "= 0.001, registered" in page.text
    for shown in (replay, lineage):
        assert len(repr(shown)) < 100


def test_many_differing_packages_are_folded() -> None:
    packages = dict.fromkeys(PACKAGES, ("1", "2"))
    page = Page(Comparison(("a", "b"), params={"x": (1, 2)}, packages=packages)._repr_html_())
    assert "packages (175)" in page.text
    assert "package7" not in page.unfolded.replace("packages (175)", "")
    assert "x12" in page.unfolded


def test_a_record_of_many_packages_has_a_short_repr() -> None:
    assert "package7" not in repr(ENVIRONMENT)
    assert "175 packages" in repr(ENVIRONMENT)
