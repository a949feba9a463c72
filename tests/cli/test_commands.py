"""The commands on real stores, as a user types them."""

from __future__ import annotations

import csv
import io
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

import tuner
import tuner.cli.exchange
from support.command_line import SCRIPT, call, run
from tuner import Choice, Float

ROOT = Path(__file__).parent.parent.parent


def test_a_search_from_the_command_line(folder: Path) -> None:
    output = run().stdout
    study = tuner.load_study("s")
    assert len(study.trials) == 8
    assert output.startswith("study: s\nbest: value = ")
    assert f"  x: {study.best_params['x']!r}" in output
    assert tuner.list_models()[0].name == "s"


def test_a_space_from_a_file_and_options(folder: Path) -> None:
    run("--space", "space.yaml", "--direction", "maximize", "--register", "best-x")
    study = tuner.load_study("s")
    assert all(t.params["x"] > 0 for t in study)
    assert study.best_value == max(t.value for t in study)
    assert [v.name for v in tuner.list_models()] == ["best-x"]
    (folder / "space.json").write_text(study.space.to_json())
    run("--space", "space.json", "--direction", "maximize", "--no-register", "--n-trials", "9")
    assert len(tuner.load_study("s").trials) == 9


def test_the_same_command_resumes_the_study(folder: Path) -> None:
    run()
    before = tuner.load_study("s").trials
    run("--n-trials", "12")
    after = tuner.load_study("s").trials
    assert len(after) == 12
    assert after[:8] == before


def test_an_objective_is_imported_from_a_module(folder: Path) -> None:
    (folder / "fittings").mkdir()
    (folder / "fittings" / "fitting.py").write_text(SCRIPT)
    call("run", "fittings.fitting:objective", "--backend", "serial", "--n-trials", "3", "--quiet")
    (info,) = tuner.list_studies()
    assert info.name.startswith("objective-")


def test_a_function_may_return_the_space(folder: Path) -> None:
    (folder / "spaces.py").write_text("import tuner\ndef one():\n    return {'x': tuner.Int(1, 3)}")
    run("--space", "spaces.py:one")
    assert {t.params["x"] for t in tuner.load_study("s")} == {1, 2, 3}
    run("--space", "tuner.search_spaces.sklearn:nothing", code=1)


def test_a_script_may_be_called_as_a_module_is(folder: Path) -> None:
    (folder / "random.py").write_text(SCRIPT)
    run_it = ("run", "random.py:objective", "--backend", "serial", "--n-trials", "3", "--quiet")
    call(*run_it, "--study", "r")
    assert len(tuner.load_study("r").trials) == 3


UNGUARDED = f"{SCRIPT}\nimport tuner\ntuner.optimize(objective, space, backend='serial')\nend = 1\n"


def test_a_search_in_the_script_does_not_start(folder: Path) -> None:
    (folder / "train.py").write_text(UNGUARDED)
    line = UNGUARDED.splitlines().index("tuner.optimize(objective, space, backend='serial')") + 1
    result = run()
    assert result.stderr.count(f"note: train.py, line {line}: a search starts") == 1
    assert "__main__" in result.stderr
    assert [info.name for info in tuner.list_studies()] == ["s"]
    assert len(tuner.load_study("s").trials) == 8
    missing = run(objective="end", code=1).stderr
    assert f"train.py has no 'end' (train.py, line {line}: a search starts" in missing
    (folder / "other.py").write_text(UNGUARDED)
    assert "note: other.py" in run("--space", "other.py:space").stderr


def test_a_search_in_the_module_does_not_start(folder: Path) -> None:
    (folder / "unguarded").mkdir()
    (folder / "unguarded" / "fit.py").write_text(UNGUARDED)
    call(
        "run", "unguarded.fit:objective", "--backend", "serial", "--n-trials", "2", "--study", "s",
        "--quiet",
    )  # fmt: skip
    assert [(info.name, len(tuner.load_study("s").trials)) for info in tuner.list_studies()] == [
        ("s", 2)
    ]


def test_options_set_tags_and_retries(folder: Path) -> None:
    fails_first = """if params["x"] in TRIED: return 1.0
    TRIED.add(params["x"])
    raise ValueError("the first time")"""
    script = SCRIPT.replace("HELPER = 2", "TRIED = set()")
    script = script.replace('raise ValueError("no such column")', fails_first)
    (folder / "train.py").write_text(script)
    run("--tag", "team=a", "--tag", "note=x=y", "--max-retries", "1", objective="fails")
    study = tuner.load_study("s")
    assert study.info.tags == {"team": "a", "note": "x=y"}
    assert study.trials[0].attempts == 2
    assert "write KEY=VALUE" in run("--tag", "team", code=1).stderr


