"""Compare studies, trials, runs and model versions: params, metrics, code and packages."""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tuner.errors import ArgumentError
from tuner.errors.boundary import public
from tuner.provenance.capture import MAX_DIFF, git, is_commit
from tuner.records import Code, ModelVersion
from tuner.records.numbers import count_text, distinct_texts, moment_text
from tuner.registry.lineage import lineage
from tuner.tracking import open_store
from tuner.tracking.references import Subject, resolve

if TYPE_CHECKING:
    import pandas as pd

    from tuner.tracking.store import Store

UNKNOWN = "not recorded"

SHOWN_TEXT = 2_000
"""Characters of a differing text, such as an error, that a notebook shows."""

OPEN_ROWS = 15
"""Rows of a section up to which a notebook shows it unfolded."""


@dataclass(frozen=True, slots=True, repr=False)
class Comparison:
    """A table of two or more studies, trials, runs or model versions, with one column each.

    A notebook shows the rows whose values differ.

    Attributes
    ----------
    names : tuple of str
        The references of the columns.
    model, study, params, metrics, run, packages : dict
        Name to one value per column, None if missing. `model` contains the value of model versions
        with its estimate and interval; `study` the settings of the studies, including the
        fingerprint of their data; `run` the code, environment, seed and host.
    code : dict
        For each column except the first, the unified diff from the code of the first column.
    """

    names: tuple[str, ...]
    study: dict[str, tuple[Any, ...]] = field(default_factory=dict)
    params: dict[str, tuple[Any, ...]] = field(default_factory=dict)
    metrics: dict[str, tuple[Any, ...]] = field(default_factory=dict)
    run: dict[str, tuple[Any, ...]] = field(default_factory=dict)
    packages: dict[str, tuple[Any, ...]] = field(default_factory=dict)
    code: dict[str, str] = field(default_factory=dict)
    model: dict[str, tuple[Any, ...]] = field(default_factory=dict)

    @property
    def sections(self) -> dict[str, dict[str, tuple[Any, ...]]]:
        """The tables by name."""
        return {
            "model": self.model,
            "study": self.study,
            "params": self.params,
            "metrics": self.metrics,
            "run": self.run,
            "packages": self.packages,
        }

    def differing(self) -> Comparison:
        """Return a comparison with only the rows whose values differ."""
        return Comparison(
            self.names,
            **{name: _differing(table) for name, table in self.sections.items()},
            code={name: text for name, text in self.code.items() if text},
        )

    def dataframe(self) -> pd.DataFrame:
        """Return a DataFrame with the same columns and rows indexed by section and name."""
        import pandas as pd

        rows = {
            (section, name): values
            for section, table in self.sections.items()
            for name, values in table.items()
        }
        index = pd.MultiIndex.from_tuples(list(rows), names=["section", "name"])
        return pd.DataFrame(list(rows.values()), index=index, columns=list(self.names))

    def to_json(self) -> dict[str, Any]:
        """Return a JSON-compatible dict."""
        tables = {
            section: {name: list(values) for name, values in table.items()}
            for section, table in self.sections.items()
        }
        return {"names": list(self.names), **tables, "code": dict(self.code)}

    def __repr__(self) -> str:
        differ = [f"{n} {s}" for s, rows in self.differing().sections.items() if (n := len(rows))]
        differ += ["code"] if any(self.code.values()) else []
        return f"<Comparison of {', '.join(self.names)}: {', '.join(differ) or 'nothing'} differ>"

    def _repr_html_(self) -> str:
        from tuner.records.html import block, folded, preformatted, table

        different = self.differing()
        equal = sum(map(len, self.sections.values())) - sum(map(len, different.sections.values()))
        parts = []
        for section, rows in different.sections.items():
            content = table(different_rows(self.names, rows), width=SHOWN_TEXT)
            summary = f"{section} ({len(rows)})"
            if rows:
                parts.append(folded(summary, content, is_open=len(rows) <= OPEN_ROWS))
        for name, text in different.code.items():
            parts.append(folded(f"code of {name}", preformatted(text)))
        note = f"{count_text(equal, 'equal row')} not shown; .dataframe() has all rows"
        title = f"Differences of {', '.join(self.names)}" if parts else "Nothing differs"
        return block(title, *parts, note=note)


