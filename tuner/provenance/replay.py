"""Replay a trial from its record; compare the results and the environment with the record."""

from __future__ import annotations

import math
import socket
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tuner.errors import ArgumentError
from tuner.errors.boundary import public
from tuner.errors.loading import end_loading
from tuner.provenance.capture import fingerprint
from tuner.provenance.compare import UNKNOWN, package_changes
from tuner.provenance.evaluation import Evaluation, evaluate, evaluate_apart
from tuner.provenance.workspace import Workspace, workspace
from tuner.records import REPLAY, Code, Environment, Job, Run, RunPurpose, State, StudyInfo
from tuner.tracking import open_store
from tuner.tracking.batch import Batch
from tuner.tracking.references import Subject, resolve
from tuner.tracking.uuid7 import uuid7

if TYPE_CHECKING:
    from tuner.tracking.store import Store


@dataclass(frozen=True, slots=True)
class Changed:
    """A recorded fact that differs in the replay."""

    fact: str
    recorded: str
    now: str

    def __str__(self) -> str:
        return f"{self.fact}: {self.recorded} then, {self.now} now"


@dataclass(frozen=True, slots=True, repr=False)
class Replay:
    """The result of a replay.

    Attributes
    ----------
    run : Run
        The recorded run of the replay.
    metrics : dict
        The recorded and the replayed value of each metric; None if missing.
    same : bool
        Whether all metrics agree and both runs ended in the same state.
    changes : tuple of Changed
        The recorded facts that differ in the replay, relevant or not.
    notes : tuple of str
        Parts of the recorded code that could not be restored, or were skipped.
    """

    study: str
    trial: int
    run: Run
    metrics: dict[str, tuple[float | None, float | None]]
    same: bool
    changes: tuple[Changed, ...] = ()
    notes: tuple[str, ...] = ()

    def __repr__(self) -> str:
        return f"<{self._title()}: {self._verdict()}>"

    def _repr_html_(self) -> str:
        from tuner.records.html import block, facts, table
        from tuner.records.numbers import distinct_texts

        rows = [
            dict(zip(("metric", "recorded", "now"), (name, *distinct_texts(pair)), strict=True))
            for name, pair in self.metrics.items()
        ]
        changes = table([{"": c.fact, "recorded": c.recorded, "now": c.now} for c in self.changes])
        notes = facts({f"note {i}": note for i, note in enumerate(self.notes, 1)})
        parts = (table(rows), changes if self.changes else "", notes)
        return block(self._title(), *parts, note=self._verdict())

    def _title(self) -> str:
        return f"Replay of {self.study}/{self.trial}"

    def _verdict(self) -> str:
        return "the metrics are the same" if self.same else "the metrics differ"


@public()
def replay(
    ref: str,
    *,
    store: str | Path | None = None,
    objective: Callable[..., Any] | str | None = None,
    repository: str | Path | None = None,
    data: Any = None,
    metrics: Sequence[str] = (),
    tolerance: float = 0.0,
) -> Replay:
    """Run a trial again and record a further run; the outcome of the trial does not change.

    Parameters
    ----------
    ref
        ``"study/17"``, or ``"study/17/2"`` to compare with its second run.
    store
        As for `optimize`.
    objective
        A function runs in this process; ``"script.py:function"`` runs in a new one. None runs the
        recorded objective in a new process: from its commit in a temporary worktree if the
        repository is available, else from its current file, else from its recorded source.
    repository
        A folder of the git repository; None uses the working directory.
    data
        The current data, to compare their fingerprint with the recorded one.
    metrics
        The metrics that must agree; empty for all metrics.
    tolerance
        The maximum difference of two values, relative to the larger one, in [0, 1).

    Raises
    ------
    ArgumentError
        If the trial does not exist or lacks an outcome, or the objective cannot be found.
    """
    end_loading("tuner.replay")
    if not 0.0 <= tolerance < 1.0:
        raise ArgumentError(f"tolerance={tolerance!r} must be at least 0 and below 1")
    opened = open_store(store)
    subject = resolve(ref, opened)
    trial, before = subject.trial, subject.run
    if subject.whole_study or trial is None:
        raise ArgumentError(f"replay {ref!r}: name a trial, such as '{subject.info.name}/0'")
    if not trial.state.finished or before is None:
        raise ArgumentError(f"replay {ref!r}: the trial is {trial.state} and has no outcome yet")
    if before.seed is not None:  # a repeat has its own seed
        trial = replace(trial, seed=before.seed)
    runs = list(opened.runs(subject.info.uid, trial.number))
    job = Job(uuid7(), trial, max(run.attempt for run in runs) + 1)
    stop_after = None
    if before.state is State.STOPPED:
        reports = opened.reports(subject.info.uid, trial.number)
        steps = [report.step for uid, report in reports if uid == before.uid]
        stop_after = max(steps, default=None)
    mark = "" if data is None else fingerprint(data)
    folder = Path.cwd() if repository is None else Path(repository)
    evaluation, notes = _evaluated(subject, job, objective, folder, stop_after)
    run = _record(opened, subject.info, job, evaluation, before.seed)
    recorded = before.metrics or trial.metrics
    pairs = _pairs(recorded, run.metrics, metrics)
    agree = all(_agree(a, b, tolerance) for a, b in pairs.values())
    return Replay(
        subject.info.name,
        trial.number,
        run,
        pairs,
        agree and run.state is before.state,
        tuple(_changes(subject, before, evaluation, run, mark)),
        notes,
    )


