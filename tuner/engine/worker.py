"""What runs in a worker: the objective, with everything that can come of it turned to records."""

from __future__ import annotations

import os
import socket
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from types import TracebackType
from typing import Any

from tuner.backends.protocol import Channel
from tuner.credentials import hide
from tuner.engine.capture import captured
from tuner.engine.live import LiveTrial
from tuner.engine.monitor import monitored
from tuner.engine.results import BadResult, as_outcome
from tuner.engine.surroundings import given_back
from tuner.records import Begun, Failure, Goal, Job, Outcome, OutcomeConstraint, Output, State


@dataclass(frozen=True, slots=True)
class ObjectiveWork:
    """The `Work` of a study: calls `objective` and says what came of it.

    Parameters
    ----------
    objective
        The user's function of ``params`` or ``params, trial``.
    wants_trial
        Whether it takes the trial.
    goals
        The metrics it must return.
    constraints
        What its metrics must keep for the trial to be feasible.
    system_metrics
        Seconds between samples of what the run takes of its machine, None for none.
    """

    objective: Callable[..., Any]
    wants_trial: bool
    goals: Sequence[Goal]
    constraints: Sequence[OutcomeConstraint] = ()
    system_metrics: float | None = None

    def __call__(self, job: Job, channel: Channel) -> Outcome:
        """Run one job; every exception of the objective becomes a failed outcome."""
        channel.send(Begun(channel.worker, _hostname(), os.getpid(), time.time()))
        with monitored(channel, self.system_metrics) as along:
            trial = LiveTrial(job, self.goals, along)
            try:
                with captured() as transcript, given_back(trial.seed):
                    outcome = self._evaluate(trial)
            finally:
                trial.close()
        # Here as well as in the store: a worker may have secrets that the driver does not know.
        channel.send(Output(hide(str(transcript)), time.time()))
        return outcome

    def _evaluate(self, trial: LiveTrial) -> Outcome:
        try:
            args = (trial.params, trial) if self.wants_trial else (trial.params,)
            returned = self.objective(*args)
        except (Exception, SystemExit) as error:
            metrics = {**trial.reported, **trial.logged}
            return Outcome(State.FAILED, metrics, describe_failure(error))
        if trial.stopped:
            return self._stopped(trial, returned)
        return self._outcome(trial, returned)

    def _outcome(self, trial: LiveTrial, returned: Any) -> Outcome:
        return as_outcome(returned, self.goals, trial.logged, self.constraints, trial.constraints)

    def _stopped(self, trial: LiveTrial, returned: Any) -> Outcome:
        """Return the outcome of a trial that heeded `should_stop`: its last word counts."""
        outcome = self._outcome(trial, returned)
        metrics = {**trial.reported, **trial.logged}
        if outcome.state is State.COMPLETED:
            metrics |= outcome.metrics
        return Outcome(State.STOPPED, metrics, constraints=outcome.constraints)


@cache
def _hostname() -> str:
    """Return the name of this machine; asking for it once a trial can cost more than the trial."""
    return socket.gethostname()


def describe_failure(error: BaseException) -> Failure:
    """Return what is worth keeping of an exception: type, message, traceback, place."""
    if isinstance(error, BadResult):
        return error.failure
    try:
        message = str(error)
    except Exception as inner:
        message = f"<str() of the error raised {type(inner).__name__}>"
    trace = _past_this_file(error.__traceback__)
    lines = traceback.format_exception(type(error), error, trace)
    frames = traceback.extract_tb(trace)
    place = f"{frames[-1].filename}:{frames[-1].lineno}" if frames else ""
    return Failure(type(error).__name__, hide(message), hide("".join(lines)), place)


def _past_this_file(trace: TracebackType | None) -> TracebackType | None:
    """Leave out our own frame at the top, which tells a user nothing."""
    if trace is not None and trace.tb_frame.f_code.co_filename == __file__:
        return trace.tb_next or trace
    return trace
