"""Event files for TensorBoard and its HParams tab, written with tensorboardX's protocol messages.

The root of the folder holds the experiment: every parameter with its domain, and every metric.
Each trial is a session in a separate folder, together with its curves, so that the tab links a row
to its curves. tensorboardX's ``add_hparams`` would write an experiment for every session, without
domains, and the curves elsewhere.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tuner.errors import ExportError, MissingExtra
from tuner.errors.boundary import public
from tuner.errors.printable import well_formed
from tuner.records import Report, State, Trial
from tuner.records.attempts import reports_by_trial
from tuner.search_spaces import Bool, Domain, Float, Int

if TYPE_CHECKING:
    from tuner.study import Study

EVENTS = "events.out.tfevents.tuner"
"""The file of each folder; the fixed name lets a repeated export replace it."""

_EXPERIMENT = "_hparams_/experiment"
_START = "_hparams_/session_start_info"
_END = "_hparams_/session_end_info"


@public(files=ExportError)
def export_tensorboard(study: Study, folder: str | Path) -> Path:
    """Write a study as event files for ``tensorboard`` below `folder`, and return the folder.

    The files of an earlier export of the study are replaced.

    Parameters
    ----------
    study
        The study.
    folder
        The folder to pass to ``tensorboard --logdir``.

    Raises
    ------
    ExportError
        If the folder cannot be written.
    """
    root = Path(folder)
    trials = [t for t in study.trials if t.attempts]
    curves = reports_by_trial(study.runs(), study.reports())
    metrics = sorted(
        {name for t in trials for name in t.metrics}
        | {name for reports in curves.values() for r in reports for name in r.metrics}
    )
    try:
        for old in root.glob("trial-*"):
            if (old / EVENTS).is_file():
                shutil.rmtree(old)
        created = study.info.created
        _write(root / EVENTS, [(created, 0, _experiment(study, metrics))])
        digits = max(5, len(str(len(trials))))
        for trial in trials:
            file = root / f"trial-{trial.number:0{digits}d}" / EVENTS
            _write(file, _session(study, trial, curves.get(trial.number, ()), created))
    except OSError as error:
        raise ExportError(
            f"export: cannot write event files below {root}: {error.strerror or error}; "
            f"give a folder that you may write to"
        ) from error
    return root


def _session(
    study: Study, trial: Trial, reports: Iterable[Report], created: float
) -> Iterator[tuple[float, int, Any]]:
    """Yield the events of a trial: its params, its reports, and its end."""
    api, plugin, summary = _protocol()
    begun = created if trial.started is None else trial.started
    ended = begun if trial.ended is None else trial.ended
    start = plugin.SessionStartInfo(start_time_secs=begun, group_name=f"trial {trial.number}")
    for path, value in study.space.flatten(trial.params).items():
        _set_value(start.hparams[well_formed(path)], value)
    yield begun, 0, _plugin_summary(_START, session_start_info=start)
    last: dict[str, float] = {}
    following = 0
    for report in reports:
        following = max(following, report.step + 1)
        last.update(report.metrics)
        yield ended, report.step, _scalars(summary, report.metrics)
    final = {name: value for name, value in trial.metrics.items() if last.get(name) != value}
    if final:
        yield ended, following, _scalars(summary, final)
    status = {
        State.COMPLETED: api.STATUS_SUCCESS,
        State.STOPPED: api.STATUS_SUCCESS,
        State.FAILED: api.STATUS_FAILURE,
    }.get(trial.state, api.STATUS_RUNNING)
    if trial.state.finished:
        end = plugin.SessionEndInfo(status=status, end_time_secs=ended)
        yield ended, 0, _plugin_summary(_END, session_end_info=end)


def _experiment(study: Study, metrics: Iterable[str]) -> Any:
    api, _, _ = _protocol()
    experiment = api.Experiment(
        name=well_formed(study.name),
        description=well_formed(f"tuner study {study.name}"),
        time_created_secs=study.info.created,
        hparam_infos=[_hparam(c.path, c.domain) for c in study.space.columns],
        metric_infos=[
            api.MetricInfo(name=api.MetricName(tag=name), display_name=name)
            for name in map(well_formed, metrics)
        ],
    )
    return _plugin_summary(_EXPERIMENT, experiment=experiment)


def _hparam(path: str, domain: Domain) -> Any:
    """Return TensorBoard's description of a parameter: an interval, or a list of values."""
    api, _, _ = _protocol()
    path = well_formed(path)
    info = api.HParamInfo(name=path, display_name=path)
    if isinstance(domain, Float | Int):
        info.type = api.DATA_TYPE_FLOAT64
        info.domain_interval.min_value = float(domain.low)
        info.domain_interval.max_value = float(domain.high)
        return info
    options = domain.grid(int(domain.size))
    numbers = all(isinstance(o, int | float) and not isinstance(o, bool) for o in options)
    if isinstance(domain, Bool):
        info.type = api.DATA_TYPE_BOOL
    else:
        info.type = api.DATA_TYPE_FLOAT64 if numbers else api.DATA_TYPE_STRING
    for option in options:
        # TensorBoard requires all values of one parameter to have the same type.
        same_type = isinstance(domain, Bool) or numbers
        _set_value(info.domain_discrete.values.add(), option if same_type else str(option))
    return info


def _set_value(target: Any, value: Any) -> None:
    """Set a `google.protobuf.Value`, or an entry of a map of them."""
    if isinstance(value, bool):
        target.bool_value = value
    elif isinstance(value, int | float):
        target.number_value = float(value)
    else:
        target.string_value = well_formed(str(value))


def _scalars(summary: Any, metrics: Mapping[str, float]) -> Any:
    return summary.Summary(
        value=[
            summary.Summary.Value(tag=well_formed(name), simple_value=v)
            for name, v in metrics.items()
        ]
    )


def _plugin_summary(tag: str, **content: Any) -> Any:
    _, plugin, summary = _protocol()
    data = plugin.HParamsPluginData(version=0, **content)
    about = summary.SummaryMetadata.PluginData(
        plugin_name="hparams", content=data.SerializeToString()
    )
    metadata = summary.SummaryMetadata(plugin_data=about)
    return summary.Summary(value=[summary.Summary.Value(tag=tag, metadata=metadata)])


def _protocol() -> tuple[Any, Any, Any]:
    """Return the messages of TensorBoard's protocol.

    Raises
    ------
    MissingExtra
        If tensorboardX, which comes with Ray Tune, was removed.
    """
    try:
        from tensorboardX.proto import api_pb2, plugin_hparams_pb2, summary_pb2
    except ImportError as error:
        raise MissingExtra(
            "event files need tensorboardX; run: pip install tensorboardX"
        ) from error
    return api_pb2, plugin_hparams_pb2, summary_pb2


def _write(file: Path, events: Iterable[tuple[float, int, Any]]) -> None:
    """Write events, each with its time and step, to a new file."""
    from tensorboardX.proto.event_pb2 import Event
    from tensorboardX.record_writer import RecordWriter

    file.parent.mkdir(parents=True, exist_ok=True)
    file.unlink(missing_ok=True)
    writer = RecordWriter(str(file))
    try:
        first = None
        for seconds, step, summary in events:
            if first is None:
                first = Event(wall_time=seconds, file_version="brain.Event:2")
                writer.write(first.SerializeToString())
            event = Event(wall_time=seconds, step=step, summary=summary)
            writer.write(event.SerializeToString())
    finally:
        writer.close()