def _evaluated(
    subject: Subject,
    job: Job,
    objective: Callable[..., Any] | str | None,
    repository: Path,
    stop_after: int | None,
) -> tuple[Evaluation, tuple[str, ...]]:
    goals, constraints = subject.info.goals, subject.info.constraints
    if callable(objective):
        return evaluate(objective, job, goals, constraints, stop_after), ()
    if objective is not None:
        place = _named(objective)
        evaluation = evaluate_apart(place, job, goals, constraints, stop_after)
        return evaluation, tuple(evaluation.notes)
    with workspace(subject.code or Code(), repository) as place:
        evaluation = evaluate_apart(place, job, goals, constraints, stop_after)
        return evaluation, (*place.notes, *evaluation.notes)


def _named(spec: str) -> Workspace:
    """Return the workspace of ``script.py:function``."""
    file, colon, name = str(spec).rpartition(":")
    if not colon or not name or not Path(file).is_file():
        raise ArgumentError(f"objective {spec!r}: write SCRIPT.py:FUNCTION with an existing file")
    path = Path(file).resolve()
    return Workspace(path.parent, path, name)


def _record(
    store: Store, info: StudyInfo, job: Job, evaluation: Evaluation, seed: int | None
) -> Run:
    outcome = evaluation.outcome
    run = Run(
        uid=job.run,
        trial=job.trial.number,
        attempt=job.attempt,
        state=outcome.state,
        metrics=outcome.metrics,
        error=outcome.error,
        worker=REPLAY,
        purpose=RunPurpose.REPLAY,
        seed=seed,
        host=socket.gethostname(),
        started=evaluation.started,
        ended=evaluation.ended,
        output=evaluation.output,
        environment=store.put_environment(evaluation.environment),
        code=store.put_code(evaluation.code),
    )
    reports = [(run.uid, report) for report in evaluation.reports]
    store.write(info.uid, Batch(runs=[run], reports=reports))
    return run


def _pairs(
    recorded: Mapping[str, float], now: Mapping[str, float], wanted: Sequence[str]
) -> dict[str, tuple[float | None, float | None]]:
    names = wanted or sorted({*recorded, *now})
    missing = [name for name in names if name not in recorded and name not in now]
    if missing:
        raise ArgumentError(
            f"replay: neither run has the metric {missing[0]!r}; they have "
            f"{', '.join(sorted({*recorded, *now})) or 'none'}"
        )
    return {name: (recorded.get(name), now.get(name)) for name in names}


def _agree(a: float | None, b: float | None, tolerance: float) -> bool:
    if a is None or b is None:
        return False
    if math.isnan(a) or math.isnan(b):
        return math.isnan(a) and math.isnan(b)
    return a == b or math.isclose(a, b, rel_tol=tolerance)


def _changes(
    subject: Subject, before: Run, evaluation: Evaluation, run: Run, data: str
) -> list[Changed]:
    code, then = evaluation.code, subject.code or Code()
    facts = [
        ("commit", then.commit[:12], code.commit[:12]),
        ("uncommitted changes", _summary(then.diff), _summary(code.diff)),
        ("source of the objective", then.source_sha256[:12], code.source_sha256[:12]),
        ("host", before.host, run.host),
    ]
    if subject.info.data and data:
        facts.append(("data", subject.info.data, data))
    now, environment = evaluation.environment, subject.environment
    if environment is not None:
        facts += [
            ("python", environment.python, now.python),
            ("platform", environment.platform, now.platform),
            *_packages(environment, now),
        ]
    return [Changed(f, a or UNKNOWN, b or UNKNOWN) for f, a, b in facts if a != b]


def _packages(before: Environment, now: Environment) -> list[tuple[str, str, str]]:
    return [
        (f"package {name}", a or "not installed", b or "not installed")
        for name, (a, b) in package_changes(before.packages, now.packages).items()
    ]


def _summary(diff: str) -> str:
    """Summarize a diff: the first three changed files and a hash."""
    files = [line[6:] for line in diff.splitlines() if line.startswith("+++ b/")]
    changes = [line for line in diff.splitlines() if not line.startswith("# untracked")]
    if not changes:
        return "none"
    import hashlib

    mark = hashlib.sha256("\n".join(changes).encode("utf-8", "surrogatepass")).hexdigest()[:8]
    return f"{', '.join(files[:3]) or 'some'} ({mark})"
