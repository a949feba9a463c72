"""Run the objective of one trial once, in this process or in a new one, and return the outcome."""

from __future__ import annotations

import inspect
import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from tuner.engine.clock import Stopwatch
from tuner.engine.objective import wants_trial
from tuner.engine.worker.run import ObjectiveWork
from tuner.errors import ArgumentError
from tuner.provenance.capture import current_code, current_environment
from tuner.provenance.scripts import load_module, load_script, skipped_search
from tuner.provenance.workspace import Workspace
from tuner.records import (
    REPLAY,
    Code,
    Environment,
    Goal,
    Job,
    Message,
    Outcome,
    OutcomeConstraint,
    Output,
    Report,
)


@dataclass(slots=True)
class Evaluation:
    """The result of running a trial: outcome, reports, output, code and environment.

    `notes` list parts of the objective's file that did not run.
    """

    outcome: Outcome
    code: Code
    environment: Environment
    reports: list[Report] = field(default_factory=list)
    output: str = ""
    started: float = 0.0
    ended: float = 0.0
    notes: list[str] = field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        """Return a JSON-compatible dict."""
        return {
            "outcome": self.outcome.to_json(),
            "code": self.code.to_json(),
            "environment": self.environment.to_json(),
            "reports": [report.to_json() for report in self.reports],
            "output": self.output,
            "started": self.started,
            "ended": self.ended,
            "notes": self.notes,
        }

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Evaluation:
        """Create an evaluation from the result of `to_json`."""
        return cls(
            outcome=Outcome.from_json(data["outcome"]),
            code=Code.from_json(data["code"]),
            environment=Environment.from_json(data["environment"]),
            reports=[Report.from_json(report) for report in data["reports"]],
            output=data["output"],
            started=data["started"],
            ended=data["ended"],
            notes=data["notes"],
        )


class _ReplayChannel:
    """The channel of one job: stores its messages, and requests a stop after a given step."""

    worker = REPLAY

    def __init__(self, stop_after: int | None) -> None:
        self.messages: list[Message] = []
        self._stop_after = stop_after

    @property
    def reports(self) -> list[Report]:
        return [message for message in self.messages if isinstance(message, Report)]

    def send(self, message: Message) -> None:
        self.messages.append(message)

    def stop_requested(self) -> bool:
        after = self._stop_after
        return after is not None and any(report.step >= after for report in self.reports)


def evaluate(
    objective: Callable[..., Any],
    job: Job,
    goals: Sequence[Goal],
    constraints: Sequence[OutcomeConstraint],
    stop_after: int | None = None,
) -> Evaluation:
    """Run the objective once in this process; request a stop after the step `stop_after`."""
    channel = _ReplayChannel(stop_after)
    watch = Stopwatch()
    outcome = ObjectiveWork(objective, wants_trial(objective), goals, constraints)(job, channel)
    return Evaluation(
        outcome,
        current_code(objective),
        current_environment(),
        channel.reports,
        "".join(message.text for message in channel.messages if isinstance(message, Output)),
        watch.began,
        watch.now(),
    )


def evaluate_apart(
    place: Workspace,
    job: Job,
    goals: Sequence[Goal],
    constraints: Sequence[OutcomeConstraint],
    stop_after: int | None = None,
) -> Evaluation:
    """Run the objective of a workspace in a new Python process.

    The process runs in the working directory, which can contain data outside git, and prefers
    imports from the workspace.

    Raises
    ------
    ArgumentError
        If the file of the objective cannot be loaded, or its process dies.
    """
    task = {
        "folder": str(place.folder),
        "file": str(place.file),
        "name": place.name,
        "job": job.to_json(),
        "goals": [goal.to_json() for goal in goals],
        "constraints": [constraint.to_json() for constraint in constraints],
        "stop_after": stop_after,
    }
    with tempfile.TemporaryDirectory(prefix="tuner-replay-") as temp_dir:
        answer = Path(temp_dir, "answer.json")
        process = subprocess.run(
            [sys.executable, "-m", "tuner.provenance.evaluation"],
            input=json.dumps(task | {"answer": str(answer)}).encode(),
            # The output of the objective is recorded with the run; stdout is for the command.
            stdout=sys.stderr.fileno() if _is_real(sys.stderr) else subprocess.DEVNULL,
            check=False,
        )
        answered = answer.read_text(encoding="utf-8") if answer.exists() else ""
    if not answered:
        raise ArgumentError(
            f"replay: the process of trial {job.trial.number} ended with exit code "
            f"{process.returncode} before its objective did"
        )
    result = json.loads(answered)
    if "problem" in result:
        raise ArgumentError(
            f"replay: {result['problem']}; if the objective needs more than its file, pass it: "
            f"tuner.replay(..., objective=f)"
        )
    return Evaluation.from_json(result)


def _is_real(stream: Any) -> bool:
    try:
        stream.fileno()
    except (OSError, AttributeError, ValueError):
        return False
    return True


# --- the new process ------------------------------------------------------------------------------


def load(folder: Path, file: Path, name: str) -> tuple[Callable[..., Any], list[str]]:
    """Load a function from a file, as a module of its package if the file is in a package.

    Return it with notes on parts of the file that did not run.

    Raises
    ------
    ArgumentError
        If the file raises an exception or lacks the function.
    """
    root = file.parent
    parts = [] if file.stem == "__init__" else [file.stem]
    while (root / "__init__.py").is_file() and root != folder.parent:
        parts.insert(0, root.name)
        root = root.parent
    for path in (folder, root):
        sys.path.insert(0, str(path))
    note = ""
    try:
        module = load_module(".".join(parts)) if len(parts) > 1 else load_script(file)
        note = skipped_search(module)
        found: Any = module
        for part in name.split("."):
            found = _member(found, part)
        objective: Callable[..., Any] = found() if isinstance(found, type) else found
    except (Exception, SystemExit) as error:
        # A user's file can raise any exception.
        reason = f"{type(error).__name__}: {error}" + (f" ({note})" if note else "")
        raise ArgumentError(f"{file}:{name} cannot be loaded: {reason}") from error
    return objective, [note] if note else []


def _member(owner: Any, name: str) -> Any:
    """Return the attribute `name` of an owner; a method of a class is bound to a new instance."""
    if isinstance(owner, type) and inspect.isfunction(inspect.getattr_static(owner, name, None)):
        return getattr(owner(), name)
    return getattr(owner, name)


def main() -> None:
    """Run the task read from standard input and write its result to the answer file."""
    task = json.load(sys.stdin)
    result: dict[str, Any]
    try:
        objective, notes = load(Path(task["folder"]), Path(task["file"]), task["name"])
        goals = [Goal.from_json(goal) for goal in task["goals"]]
        constraints = [OutcomeConstraint.from_json(each) for each in task["constraints"]]
        job = Job.from_json(task["job"])
        evaluation = evaluate(objective, job, goals, constraints, task["stop_after"])
        result = replace(evaluation, notes=notes).to_json()
    except ArgumentError as error:
        result = {"problem": str(error)}
    answer = Path(task["answer"])
    answer.with_suffix(".new").write_text(json.dumps(result), encoding="utf-8")
    answer.with_suffix(".new").rename(answer)


if __name__ == "__main__":
    main()
