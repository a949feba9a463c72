"""Model files of native formats with other contents, as their author can make them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from tuner.registry.native.manifest import FILE


def forged(folder: Path, contents: Mapping[str, bytes], **facts: Any) -> None:
    """Replace files of a saved model and facts of its manifest, with the right checksums."""
    described = json.loads((folder / FILE).read_text())
    for name, content in contents.items():
        (folder / name).write_bytes(content)
        described["sha256"][name] = hashlib.sha256(content).hexdigest()
    described.update(facts)
    (folder / FILE).write_text(json.dumps(described) + "\n")


def edited(content: bytes, edit: Callable[[Any], None]) -> bytes:
    """Return a JSON text after a change of its values."""
    values = json.loads(content)
    edit(values)
    return json.dumps(values).encode()


def double(data: Any) -> Any:
    """Predict twice the data."""
    return 2 * data


def halve(data: Any) -> Any:
    """Predict half of the data."""
    return data / 2