def different_rows(
    names: tuple[str, ...], rows: Mapping[str, tuple[Any, ...]], prefix: str = ""
) -> list[dict[str, str]]:
    """Return rows of a comparison as texts, in which different values look different."""
    table = []
    for name, values in rows.items():
        texts = distinct_texts(values)
        shown = ["-" if value is None else t for value, t in zip(values, texts, strict=True)]
        table.append({"": f"{prefix}{name}", **dict(zip(names, shown, strict=True))})
    return table


@public()
def compare(
    *refs: str, store: str | Path | None = None, repository: str | Path | None = None
) -> Comparison:
    """Compare studies, trials, runs or model versions.

    Parameters
    ----------
    refs
        Two or more references: ``"study"``, ``"study/17"`` or ``"study/17/2"``, or model versions,
        such as ``"model@champion"`` or ``"model@3"``. The column of a study contains its settings
        and its best trial, the column of a model version the run that it was registered from.
    store
        As for `optimize`.
    repository
        The git repository for the commits; None uses the working directory.

    Returns
    -------
    Comparison
        Tables of params, metrics, packages and other facts, and the diff of the code;
        ``.differing()`` omits what all columns have in common.

    Raises
    ------
    ArgumentError
        If fewer than two references are given, or a reference is invalid.
    StudyNotFound, ModelNotFound
        If a study or a model version does not exist.
    """
    if len(refs) < 2:
        raise ArgumentError(
            f"compare{refs!r}: needs at least two studies, trials, runs or model versions, such "
            f"as 'a/3' and 'b'"
        )
    names = _unique(refs)
    opened = open_store(store)
    sides, models = zip(*(_resolved(ref, opened) for ref in refs), strict=True)
    first = sides[0].code or Code()
    folder = Path.cwd() if repository is None else Path(repository)
    return Comparison(
        names,
        model=_table([_model_facts(version) for version in models]),
        study=_table([_study_facts(side, opened) for side in sides]),
        params=_table([side.params for side in sides]),
        metrics=_table([_metrics(side) for side in sides]),
        run=_table([_run_facts(side) for side in sides]),
        packages=_table([side.environment.packages if side.environment else {} for side in sides]),
        code={
            name: code_diff(first, side.code or Code(), (names[0], name), folder)
            for name, side in zip(names[1:], sides[1:], strict=True)
        },
    )


def _resolved(ref: str, store: Store) -> tuple[Subject, ModelVersion | None]:
    """Return the records of a reference, and the model version if it names one."""
    if not isinstance(ref, str) or "@" not in ref:
        return resolve(ref, store), None
    found = lineage(ref, store=store)
    return (
        Subject(ref, found.study, False, found.trial, found.run, found.code, found.environment),
        found.version,
    )


def _model_facts(version: ModelVersion | None) -> dict[str, Any]:
    if version is None:
        return {}
    facts: dict[str, Any] = {
        "version": version.version,
        "aliases": ", ".join(version.aliases) or None,
        "value": version.value,
        **{f"tag {name}": value for name, value in version.tags.items()},
        "note": version.note or None,
        "format": "params" if version.artifact is None else version.artifact.format,
        "registered": moment_text(version.created),
    }
    if version.artifact is not None:
        facts |= {"bytes": version.artifact.size, "sha256": version.artifact.sha256[:12]}
    if version.estimate is not None:
        for name in ("value", "low", "high", "noise", "source", "runs", "optimism", "chosen"):
            facts[f"estimate.{name}"] = getattr(version.estimate, name)
    return facts


def _unique(refs: tuple[str, ...]) -> tuple[str, ...]:
    """Return the references, with a number appended to duplicates."""
    seen: Counter[str] = Counter()
    names = []
    for ref in refs:
        seen[ref] += 1
        names.append(ref if seen[ref] == 1 else f"{ref} ({seen[ref]})")
    return tuple(names)


