"""Parts of every HTML page: a template environment that escapes data, styles and images."""

from __future__ import annotations

import base64
import io
import warnings
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from jinja2 import Environment, StrictUndefined

from tuner.errors.credentials import hide
from tuner.errors.printable import printable
from tuner.plotting.importances import share_text
from tuner.records.numbers import count_text, moment_text, value_text

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def environment() -> Environment:
    """Return the environment of the templates of pages."""
    # Names of studies and parameters, and errors, are text, never markup.
    environment = Environment(autoescape=True, undefined=StrictUndefined, finalize=_safe)
    environment.filters |= {
        "number": lambda value: "" if value is None else value_text(value),
        "exact": lambda value: value_text(value, None),
        "share": share_text,
        "when": moment_text,
        "count": count_text,
        "hidden": hide,
    }
    return environment


@cache
def text_of(name: str, package: str = "tuner.reporting") -> str:
    """Return the text of a template, style or script of a package."""
    return files(package).joinpath(name).read_text(encoding="utf-8")


def _safe(value: Any) -> Any:
    """Return a recorded text without credentials, or characters that hide or reorder text."""
    if type(value) is not str:
        return value
    drawing = value.startswith("data:image/")
    return printable(value if drawing else hide(value), keep="\n\t")


class Trusted(str):
    """A style or script of the report, inserted into the page without escaping."""

    def __html__(self) -> str:
        return str(self)


def data_url(axes: Axes, *, vector: bool) -> str:
    """Return the figure of `axes` as the URL of an SVG drawing or a PNG image."""
    # An image, so that content of a drawing cannot run in the page.
    figure: Any = axes.get_figure(root=True)
    drawn = io.BytesIO()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from")  # a box is drawn for it
        figure.savefig(
            drawn,
            format="svg" if vector else "png",
            dpi=120,
            bbox_inches="tight",
            metadata={"Date": None} if vector else None,
        )
    kind = "svg+xml" if vector else "png"
    return f"data:image/{kind};base64,{base64.b64encode(drawn.getvalue()).decode()}"
