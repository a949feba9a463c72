"""Profiles: the distribution of each column of a table, in a bounded form that can be stored."""

from __future__ import annotations

from tuner.profiles.profile import Column, Profile, Quality

__all__ = ["Column", "Profile", "Quality"]
