"""A layer of Keras for the tests of formats; imports Keras."""

from __future__ import annotations

from typing import Any

import keras


class Doubling(keras.layers.Layer):
    """A layer that doubles its input."""

    def call(self, inputs: Any) -> Any:
        return 2 * inputs
