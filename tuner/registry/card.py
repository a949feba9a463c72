"""The model card: what a version is, how it was made, how good it is, and how to load it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tuner.errors.boundary import public
from tuner.errors.credentials import hide
from tuner.records import ModelVersion
from tuner.records.html import flat_params
from tuner.records.json_form import strict_json
from tuner.records.numbers import moment_text
from tuner.registry.card_text import markdown
from tuner.registry.formats import loading_text
from tuner.registry.history import ModelEvent
from tuner.registry.lineage import Lineage, lineage
from tuner.registry.registry import Registry
from tuner.tracking import open_store

if TYPE_CHECKING:
    from tuner.tracking.store import Store


@dataclass(frozen=True, slots=True, repr=False)
class ModelCard:
    """The record of a model version for readers; a notebook shows it.

    Attributes
    ----------
    title : str
        Name and version.
    description : str
        The description of the version.
    summary, quality, data, code, environment, lineage, file : dict
        Named facts. `quality` has the goal, the value, the estimate of the true value with its
        interval, and how much of the best observed value of the study is luck.
    metrics, params, tags, packages : dict
        Those of the version, of its trial and of its environment.
    signature : dict
        The inputs and outputs of the model in words; empty without a signature.
    history : tuple of dict
        The alias changes and approvals, oldest first.
    loading : str
        Python code that loads the model.
    """

    title: str
    description: str
    summary: dict[str, Any]
    quality: dict[str, Any]
    metrics: dict[str, Any]
    params: dict[str, Any]
    data: dict[str, Any]
    code: dict[str, Any]
    environment: dict[str, Any]
    packages: dict[str, str]
    lineage: dict[str, Any]
    tags: dict[str, str]
    signature: dict[str, str]
    history: tuple[dict[str, Any], ...]
    file: dict[str, Any]
    loading: str

    def to_json(self) -> dict[str, Any]:
        """Return JSON values; NaN is None, and infinities are texts. Credentials are hidden."""
        return {name: _hidden(strict_json(value)) for name, value in self._fields().items()}

    def to_markdown(self) -> str:
        """Return the card as Markdown, in which texts of users are escaped."""
        return markdown(self._fields())

    def _fields(self) -> dict[str, Any]:
        return {field.name: getattr(self, field.name) for field in fields(self)}

    def __repr__(self) -> str:
        return f"<ModelCard of {self.title}>"

    def _repr_markdown_(self) -> str:
        return self.to_markdown()


@public()
def model_card(ref: str, *, store: Store | str | Path | None = None) -> ModelCard:
    """Return the card of a model version, from its record.

    Parameters
    ----------
    ref, store
        As for `load_model`.

    Raises
    ------
    ModelNotFound
        If the version does not exist.

    Examples
    --------
    >>> import tempfile, tuner
    >>> study = tuner.optimize(
    ...     lambda params: params["x"], {"x": tuner.Int(1, 9)}, n_trials=2, backend="serial",
    ...     register="small", store=tempfile.mkdtemp(), progress=False, data=[1, 2],
    ... )
    >>> card = tuner.model_card("small", store=study.store)
    >>> print(card.to_markdown().splitlines()[0])
    # small, version 1
    """
    opened = open_store(store)
    found = lineage(ref, store=opened)
    events = Registry(opened).history(found.version.name)
    return _card(found, events, str(opened))


def _card(found: Lineage, events: Sequence[ModelEvent], store: str) -> ModelCard:
    version, study, trial, run = found.version, found.study, found.trial, found.run
    code, environment = found.code, found.environment
    return ModelCard(
        title=f"{version.name}, version {version.version}",
        description=version.description,
        summary=_present(
            model=version.name,
            version=version.version,
            aliases=", ".join(version.aliases),
            note=version.note,
            registered=moment_text(version.created),
            user=study.user,
        ),
        quality=_quality(version),
        metrics=dict(trial.metrics),
        params=flat_params(version.params),
        data=_present(fingerprint=version.data) or {"fingerprint": "not recorded"},
        code={}
        if code is None
        else _present(
            commit=code.commit,
            changes="uncommitted changes are recorded" if code.diff else "",
            objective=code.objective,
            source_sha256=code.source_sha256,
        ),
        environment={}
        if environment is None
        else {"python": environment.python, "platform": environment.platform},
        packages={} if environment is None else dict(environment.packages),
        lineage=_present(
            study=study.name,
            trial=trial.number,
            run=run.uid,
            seed=str(trial.seed if run.seed is None else run.seed),
            optimizer=study.optimizer.get("name"),
            host=run.host,
            started=None if run.started is None else moment_text(run.started),
            duration=run.duration,
        ),
        tags=dict(version.tags),
        signature={} if version.signature is None else version.signature.lines(),
        history=tuple(_event(event) for event in events if event.action != "rules"),
        file=_file(version),
        loading=_loading(version, store),
    )


def _present(**facts: Any) -> dict[str, Any]:
    """Return the facts that are known."""
    return {name: value for name, value in facts.items() if value not in (None, "")}


def _quality(version: ModelVersion) -> dict[str, Any]:
    facts: dict[str, Any] = {
        "metric": version.goal.metric,
        "direction": version.goal.direction.value,
        "value": version.value,
    }
    kept = version.estimate
    if kept is not None:
        facts |= {
            "estimate": kept.value,
            "low": kept.low,
            "high": kept.high,
            "runs": kept.runs,
            "noise": kept.noise,
            "noise source": kept.source or "unknown",
            "probability of being the best": kept.confidence,
            "luck": kept.optimism,
            "chosen by": "the estimate" if kept.chosen == "winner" else "the user",
        }
    return facts


def _event(event: ModelEvent) -> dict[str, Any]:
    return {
        "when": moment_text(event.at),
        "action": event.action,
        "alias": event.alias,
        "from": event.before,
        "to": event.after,
        "who": event.who,
        "why": event.why,
    }


def _file(version: ModelVersion) -> dict[str, Any]:
    kept = version.artifact
    if kept is None:
        return {"format": "params", "loading": "the params of the trial; no file"}
    return {
        "format": kept.format,
        "loading": loading_text(kept.format),
        "bytes": kept.size,
        "sha256": kept.sha256,
    }


def _loading(version: ModelVersion, store: str) -> str:
    reference = f"{version.name}@{version.version}"
    arguments = [repr(reference), f"store={store!r}"]
    if version.artifact is not None and version.artifact.format == "pickle":
        arguments.append("allow_pickle=True")
    name = "params" if version.artifact is None else "model"
    return f"import tuner\n\n{name} = tuner.load_model({', '.join(arguments)})"


def _hidden(value: Any) -> Any:
    """Return JSON values without the credentials in their texts."""
    if isinstance(value, Mapping):
        return {hide(str(name)): _hidden(each) for name, each in value.items()}
    if isinstance(value, list):
        return [_hidden(each) for each in value]
    return hide(value) if isinstance(value, str) else value
