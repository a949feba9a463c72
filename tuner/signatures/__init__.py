"""Signatures: the columns, types and shapes that a model takes and gives."""

from tuner.signatures.signature import Field, Schema, Signature

__all__ = ["Field", "Schema", "Signature"]
