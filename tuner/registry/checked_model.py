"""A loaded model whose inputs are checked by its signature."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tuner.signatures import Signature

CHECKED = frozenset(
    {
        "apply",
        "decision_function",
        "fit_predict",
        "kneighbors",
        "predict",
        "predict_log_proba",
        "predict_proba",
        "score",
        "score_samples",
        "staged_predict",
        "staged_predict_proba",
        "transform",
    }
)
"""Methods whose first argument is checked."""


class CheckedModel:
    """A model that checks the rows that it is given; all else is the model's own.

    Attributes
    ----------
    model : object
        The model itself.
    signature : Signature
        Its signature.
    """

    def __init__(self, model: Any, signature: Signature) -> None:
        self.model, self.signature = model, signature

    def __getattr__(self, name: str) -> Any:
        if name in ("model", "signature"):  # of a copy that is not filled yet
            raise AttributeError(name)
        found = getattr(self.model, name)
        return self._checked(found) if name in CHECKED and callable(found) else found

    def __call__(self, data: Any, *args: Any, **kwargs: Any) -> Any:
        """Call the model with checked rows."""
        return self._checked(self.model)(data, *args, **kwargs)

    def _checked(self, function: Callable[..., Any]) -> Callable[..., Any]:
        def call(data: Any, *args: Any, **kwargs: Any) -> Any:
            return function(self.signature.check_inputs(data), *args, **kwargs)

        return call

    def __dir__(self) -> list[str]:
        return sorted({*dir(self.model), "model", "signature"})

    def __repr__(self) -> str:
        return f"<checked {self.model!r}>"
