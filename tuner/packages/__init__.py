"""Packages: folders with a registered model that run alone, and that MLflow loads."""

from __future__ import annotations
