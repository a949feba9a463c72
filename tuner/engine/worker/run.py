"""Run the objective in a worker and convert every result or exception to a record."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

from tuner.backends.protocol import Channel
from tuner.engine.clock import Stopwatch
from tuner.engine.objective import place_of
from tuner.engine.worker.forks import exit_forked_children
from tuner.engine.worker.loggers import LogSetup
from tuner.engine.worker.outcome import as_outcome, describe_failure, stopped_outcome
from tuner.engine.worker.output import captured
from tuner.engine.worker.process_state import restored
from tuner.engine.worker.stopping import is_stop
from tuner.engine.worker.system_metrics import monitored
from tuner.engine.worker.trial import LiveTrial
from tuner.errors import NOT_OUTCOMES
from tuner.errors.credentials import hide
from tuner.records import Begun, Goal, Job, Outcome, OutcomeConstraint, Output, State


@dataclass(frozen=True, slots=True)
class ObjectiveWork:
    """The `Work` of a study: calls `objective` and returns its outcome.

    Parameters
    ----------
    objective
        The user's function of ``params`` or ``params, trial``.
    wants_trial
        Whether it takes the trial.
    goals
        The metrics it must return.
    constraints
        Constraints that its metrics must satisfy for the trial to be feasible.
    system_metrics
        Seconds between samples of the run's resource use, None to disable sampling.
    log_setup
        The logging configuration of the script, None to leave that of the worker.
    """

    objective: Callable[..., Any]
    wants_trial: bool
    goals: Sequence[Goal]
    constraints: Sequence[OutcomeConstraint] = ()
    system_metrics: float | None = None
    log_setup: LogSetup | None = None

    def __call__(self, job: Job, channel: Channel) -> Outcome:
        """Run one job; every exception of the objective becomes a failed outcome.

        `KeyboardInterrupt` and the exceptions by which a backend ends a job pass through.
        """
        watch = Stopwatch()
        if self.log_setup is not None:
            self.log_setup.apply()
        channel.send(Begun(channel.worker, _hostname(), os.getpid(), watch.began))
        with monitored(channel, self.system_metrics) as monitored_channel:
            trial = LiveTrial(job, self.goals, monitored_channel)
            outcome, text = None, ""
            try:
                with captured() as transcript, restored(trial.seed):
                    outcome = self._evaluate(trial)
                text = str(transcript)
            except NOT_OUTCOMES:
                raise
            except BaseException as error:
                # Restoring the process failed because of the objective. Keep an existing outcome.
                failure = describe_failure(error)
                outcome = outcome or Outcome(State.FAILED, error=failure)
                text = failure.traceback
            finally:
                trial.close()
        # The store hides the driver's secrets; a worker may have others.
        channel.send(Output(hide(text), watch.now()))
        return outcome

    def _evaluate(self, trial: LiveTrial) -> Outcome:
        try:
            args = (trial.params, trial) if self.wants_trial else (trial.params,)
            with exit_forked_children():
                returned = self.objective(*args)
        except NOT_OUTCOMES:
            raise
        except BaseException as error:
            if trial.left or is_stop(error):
                return stopped_outcome(trial.side)
            side = trial.side
            return Outcome(State.FAILED, side.metrics, describe_failure(error), notes=side.notes)
        outcome = as_outcome(returned, self.goals, trial.side, self.constraints)
        if trial.stopped:
            return stopped_outcome(trial.side, outcome)
        return self._with_place(outcome)

    def _with_place(self, outcome: Outcome) -> Outcome:
        """Return the outcome; a failure without a place, as of a return value, gets one."""
        error = outcome.error
        if error is None or error.place:
            return outcome
        return replace(outcome, error=replace(error, place=place_of(self.objective)))


@cache
def _hostname() -> str:
    """Return the name of this machine; the lookup may take longer than a trial."""
    return socket.gethostname()
