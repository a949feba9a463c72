"""TensorBoard's own reader and HParams plugin on what we wrote."""

from __future__ import annotations

from pathlib import Path

import pytest
from tensorboard.backend.event_processing.data_provider import MultiplexerDataProvider
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.backend.event_processing.plugin_event_multiplexer import EventMultiplexer
from tensorboard.context import RequestContext
from tensorboard.plugins.base_plugin import TBContext
from tensorboard.plugins.hparams import api_pb2, backend_context
from tensorboard.plugins.hparams.get_experiment import Handler as Experiment
from tensorboard.plugins.hparams.list_session_groups import Handler as SessionGroups

import tuner
from tuner import Bool, Choice, Float, Int
from tuner.integrations import export_tensorboard
from tuner.records import State


def objective(params, trial) -> dict[str, float]:
    for step in range(4):
        trial.report(params["rate"] * step, step)
    if trial.number == 3:
        raise ValueError("no luck")
    return {"value": params["rate"] * 3, "size": 7.0}


@pytest.fixture
def study(tmp_path: Path) -> tuner.Study:
    return tuner.optimize(
        objective,
        {
            "rate": Float(1e-3, 1, log=True),
            "model": Choice(svm={"C": Int(1, 9)}, dummy={}),
            "flag": Bool(),
            "odd": Choice("a", 1, None),
        },
        study="digits",
        store=tmp_path / "store",
        n_trials=6,
        backend="serial",
        optimizer="random",
        progress=False,
        seed=1,
    )


def hparams_backend(folder: Path) -> backend_context.Context:
    multiplexer = EventMultiplexer().AddRunsFromDirectory(str(folder))
    multiplexer.Reload()
    provider = MultiplexerDataProvider(multiplexer, str(folder))
    return backend_context.Context(
        TBContext(data_provider=provider, multiplexer=multiplexer, logdir=str(folder))
    )


def test_the_hparams_tab_lists_domains_sessions_and_metrics(study, tmp_path: Path) -> None:
    folder = export_tensorboard(study, tmp_path / "logs")
    backend = hparams_backend(folder)
    experiment = Experiment(RequestContext(), backend, "", api_pb2.GetExperimentRequest()).run()
    assert experiment.name == "digits"
    infos = {info.name: info for info in experiment.hparam_infos}
    assert set(infos) == {"rate", "model", "model.svm.C", "flag", "odd"}
    assert infos["rate"].domain_interval.max_value == 1.0
    assert [v.string_value for v in infos["model"].domain_discrete.values] == ["svm", "dummy"]
    assert [v.string_value for v in infos["odd"].domain_discrete.values] == ["a", "1", "None"]
    assert {info.name.tag for info in experiment.metric_infos} == {"value", "size"}

    request = api_pb2.ListSessionGroupsRequest(
        start_index=0,
        slice_size=100,
        allowed_statuses=[api_pb2.STATUS_SUCCESS, api_pb2.STATUS_FAILURE],
        col_params=[api_pb2.ColParams(metric=api_pb2.MetricName(tag="value"))],
    )
    groups = SessionGroups(RequestContext(), backend, "", request).run().session_groups
    assert len(groups) == 6
    by_name = {group.name: group for group in groups}
    for trial in study.trials:
        group = by_name[f"trial {trial.number}"]
        [session] = group.sessions
        assert session.start_time_secs == pytest.approx(trial.started)
        assert group.hparams["rate"].number_value == trial.params["rate"]
        assert group.hparams["flag"].bool_value == trial.params["flag"]
        assert ("model.svm.C" in group.hparams) == (trial.params["model"][0] == "svm")
        done = trial.state is State.COMPLETED
        assert session.status == (api_pb2.STATUS_SUCCESS if done else api_pb2.STATUS_FAILURE)
        if done:
            [value] = [m for m in group.metric_values if m.name.tag == "value"]
            assert value.value == pytest.approx(trial.value, rel=1e-6)


def test_the_curves_are_in_the_folder_of_their_session(study, tmp_path: Path) -> None:
    folder = export_tensorboard(study, tmp_path / "logs")
    for trial in study.trials:
        reader = EventAccumulator(str(folder / f"trial-{trial.number:05d}"))
        reader.Reload()
        curve = [(e.step, e.value) for e in reader.Scalars("value")]
        expected = [(step, trial.params["rate"] * step) for step in range(4)]
        assert [s for s, _ in curve] == [s for s, _ in expected]
        assert [v for _, v in curve] == pytest.approx([v for _, v in expected], rel=1e-6)


def test_a_second_export_replaces_the_first(study, tmp_path: Path) -> None:
    folder = export_tensorboard(study, tmp_path / "logs")
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    (folder / "notes.txt").write_text("mine")
    export_tensorboard(study, folder)
    after = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    assert after == before | {folder / "notes.txt": b"mine"}
