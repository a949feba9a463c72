"""Serving: a registered model behind HTTP."""

from tuner.serving.application import app
from tuner.serving.server import serve

__all__ = ["app", "serve"]