def _study_facts(side: Subject, store: Store) -> dict[str, Any]:
    info = side.info
    facts: dict[str, Any] = {
        "goal": ", ".join(map(str, info.goals)),
        "optimizer": info.optimizer.get("name"),
        "study seed": info.seed,
        "space": info.fingerprint[:12],
        "data": info.data or None,
        **{f"tag {name}": value for name, value in info.tags.items()},
    }
    if side.whole_study:
        states = Counter(trial.state.value for trial in store.trials(info.uid))
        facts |= {"trials": states.total()} | dict(sorted(states.items()))
        facts["best trial"] = None if side.trial is None else side.trial.number
    return facts


def _metrics(side: Subject) -> dict[str, Any]:
    if side.trial is None:
        return {}
    # A run that did not determine the outcome of the trial has separate metrics.
    return side.run.metrics if side.run and side.run.metrics else side.trial.metrics


def _run_facts(side: Subject) -> dict[str, Any]:
    trial, run = side.trial, side.run
    facts: dict[str, Any] = {}
    if trial is not None:
        facts |= {"state": (run or trial).state.value, "seed": trial.seed}
        facts["duration"] = trial.duration
        facts["error"] = None if trial.error is None else str(trial.error)
    if run is not None:
        if not run.is_attempt:
            facts["purpose"] = run.purpose.value
        if run.seed is not None:
            facts["seed"] = run.seed
        facts |= {"host": run.host or None, "worker": run.worker or None}
        if run.duration is not None:
            facts["duration"] = run.duration
    if side.code is not None:
        facts |= {
            "commit": side.code.commit or None,
            "objective": side.code.objective or None,
            "source": side.code.source_sha256[:12] or None,
        }
    if side.environment is not None:
        facts |= {"python": side.environment.python, "platform": side.environment.platform}
    return facts


def _table(columns: list[Mapping[str, Any]]) -> dict[str, tuple[Any, ...]]:
    names = dict.fromkeys(name for column in columns for name in column)
    return {name: tuple(column.get(name) for column in columns) for name in names}


def _differing(table: dict[str, tuple[Any, ...]]) -> dict[str, tuple[Any, ...]]:
    return {
        name: values
        for name, values in table.items()
        if any(value != values[0] or type(value) is not type(values[0]) for value in values)
    }


# --- differences between two records -------------------------------------------------------------


def package_changes(
    before: Mapping[str, str], after: Mapping[str, str]
) -> dict[str, tuple[str | None, str | None]]:
    """Return the packages with different versions and both versions; None if not installed.

    Examples
    --------
    >>> package_changes({"numpy": "2.0", "six": "1"}, {"numpy": "2.1", "six": "1"})
    {'numpy': ('2.0', '2.1')}
    """
    names = sorted({*before, *after}, key=str.lower)
    both = {name: (before.get(name), after.get(name)) for name in names}
    return {name: pair for name, pair in both.items() if pair[0] != pair[1]}


def unified(before: str, after: str, names: tuple[str, str]) -> str:
    """Return the unified diff of two texts; "" if they are equal."""
    lines = difflib.unified_diff(
        before.splitlines(), after.splitlines(), names[0], names[1], lineterm=""
    )
    return "\n".join(lines)


def code_diff(before: Code, after: Code, names: tuple[str, str], repository: Path) -> str:
    """Return the diff of the code of two runs; "" if they are equal.

    The diff consists of the git diff of the commits, if both are in `repository`, and the unified
    diffs of the uncommitted changes and of the source of the objective.
    """
    parts = []
    if before.commit != after.commit:
        parts.append(f"# commit {before.commit or UNKNOWN} and {after.commit or UNKNOWN}")
        if is_commit(before.commit) and is_commit(after.commit):
            parts.append(git(repository, "diff", "--no-color", before.commit, after.commit))
    parts.append(
        unified(before.diff, after.diff, (f"{names[0]} uncommitted", f"{names[1]} uncommitted"))
    )
    objectives = (f"{names[0]} {before.objective}", f"{names[1]} {after.objective}")
    parts.append(unified(before.source, after.source, objectives))
    text = "\n".join(part.rstrip("\n") for part in parts if part)
    return text if len(text) <= MAX_DIFF else f"{text[:MAX_DIFF]}\n# cut"
