"""The report as a file: complete, self-contained, and safe for any name of a study."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

import tuner
from tuner import Choice, Const, Float
from tuner.errors import ExportError
from tuner.reporting import Report, charts, render_report, write_report
from tuner.reporting.charts import chart_data
from tuner.reporting.content import importances_of

EVIL = "<script>alert(1)<|script>\"'&{{ 7*7 }}".replace("|", "\\")


class Page(HTMLParser):
    """The content that a browser would see: tags, text and loaded resources."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.loads: list[str] = []
        self.handlers: list[str] = []
        self.charts: list[str] = []
        self.data: dict[str, Any] = {}
        self.text = ""
        self.feed(html)

    def handle_starttag(self, tag, attrs) -> None:
        self.tags.append(tag)
        self.loads += [v or "" for k, v in attrs if k in ("src", "href", "srcset", "action")]
        self.handlers += [k for k, _ in attrs if k.startswith("on")]
        self.charts += [v or "" for k, v in attrs if k == "data-chart"]
        self.data |= json.loads(dict(attrs).get("data-study") or "{}")

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
            study.tell(trial, {"value": trial.params["rate"], EVIL: trial.params["rate"]})
    return study


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> tuple[tuner.Study, str]:
    """Return a study of 12 trials, and the text of its report."""
    folder = tmp_path_factory.mktemp("written")
    study = study_of(folder)
    return study, write_report(study, folder / "r.html").read_text()


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Return the report of a study whose name, metric and tags contain markup."""
    folder = tmp_path_factory.mktemp("hostile")
    return render_report(study_of(folder, EVIL, metric=EVIL, tags={EVIL: EVIL}))


@pytest.mark.slow
def test_the_report_shows_the_results_of_the_study(written: tuple[tuner.Study, str]) -> None:
    study, html = written
    page = Page(html)
    best = study.best_trial
    assert f"{best.values[0]:.6g}" in page.text
    assert f"in trial {best.number}" in page.text
    assert "12 (11 completed, 1 failed)" in page.text
    assert str(study.info.seed) in page.text
    assert study.info.fingerprint in page.text
    assert "How sure we are of the winner" in page.text
    assert page.tags.count("img") == 5
    rows = re.findall(r"<tr>(?=<td class=\"n\" data-n)", html)
    assert len(rows) == 12


@pytest.mark.slow
def test_the_page_loads_no_external_resources(written: tuple[tuner.Study, str]) -> None:
    _, html = written
    page = Page(html)
    assert page.loads
    assert all(url.startswith("data:image/svg+xml;base64,") for url in page.loads)
    assert "default-src 'none'" in html
    assert not {"link", "iframe", "object"} & set(page.tags)
    for url in page.loads:
        assert base64.b64decode(url.partition(",")[2]).startswith(b"<?xml")


@pytest.mark.slow
def test_names_with_markup_are_escaped(written: tuple[tuner.Study, str], hostile: str) -> None:
    plain, page = Page(written[1]), Page(hostile)
    assert page.tags.count("script") == plain.tags.count("script") == 1
    assert page.tags == plain.tags or sorted(set(page.tags)) == sorted(set(plain.tags))
    assert page.handlers == []
    assert EVIL in page.text
    assert "49" not in re.findall(r"<title>(.*?)</title>", hostile)[0]


@pytest.mark.slow
def test_several_goals_show_the_front(tmp_path: Path) -> None:
    study = study_of(tmp_path, direction=["minimize", "maximize"], metric=["loss", "gain"])
    page = Page(render_report(study))
    assert "Configurations of the Pareto front" in page.text
    assert "How sure we are" not in page.text


@pytest.mark.parametrize("n", [0, 1, 2])
@pytest.mark.slow
def test_studies_with_few_or_no_trials(tmp_path: Path, n: int) -> None:
    page = Page(render_report(study_of(tmp_path, n=n)))
    assert ("none yet" in page.text) == (n == 0)


@pytest.mark.slow
def test_the_data_of_the_charts_is_text_without_credentials(tmp_path: Path, hostile: str) -> None:
    page = Page(hostile)
    assert page.charts == [
        "history", "slice", "parallel_coordinates", "learning_curves", "timeline",
    ]  # fmt: skip
    assert page.data["goals"][0]["metric"] == EVIL
    assert len(page.data["trials"]) == 12
    assert {t["state"] for t in page.data["trials"]} == {"completed", "failed"}
    assert [c["path"] for c in page.data["columns"]] == ["rate", "model", "model.svm.C"]
    secret = study_of(tmp_path, metric="postgresql://me:hunter2secret@db \u202e")
    assert "hunter2secret" not in chart_data(secret, secret.trials)
    assert "u202e" not in chart_data(secret, secret.trials).replace("\\\\u202e", "")


def test_thinned_chart_data_keeps_every_improvement(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(charts, "MOST_TRIALS", 20)
    study = tuner.create_study({"x": Float(0, 1)}, study="s", store=tmp_path, seed=0)
    values = [10.0, *(9.0 for _ in range(41)), 8.0, 7.0, *(9.5 for _ in range(20)), 6.5, 9.0]
    for trial, value in zip(study.ask(len(values)), values, strict=True):
        study.tell(trial, value)
    drawn = json.loads(chart_data(study, study.trials))["trials"]
    assert {0, 1, 42, 43, 64} <= {trial["n"] for trial in drawn}
    assert len(drawn) <= 20
    assert [trial["n"] for trial in drawn if trial["best"]] == [64]


@pytest.mark.slow
def test_the_policy_of_the_page_allows_its_own_script_only(hostile: str) -> None:
    html = hostile
    script = html[html.index("<script>") + 8 : html.rindex("</script>")]
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'" in html
    assert "</script" not in script
    for handler in ("innerHTML", "insertAdjacentHTML", "document.write", "eval("):
        assert handler not in script[script.index("The interactive charts of a report") :]


@pytest.mark.slow
def test_a_plot_without_data_is_omitted(tmp_path: Path) -> None:
    def charts(name: str, space: dict[str, Any], states: str, values: float = 1.0) -> list[str]:
        study = tuner.create_study(space, study=name, store=tmp_path, seed=0)
        for number, state in enumerate(states):
            trial = study.ask()
            if state == "c":
                study.tell(trial, values + number)
            else:
                study.tell(trial, state="failed")
        page = Page(render_report(study))
        assert page.tags.count("img") == len(page.charts) == page.tags.count("figure")
        return page.charts

    two = {"x": Float(0, 1), "y": Float(0, 1)}
    assert charts("no trial", two, "") == []
    assert charts("one trial", two, "c") == ["timeline"]
    assert charts("all failed", two, "fff") == ["timeline"]
    assert charts("constant", {"x": Const(1)}, "cc") == ["history", "timeline"]
    assert charts("one parameter", {"x": Float(0, 1)}, "cc") == ["history", "slice", "timeline"]


@pytest.mark.slow
def test_importances_are_shares_of_the_whole_variance(
    tmp_path: Path, written: tuple[tuner.Study, str]
) -> None:
    study, html = written
    (found,) = importances_of(study, study.trials)
    assert next(row.path for row in found.rows) == "rate"
    assert sum(row.score for row in found.rows) + sum(found.rest.values()) == pytest.approx(1.0)
    for row in found.rows:
        assert row.low is None or row.high is None or row.low <= row.score <= row.high
    assert "unexplained" in Page(html).text
    goals = study_of(tmp_path, n=9, direction=["minimize"] * 2, metric=["loss", "time"])
    assert [found.goal for found in importances_of(goals, goals.trials)] == ["loss", "time"]


@pytest.mark.slow
@pytest.mark.parametrize("direction", ["minimize", "maximize"])
def test_a_tie_is_labeled_as_a_tie(tmp_path: Path, direction: str) -> None:
    space = {"x": Float(0, 1)}
    study = tuner.create_study(space, study="s", store=tmp_path, seed=0, direction=direction)
    for _ in range(3):
        study.tell(study.ask(), 0.0010000000000000002)
    text = Page(render_report(study)).text
    assert "Trial 0 and the runner-up, trial 1, have the same value, 0.001" in text
    assert "-0" not in text[text.index("How sure") : text.index("How this is computed")]
    assert "0.0010000000000000002" not in text


@pytest.mark.slow
def test_values_that_differ_in_late_digits_look_different(tmp_path: Path) -> None:
    study = tuner.create_study({"x": Float(0, 1)}, study="s", store=tmp_path, seed=0)
    for value in (0.123456781, 0.123456782):
        study.tell(study.ask(), value)
    text = Page(render_report(study)).text
    assert "by 1e-9: 0.123456781 against 0.123456782." in text


def test_the_page_supports_dark_mode_and_small_screens() -> None:
    style = (Path(tuner.__file__).parent / "reporting" / "report.css").read_text()
    light, dark = style.split("@media (prefers-color-scheme: dark)")
    names = set(re.findall(r"(--[a-z]+):", light))
    assert names == set(re.findall(r"(--[a-z]+):", dark.split("}")[0]))
    assert re.search(r"\.n \{[^}]*white-space: nowrap", style)
    # `anywhere` on the body would let a table shrink a number to one digit a line.
    assert not re.search(r"body \{[^}]*overflow-wrap: anywhere", style)


@pytest.mark.slow
@pytest.mark.process
@pytest.mark.skipif(shutil.which("chromium") is None, reason="needs the browser chromium")
def test_a_browser_draws_the_charts_and_runs_nothing_else(tmp_path: Path) -> None:
    path = write_report(study_of(tmp_path, EVIL, metric=EVIL), tmp_path / "r.html")
    command = ["chromium", "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]
    dom = subprocess.run(
        [*command, "--dump-dom", f"--user-data-dir={tmp_path / 'profile'}", path.as_uri()],
        capture_output=True, text=True, timeout=60, check=True,
    ).stdout  # fmt: skip
    page = Page(dom)
    assert page.tags.count("canvas") == 5
    assert page.tags.count("script") == 1
    assert page.handlers == []


@pytest.mark.slow
def test_a_report_object_is_saved_and_shown_in_a_frame(tmp_path: Path) -> None:
    study = study_of(tmp_path, n=2)
    report = study.report(save=tmp_path / "a.html")
    assert isinstance(report, Report)
    assert (tmp_path / "a.html").read_text() == report.html
    assert report.save(tmp_path / "b.html").read_text() == report.html
    frame = Page(report._repr_html_())
    assert frame.tags == ["iframe"]
    assert 'sandbox="allow-scripts"' in report._repr_html_()
    assert len(repr(report)) < 100


def test_an_unwritable_path_is_an_export_error(tmp_path: Path) -> None:
    with pytest.raises(ExportError, match="cannot write"):
        write_report(study_of(tmp_path, n=1), tmp_path / "no" / "r.html")
