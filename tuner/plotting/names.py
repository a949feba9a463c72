"""Short names of parameters, options and studies; names of one plot stay distinct."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence


def plain(text: str) -> str:
    """Escape a user's text for matplotlib: on one line, and without ``$`` formulas."""
    return "".join(c if c.isprintable() else " " for c in text).replace("$", r"\$")


def shorten(text: str, width: int) -> str:
    """Shorten a user's text to `width` characters by omitting its middle; escape it by `plain`.

    More of the end is kept, because the last part of a path is the most informative.

    >>> shorten("model.gradient_boosting.learning_rate", 20)
    'model.…learning_rate'
    """
    return plain(_cut(text, width))


def distinct(texts: Sequence[str], width: int) -> list[str]:
    """Shorten texts to about `width` characters; texts that differ remain different.

    Of texts that would look alike, the parts in which they differ are kept.

    >>> distinct(["distilbert-base-cased-english", "distilbert-base-uncased-english"], 12)
    ['…-base-cased-…', '…base-uncased…']
    """
    found = [_cut(text, width) for text in texts]
    longest = max(map(len, texts), default=0)
    while width <= longest:
        owners: dict[str, set[str]] = {}
        for short, text in zip(found, texts, strict=True):
            owners.setdefault(short, set()).add(text)
        if all(len(alike) == 1 for alike in owners.values()):
            break
        width += 2
        found = [
            short if len(owners[short]) == 1 else _difference(text, owners[short], width)
            for short, text in zip(found, texts, strict=True)
        ]
    return [plain(short) for short in found]


def path_names(paths: Sequence[str], width: int) -> list[str]:
    """Return a short, distinct name for each dotted path.

    A path that is too long loses its first parts, as far as the rest names no other path.

    >>> path_names(["lr", "model.gradient_boosting.max_depth", "model.forest.trees"], 12)
    ['lr', '…max_depth', '…trees']
    >>> path_names(["model.boosting_a.max_depth", "model.boosting_b.max_depth"], 12)
    ['…boosting_a.max_depth', '…boosting_b.max_depth']
    """
    endings = Counter(ending for path in set(paths) for ending in _endings(path))
    names = []
    for path in paths:
        name = path
        if len(path) > width:
            unique = (e for e in _endings(path) if endings[e] == 1)
            ending = next(unique, path)
            name = path if len(ending) + 1 >= len(path) else f"…{ending}"
        names.append(name)
    return distinct(names, max(width, 34))


def spread_labels(labels: Sequence[str], at_most: int, width: int) -> list[str]:
    """Shorten labels, which remain distinct; beyond `at_most`, blank all but every n-th."""
    every = max(1, -(-len(labels) // at_most))
    shown = distinct(labels[::every], width)
    return [shown[i // every] if i % every == 0 else "" for i in range(len(labels))]


def _cut(text: str, width: int) -> str:
    if len(text) <= width:
        return text
    head = max(1, (width - 1) // 3)
    return f"{text[:head]}…{text[len(text) - (width - 1 - head) :]}"


def _difference(text: str, alike: Iterable[str], width: int) -> str:
    """Return the part of `text` in which texts differ, with as much around it as fits."""
    texts = list(alike)
    before = _shared(texts)
    after = min(_shared([other[::-1] for other in texts]), min(map(len, texts)) - before)
    around = max(1, (width - 2 - (len(text) - before - after)) // 2)
    first, last = max(0, before - around), min(len(text), len(text) - after + around)
    core = _cut(text[first:last], width)
    return f"{'…' if first else ''}{core}{'…' if last < len(text) else ''}"


def _shared(texts: Sequence[str]) -> int:
    """Return the length of the longest common beginning."""
    same = 0
    for letters in zip(*texts, strict=False):
        if len(set(letters)) > 1:
            break
        same += 1
    return same


def _endings(path: str) -> list[str]:
    """Return the endings of a dotted path, shortest first."""
    parts = path.split(".")
    return [".".join(parts[-n:]) for n in range(1, len(parts) + 1)]
