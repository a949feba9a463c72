from __future__ import annotations

import os

os.environ.setdefault("KERAS_BACKEND", "torch")  # read when Keras is first imported