@pytest.mark.ray
def test_a_script_and_its_sibling_modules_reach_ray_workers(folder: Path) -> None:
    (folder / "beside.py").write_text("def square(x):\n    return x * x")
    (folder / "elsewhere").mkdir()
    script = SCRIPT.replace("HELPER = 2", "from beside import square")
    script = script.replace('return params["x"] ** HELPER', 'return square(params["x"])')
    # A name that no worker can import: the script itself travels.
    (folder / "turtle.py").write_text(script.replace('params["x"] ** HELPER', "0.0"))
    done = subprocess.run(
        [Path(sys.executable).parent / "tuner", "run", "../turtle.py:objective", "--n-trials", "4",
         "--store", "store", "--quiet", "--study", "r", "--cpus", "0.5", "--workers", "2"],
        cwd=folder / "elsewhere", capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    study = tuner.load_study("r", store=folder / "elsewhere" / "store")
    assert [t.value for t in study] == [t.params["x"] * t.params["x"] for t in study]


def test_studies_are_listed(folder: Path) -> None:
    assert "no studies yet" in call("studies").stderr
    assert not (folder / ".tuner").exists(), "looking makes no store"
    run()
    header, line = call("studies").stdout.splitlines()
    assert header.split("\t")[:5] == ["study", "goal", "trials", "completed", "best"]
    assert line.split("\t")[:4] == ["s", "minimize value", "8", "8"]


def test_a_study_is_shown(folder: Path) -> None:
    run()
    output = call("show", "s", "--top", "3").stdout
    assert re.search(r"trials:\s+8 \(8 completed\)", output)
    assert re.search(r"optimizer:\s+random", output)
    assert len([line for line in output.splitlines() if "x=" in line]) == 3
    best = tuner.load_study("s").best_trial
    assert f"in trial {best.number}" in output


def test_failures_are_shown_by_reason(folder: Path) -> None:
    result = run(objective="fails", code=1)
    assert result.stderr.startswith(
        "tuner: error: study 's': the first trials of this call all failed"
    )
    assert "no such column" in result.stderr
    assert "failed 5x: ValueError: no such column" in call("show", "s").stdout


def test_one_trial_is_shown_with_its_runs(folder: Path) -> None:
    script = SCRIPT.replace("raise ValueError", "print('hello')\n    raise ValueError")
    (folder / "train.py").write_text(script)
    run(objective="fails", code=1)
    output = call("show", "s", "--trial", "2").stdout
    assert output.startswith("trial 2: failed\n  x: ")
    assert "run 1: failed on serial" in output
    assert 'raise ValueError("no such column")' in output
    assert "output of run 1:\nhello" in output
    assert "has no trial 99; its" in call("show", "s", "--trial", "99", code=1).stderr


def test_the_best_trial_is_shown_as_text_and_json(folder: Path) -> None:
    run()
    best = tuner.load_study("s").best_trial
    assert f"in trial {best.number}" in call("best", "s").stdout
    content = json.loads(call("best", "s", "--json").stdout)
    assert content["value"] == best.value
    assert content["trial"] == best.number
    assert content["params"]["m"][0] == best.params["m"][0]


@pytest.mark.slow
def test_plots_are_drawn(folder: Path) -> None:
    run()
    output = call("plot", "s", "--to", "plots", "--kind", "history", "--format", "svg").stdout
    assert output == "plots/s-history.svg\n"
    assert (folder / "plots" / "s-history.svg").read_text().startswith("<?xml")
    call("plot", "s", "--to", "all")
    assert len(list((folder / "all").glob("s-*.png"))) == 9


def test_plots_without_data_are_left_out_unless_asked_for(folder: Path) -> None:
    study = tuner.create_study({"x": Float(0, 1)}, study="s", store=".tuner", seed=0)
    study.tell(study.ask(), state="failed")
    result = call("plot", "s", "--to", "all")
    assert result.stdout == "all/s-timeline.png\n"
    assert "learning_curves: left out, as it has nothing to show" in result.stderr
    assert call("plot", "s", "--kind", "history").stdout == "s-history.png\n"


def test_numbers_are_shown_without_rounding_error(folder: Path) -> None:
    """Files and JSON keep every digit; a difference is never rounded away."""
    noise = 0.0010000000000000002
    study = tuner.create_study(
        {"x": Float(0, 1), "m": Choice(a={"C": Float(0, 1)}, b={})}, study="s", store=".tuner",
        seed=0,
    )  # fmt: skip
    study.enqueue({"x": noise, "m": ("a", {"C": noise})})
    study.enqueue({"x": 0.001, "m": ("a", {"C": -0.0})})
    for _ in range(2):
        trial = study.ask()
        study.tell(trial, {"value": trial.params["x"], "side": -0.0})
    study.set_note(0, "why", [noise])
    study.register("model")
    for words in (
        ["best", "s"],
        ["show", "s"],
        ["show", "s", "--trial", "0"],
        ["studies"],
        ["models"],
        ["find", "value > 0"],
        ["lineage", "model"],
    ):
        output = call(*words).stdout
        assert "0.0010000000000000002" not in output, words
        assert not re.search(r"-0(\.0)?\b(?![.-])", output.replace("-0-", "")), words
        assert "0.001" in output, words
    compared = call("compare", "s/0", "s/1").stdout
    assert "0.0010000000000000002\t0.001" in compared
    assert "0.0010000000000000002" in call("export", "s").stdout
    assert "0.001" in call("best", "s", "--json").stdout


@pytest.mark.slow
def test_a_plot_takes_a_goal_a_metric_and_other_studies(folder: Path) -> None:
    for name in ("s", "t"):
        study = tuner.create_study(
            {"x": Float(0, 1)}, study=name, store=".tuner", seed=0,
            direction=["minimize"] * 2, metric=["loss", "time"],
        )  # fmt: skip
        for _ in range(3):
            trial = study.ask()
            study.tell(trial, {"loss": trial.params["x"], "time": 1.0, "size": 2.0})
    for asked in ("--goal=1", "--goal=time", "--metric=size"):
        call("plot", "s", "--kind", "history", *asked.split())
    call("plot", "s", "--to", "both", "--with", "t")
    drawn = sorted(path.name for path in (folder / "both").iterdir())
    assert drawn == ["s-edf.png", "s-history.png", "s-hypervolume.png", "s-pareto-front.png"]
    call("plot", "s", "--to", "sizes", "--metric", "size")
    assert not (folder / "sizes" / "s-pareto-front.png").exists()
    assert "must be a goal: one of loss, time" in call(
        "plot", "s", "--kind", "edf", "--goal", "2", code=1
    ).stderr  # fmt: skip
    assert "--kind slice shows one study" in call(
        "plot", "s", "--kind", "slice", "--with", "t", code=2
    ).stderr  # fmt: skip


@pytest.mark.slow
def test_the_parameters_of_a_plot_are_chosen(folder: Path) -> None:
    run()
    call("plot", "s", "--kind", "contour", "--param", "m", "--param", "x")
    call("plot", "s", "--kind", "slice", "--param", "x")
    call("plot", "s", "--kind", "parallel_coordinates", "--param", "x", "--param", "m")
    assert len(list(folder.glob("s-*.png"))) == 3
    assert "'y'; write one of 'x'" in call(
        "plot", "s", "--kind", "slice", "--param", "y", code=1
    ).stderr  # fmt: skip
    call("plot", "s", "--kind", "rank", "--param", "m", "--param", "x")
    assert (folder / "s-rank.png").exists()
    call("plot", "s", "--kind", "slice", "--param", "x", "--param", "m", code=2)
    call("plot", "s", "--kind", "history", "--param", "x", code=2)
    (folder / "file").touch()
    call("plot", "s", "--to", "file", code=2)
    assert "cannot create the folder" in call("plot", "s", "--to", "file/x", code=1).stderr


def test_trials_are_found_by_a_query(folder: Path) -> None:
    run()
    study = tuner.load_study("s")
    below = sorted((t for t in study if t.params["x"] < 0), key=lambda t: t.value)
    query = "params.x < 0 order by value"
    header, *lines = call("find", query).stdout.splitlines()
    assert header == "study\tnumber\tstate\tvalue\tparams.x"
    assert [line.split("\t")[1] for line in lines] == [str(t.number) for t in below]
    assert call("find", query, "--count", "--study", "s").stdout == f"{len(below)}\n"
    rows = json.loads(call("find", f"{query} limit 1", "--to", "json").stdout)
    assert [row["params.x"] for row in rows] == [below[0].params["x"]]
    call("find", query, "--output", "below.csv")
    assert len(list(csv.DictReader((folder / "below.csv").open()))) == len(below)
    assert "no trials found" in call("find", "value > 1e9").stderr


def test_runs_studies_and_models_are_found_by_a_query(folder: Path) -> None:
    run("--tag", "team=a")
    assert len(call("find", "state = 'completed'", "--what", "runs").stdout.splitlines()) == 9
    header, line = call(
        "find", "tags.team = 'a' and trials = 8", "--what", "studies"
    ).stdout.splitlines()
    assert header.split("\t")[0] == "study"
    assert line.split("\t")[0] == "s"
    lines = call("find", "alias = 'champion'", "--what", "models").stdout.splitlines()
    assert [line.split("\t")[:2] for line in lines] == [["model", "version"], ["s", "1"]]


def test_the_error_of_a_query_shows_where(folder: Path) -> None:
    message, query, caret = call("find", "value < 3 order value", code=1).stderr.splitlines()
    assert message == "tuner: error: query: expected by after order, found value"
    assert query[caret.index("^") :] == "value"


def test_models_are_listed(folder: Path) -> None:
    assert "no models yet" in call("models").stderr
    run()
    header, line = call("models").stdout.splitlines()
    row = dict(zip(header.split("\t"), line.split("\t"), strict=True))
    assert (row["model"], row["version"], row["aliases"]) == ("s", "1", "champion")


def test_the_table_is_exported(folder: Path) -> None:
    run()
    rows = list(csv.DictReader(io.StringIO(call("export", "s").stdout)))
    assert len(rows) == 8
    assert float(rows[0]["x"]) == tuner.load_study("s").trials[0].params["x"]
    assert len(json.loads(call("export", "s", "--to", "json").stdout)) == 8
    call("export", "s", "--to", "csv", "--output", "s.csv")
    assert (folder / "s.csv").exists()


def test_a_store_is_upgraded(folder: Path) -> None:
    run()
    assert call("db", "upgrade").stdout == "the store is up to date\n"
