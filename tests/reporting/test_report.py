"""The report as a file: complete, self-contained, and safe whatever a study is called."""

from __future__ import annotations

import base64
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

import tuner
from tuner import Choice, Float
from tuner.errors import ExportError
from tuner.reporting import render_report, write_report

EVIL = "<script>alert(1)<|script>\"'&{{ 7*7 }}".replace("|", "\\")


class Page(HTMLParser):
    """What a browser would find: tags, the text between them, what they load."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.loads: list[str] = []
        self.handlers: list[str] = []
        self.text = ""
        self.feed(html)

    def handle_starttag(self, tag, attrs) -> None:
        self.tags.append(tag)
        self.loads += [v or "" for k, v in attrs if k in ("src", "href", "srcset", "action")]
        self.handlers += [k for k, _ in attrs if k.startswith("on")]

    def handle_data(self, data) -> None:
        self.text += data


def study_of(tmp_path: Path, name: str = "digits", n: int = 12, **options) -> tuner.Study:
    space = {"rate": Float(0, 1), "model": Choice(svm={"C": Float(0.1, 10)}, dummy={})}
    study = tuner.create_study(space, study=name, store=tmp_path / "store", seed=0, **options)
    for number in range(n):
        trial = study.ask()
        trial.report(1.0, 0)
        if number == 3:
            study.tell(trial, state="failed")
        elif len(study.goals) > 1:
            study.tell(trial, [trial.params["rate"], 1 - trial.params["rate"]])
        else:
            study.tell(trial, {"value": trial.params["rate"], EVIL: 1.0})
    return study


@pytest.mark.slow
def test_it_says_what_came_of_the_study(tmp_path: Path) -> None:
    study = study_of(tmp_path)
    path = write_report(study, tmp_path / "r.html")
    page = Page(path.read_text())
    best = study.best_trial
    assert f"{best.values[0]:.6g}" in page.text
    assert f"in trial {best.number}" in page.text
    assert "12 (11 completed, 1 failed)" in page.text
    assert str(study.info.seed) in page.text
    assert study.info.fingerprint in page.text
    assert "How sure we are of the winner" in page.text
    assert page.tags.count("img") == 5
    rows = re.findall(r"<tr>(?=<td class=\"n\" data-n)", path.read_text())
    assert len(rows) == 12


@pytest.mark.slow
def test_nothing_is_loaded_from_elsewhere(tmp_path: Path) -> None:
    html = render_report(study_of(tmp_path))
    page = Page(html)
    assert page.loads
    assert all(url.startswith("data:image/svg+xml;base64,") for url in page.loads)
    assert "default-src 'none'" in html
    assert not {"link", "iframe", "object"} & set(page.tags)
    for url in page.loads:
        assert base64.b64decode(url.partition(",")[2]).startswith(b"<?xml")


@pytest.mark.slow
def test_a_hostile_name_is_text(tmp_path: Path) -> None:
    plain = Page(render_report(study_of(tmp_path / "a")))
    study = study_of(tmp_path / "b", EVIL, tags={EVIL: EVIL})
    page = Page(render_report(study))
    assert page.tags.count("script") == plain.tags.count("script") == 1
    assert page.tags == plain.tags or sorted(set(page.tags)) == sorted(set(plain.tags))
    assert page.handlers == []
    assert EVIL in page.text
    assert "49" not in re.findall(r"<title>(.*?)</title>", render_report(study))[0]


@pytest.mark.slow
def test_several_goals_show_the_front(tmp_path: Path) -> None:
    study = study_of(tmp_path, direction=["minimize", "maximize"], metric=["loss", "gain"])
    page = Page(render_report(study))
    assert "Configurations of the Pareto front" in page.text
    assert "How sure we are" not in page.text


@pytest.mark.parametrize("n", [0, 1, 2])
@pytest.mark.slow
def test_studies_that_have_hardly_begun(tmp_path: Path, n: int) -> None:
    page = Page(render_report(study_of(tmp_path, n=n)))
    assert ("none yet" in page.text) == (n == 0)


def test_a_place_that_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(ExportError, match="cannot write"):
        write_report(study_of(tmp_path, n=1), tmp_path / "no" / "r.html")
