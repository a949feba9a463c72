"""The command ``tuner plot``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

import tuner
from tuner.cli.arguments import store_option
from tuner.cli.output import echo
from tuner.errors import ExportError
from tuner.plotting.plots import COMPARING, KINDS, OF_FRONTS


@click.command()
@click.argument("study")
@click.option(
    "--kind",
    "kinds",
    type=click.Choice(KINDS),
    multiple=True,
    help="Plot to draw; repeatable.  [default: all]",
)
@click.option(
    "--param",
    "params",
    metavar="PATH",
    multiple=True,
    help="Parameter of slice, parallel_coordinates, contour (two) or rank (two); repeatable.  "
    "[default: the most important]",
)
@click.option(
    "--goal", metavar="NAME|INDEX", help="Goal of the plots.  [default: the first one, 0]"
)
@click.option("--metric", metavar="NAME", help="Recorded metric to show in place of the goal.")
@click.option(
    "--with",
    "others",
    metavar="STUDY",
    multiple=True,
    help=f"Another study for the same plot: {', '.join(sorted(COMPARING))}; repeatable.",
)
@click.option(
    "--to",
    "folder",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path(),
    help="Folder of the files, created if missing.  [default: the current folder]",
)
@click.option("--format", "suffix", default="png", help="png, svg, pdf, ...", show_default=True)
@store_option
def plot(
    study: str,
    kinds: tuple[str, ...],
    params: tuple[str, ...],
    goal: str | None,
    metric: str | None,
    others: tuple[str, ...],
    folder: Path,
    suffix: str,
    store: str | None,
) -> None:
    """Draw the plots of a study into a folder; without --kind, those that have data."""
    from tuner.plotting.style import save_figure, shows_nothing

    loaded = tuner.load_study(study, store=store)
    compared = [tuner.load_study(name, store=store) for name in others]
    names = [one.metric for one in loaded.goals]
    fronts = len(names) > 1 and (metric is None or metric in names)
    every = [k for k in KINDS if (fronts or k not in OF_FRONTS) and (not others or k in COMPARING)]
    given = {"goal": _selector(loaded, goal), "metric": metric}
    asked = params if kinds else ()
    chosen = {name: given | _chosen_params(name, asked) for name in kinds or every}
    if others:
        chosen = {name: args | _compared(name, compared) for name, args in chosen.items()}
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ExportError(f"plot: cannot create the folder {folder}: {error.strerror}") from None
    for name, args in chosen.items():
        ax = getattr(loaded.plot, name)(**args)
        if shows_nothing(ax) and not kinds:
            echo(f"{name}: left out, as it has nothing to show", err=True)
            continue
        path = folder / f"{study}-{name.replace('_', '-')}.{suffix}"
        save_figure(ax, path)
        echo(path)


def _selector(study: tuner.Study, goal: str | None) -> int | str | None:
    """Return a goal's name or index."""
    if goal is None or goal in [one.metric for one in study.goals] or not goal.isdecimal():
        return goal
    return int(goal)


def _compared(kind: str, studies: list[tuner.Study]) -> dict[str, Any]:
    if kind not in COMPARING:
        raise click.UsageError(
            f"--kind {kind} shows one study; --with is for {', '.join(sorted(COMPARING))}"
        )
    return {"compare": studies}


def _chosen_params(kind: str, params: tuple[str, ...]) -> dict[str, Any]:
    """Return the arguments that name the parameters of a plot."""
    limits = {"slice": 1, "contour": 2, "rank": 2, "parallel_coordinates": len(params)}
    allowed = limits.get(kind, 0)
    if len(params) > allowed:
        raise click.UsageError(f"--kind {kind} takes --param {allowed} times at most")
    if kind in ("contour", "rank"):
        return dict(zip(("x", "y"), params, strict=False))
    if kind == "slice":
        return {"param": params[0]} if params else {}
    return {"params": list(params)} if params else {}
