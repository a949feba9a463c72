"""The quality benchmark: its statistics, problems, stored results and peers."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
from scipy.stats import wilcoxon

from benchmarks.quality import aside, contestants, functions, models, results, statistics
from benchmarks.quality.peers import HERE, PEERS, PeerSpec
from benchmarks.quality.peers.process import Peer
from benchmarks.quality.problem import Problem
from benchmarks.quality.report import Table
from benchmarks.quality.results import Result, Results, run
from tuner.optimizers import RandomOptimizer
from tuner.records import Goal, Outcome, State, Trial
from tuner.search_spaces import Float, Space

QUICK_TO_JUDGE = aside.smooth_and_stepped() + aside.many_columns() + aside.mixed_and_conditional()
PROBLEMS = functions.problems() + models.recorded() + QUICK_TO_JUDGE
each_problem = pytest.mark.parametrize("problem", PROBLEMS, ids=lambda p: p.name)
BOWL = Problem("bowl", "bowls", Space({"x": Float(0, 1)}), lambda p: (p["x"] - 0.3) ** 2, 0.0)


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.setattr(results, "FOLDER", tmp_path)
    return tmp_path


@pytest.mark.soak
@pytest.mark.process
def test_concurrent_processes_create_one_environment(tmp_path):
    asks = (
        "from benchmarks.quality import environment; environment.REQUIREMENTS = {'e': ('pip',)};"
        "print(environment.interpreter('e'))"
    )
    around = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
    both = [
        subprocess.Popen(
            [sys.executable, "-c", asks],
            cwd=tmp_path,
            env=around,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        for _ in range(2)
    ]
    (python, other), said = zip(*(one.communicate(timeout=120) for one in both), strict=True)
    assert python == other
    assert subprocess.run([python.strip(), "-m", "pip", "--version"], check=False).returncode == 0
    assert sorted(said) == ["", "installing pip\n"]


class TestStatistics:
    def test_tied_ranks_are_averaged(self):
        regrets = np.array([[0.1, 0.2, 0.3], [0.2, 0.1, 0.1]])
        assert statistics.mean_ranks(regrets).tolist() == [2.0, 1.75, 2.25]

    def test_the_friedman_test_detects_a_difference(self):
        rng = np.random.default_rng(0)
        same = rng.random((30, 4))
        assert statistics.friedman(same) > 0.05
        assert statistics.friedman(same + np.array([0, 0, 0, 0.5])) < 1e-3

    def test_p_values_have_the_holm_correction(self):
        rng = np.random.default_rng(1)
        regrets = rng.random((20, 4)) + np.array([0.0, 0.3, 0.2, 0.02])
        found = statistics.against(regrets, 0)
        raw = sorted(
            wilcoxon((regrets[:, 0] - regrets[:, j]).round(9), alternative="less").pvalue
            for j in (1, 2, 3)
        )
        holm = np.minimum(np.maximum.accumulate(np.array(raw) * [3, 2, 1]), 1.0)
        assert np.isnan(found[0])
        np.testing.assert_allclose(sorted(found[1:]), holm)


class TestProblems:
    @each_problem
    def test_no_point_is_better_than_the_known_best(self, problem):
        points = problem.space.sample(np.random.default_rng(0), 400)
        losses = np.array([problem.loss(point) for point in points])
        assert np.isfinite(losses).all()
        assert losses.min() >= problem.known_best - 1e-9
        assert problem.normalised(np.array([problem.known_best]))[0] == 0.0
        assert np.median(problem.normalised(losses)) == pytest.approx(1.0, abs=0.35)

    def test_a_model_is_trained_once_for_each_point(self, monkeypatch, tmp_path):
        monkeypatch.setattr(models.Kept, "folder", tmp_path)
        trained = []
        for problem in aside.small_data():
            (point,) = problem.space.sample(np.random.default_rng(1), 1)
            kept = models.Kept(problem.name, lambda p: trained.append(p) or 0.5)
            assert kept(point) == kept(point) == 0.5
            assert trained[-1] == point
        assert len(trained) == 3
        models._kept.cache_clear()
        again = models.Kept(problem.name, lambda _: pytest.fail("it was trained again"))
        assert again(point) == 0.5

    @pytest.mark.slow
    def test_held_out_models_have_a_loss_at_every_point(self, monkeypatch, tmp_path):
        monkeypatch.setattr(models.Kept, "folder", tmp_path)
        for problem in aside.small_data():
            for point in problem.space.sample(np.random.default_rng(2), 5):
                assert problem.known_best < problem.loss(point) < 50.0

    def test_problem_names_are_unique(self):
        assert len({p.name for p in PROBLEMS}) == len(PROBLEMS)


class TestResults:
    def test_only_changed_contestants_run_again(self, monkeypatch):
        runs = []
        monkeypatch.setattr(results, "run", lambda *args: runs.append(args) or run(*args))
        first = Results("random").get(BOWL, 0, 10)
        assert Results("random").get(BOWL, 0, 8) == first
        assert Results("random").get(BOWL, 1, 8).seed == 1
        assert Results("random").has(BOWL, 1, 8)
        assert len(runs) == 2
        monkeypatch.setattr(results, "fingerprint", lambda _: "another")
        assert not Results("random").has(BOWL, 0, 8)

    def test_a_truncated_line_is_ignored(self):
        known = Results("random")
        known.get(BOWL, 0, 5)
        with known.path.open("a") as file:
            file.write('{"problem": "bo')
        assert Results("random").has(BOWL, 0, 5)

    def test_the_fingerprint_of_code_ignores_comments(self, monkeypatch, tmp_path):
        code = tmp_path / "a.py"
        code.write_text('"""Says."""\nx = 1  # one\n')
        other = tmp_path / "b.py"
        other.write_text("x = 1\n")
        assert contestants._meaning(code) == contestants._meaning(other)
        other.write_text("x = 2\n")
        assert contestants._meaning(code) != contestants._meaning(other)
        assert contestants.fingerprint("tpe") != contestants.fingerprint("bayesian")

    def test_one_worker_is_a_serial_search(self):
        result = run("tpe", BOWL, 3, 15)
        optimizer = contestants.resolve("tpe")
        optimizer.reset(BOWL.space, [Goal()], 3)
        for number in range(15):
            (params,) = optimizer.ask(1)
            assert BOWL.loss(params) == result.losses[number]
            optimizer.tell(
                Trial(number, params), Outcome(State.COMPLETED, {"value": BOWL.loss(params)})
            )

    def test_the_number_of_workers_is_the_number_of_pending_trials(self, monkeypatch):
        pending = []

        class Watching(RandomOptimizer):
            def ask(self, n, pending_trials=()):
                pending.append(len(pending_trials))
                return super().ask(n, pending_trials)

        monkeypatch.setattr(contestants, "resolve", lambda _: Watching())
        run("random", BOWL, 0, 20, workers=4)
        assert pending == [0, 1, 2] + [3] * 17

    def test_trials_are_chosen_by_observed_and_scored_by_true_values(self):
        result = Result("p", 0, 1, losses=[5.0, 1.0, 3.0], observed=[4.0, 6.0, 2.0])
        assert result.incumbents().tolist() == [5.0, 5.0, 3.0]


class TestPeers:
    columns: ClassVar = [
        {"name": "x", "kind": "float", "low": 0.0, "high": 1.0, "log": False, "parents": []},
        {"name": "k", "kind": "choice", "options": 2, "log": False, "parents": []},
        {"name": "n", "kind": "int", "low": 1, "high": 4, "log": False, "parents": [["k", 1]]},
    ]

    def start(self, peer):
        peer.start(columns=self.columns, goals=1, seed=0, n_trials=5, noisy=False)

    @pytest.mark.process
    def test_optuna_searches_in_a_separate_process(self):
        peer = Peer("optuna-tpe", python=sys.executable)
        self.start(peer)
        for _ in range(5):
            point, seconds = peer.ask()
            assert 0 <= point["x"] <= 1
            assert ("n" in point) == (point["k"] == 1)
            assert seconds > 0
            peer.tell(point["x"])
        assert peer.choose() is None  # Optuna only has its best value
        peer.close()

    @pytest.mark.process
    def test_a_peer_chooses_its_winner_by_its_own_rule(self, monkeypatch, tmp_path):
        script = tmp_path / "last.py"
        script.write_text(
            "import sys\n"
            f"sys.path.insert(0, {str(HERE)!r})\n"
            "from protocol import serve\n"
            "class Last:\n"
            "    told = 0\n"
            "    def __init__(self, task): pass\n"
            "    def ask(self): return {}\n"
            "    def tell(self, loss): self.told += 1\n"
            "    def choose(self): return self.told - 1\n"
            "serve(Last)\n"
        )
        monkeypatch.setitem(PEERS, "last", PeerSpec(str(script)))
        peer = Peer("last", python=sys.executable)
        peer.start(columns=[], goals=1, seed=0, n_trials=1, noisy=True)
        for _ in range(3):
            peer.ask()
            peer.tell(1.0)
        assert peer.choose() == 2
        peer.close()

    @pytest.mark.process
    def test_an_error_of_a_peer_process_is_reported(self, monkeypatch, tmp_path):
        (tmp_path / "dead.py").write_text("input()\nraise SystemExit('no such sampler')\n")
        monkeypatch.setitem(PEERS, "dead", PeerSpec(str(tmp_path / "dead.py")))
        peer = Peer("dead", python=sys.executable)
        peer.start(columns=[], goals=1, seed=0, n_trials=1, noisy=False)
        with pytest.raises(RuntimeError, match="no such sampler"):
            peer.ask()
        peer.close()

    def test_each_peer_has_a_script(self):
        assert all((HERE / spec.script).exists() for spec in PEERS.values())
        assert len({spec.fingerprint() for spec in PEERS.values()}) == len(PEERS)


class TestReport:
    @pytest.mark.slow
    def test_figures_compare_two_contestants(self):
        problems = [BOWL, *functions.problems()[:2]]
        for name in ("random", "tpe"):
            for problem in problems:
                for seed in (0, 1):
                    Results(name).get(problem, seed, 25)
        table = Table(problems, [0, 1], [25])
        for name in ("random", "tpe"):
            table.add(name, Results(name), 1)
        figures = table.figures()
        json.dumps(figures)
        assert figures["families"]["bowls"].keys() == {"random", "tpe"}
        text = table.text(each=True)
        assert "bowl" in text
        assert "tpe" in text

    def test_results_of_no_runs_are_empty(self):
        table = Table([BOWL], [0], [25])
        table.add("random", Results("random"), 1)
        assert isinstance(table.text(each=False), str)
