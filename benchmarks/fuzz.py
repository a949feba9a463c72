"""Fuzz queries, spaces, constraints and artifact paths with malformed input.

    python -m benchmarks.fuzz [--minutes 60] [--seed 0]

Inputs are valid ones that were cut, joined, repeated and mixed with special characters, or special
characters only. Each must be parsed or rejected by an error of `tuner.errors` within ten seconds. A
query must compile to SQL that does not depend on its string literals, and a path must stay below
its root. The first input that violates this is printed, and the exit status is 1.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from sqlalchemy.dialects import sqlite

from tuner.errors import TunerError
from tuner.errors.credentials import hide
from tuner.errors.printable import one_line, printable
from tuner.query.compiler import Compiler
from tuner.query.fields import subject
from tuner.query.parser import parse
from tuner.query.values import dialect_of
from tuner.records import Upload
from tuner.search_spaces import Choice, Float, Int, Ordinal, P, Space
from tuner.search_spaces.parsing import parse_constraint
from tuner.tracking import open_store
from tuner.tracking.database.location import locate

SLOW = 10.0
"""Seconds of CPU time that an input may take."""

QUERIES = [
    "metrics.accuracy > 0.95 and params.model == 'svm' or tags.team = 'x' order by value limit 20",
    "not (params.\"model.svm.C\" in (1, 2.5e-3, 'a') and state like 'comp%') order by number desc",
    "started > -7d and value is not null or notes.'x''y' != true limit 5 offset 10",
]
_SPACE = Space(
    {
        "rate": Float(1e-4, 1.0, log=True),
        "model": Choice(svm={"C": Float(0.1, 10.0)}, forest={"trees": Int(1, 9, step=2)}),
        "size": Ordinal("small", "large"),
        "n": Int(1, 100, log=True, default=3),
    }
).where(P("n") <= 50)
CONSTRAINTS = ["a * 2 <= b and not c in ['x', 'y']", "abs(model.svm.C) ** 2 // 3 > P('my-name')"]
PATHS = ["model/weights.bin", "../../etc/passwd", "/etc/passwd", "a/../../b", "C:\\x", "a\x00b", ""]
PLACES = [
    "postgresql://me:hunter2@host:5432/db?sslmode=require&password=hunter2&options=-c%20a%3Db",
    "sqlite:////tmp/folder/file.db?timeout=20&uri=true",
    "./folder/file#1?.db",
]
CHARACTERS = [
    *"'\"`;()[]{}<>=!%_*\\/.,:-+&|#@~?$ \n\t\x00\x1a\ud800é𝄞",
    *("--", "..", "/*"),
]


def mangled(pick: random.Random, texts: list[str]) -> str:
    """Return a text made of pieces of `texts` and of special characters."""
    pieces: list[str] = []
    for _ in range(pick.randint(1, 6)):
        text = pick.choice(texts)
        start, end = sorted(pick.choices(range(len(text) + 1), k=2))
        pieces.append(text[start:end] if pick.random() < 0.7 else text)
        if pick.random() < 0.6:
            pieces.append("".join(pick.choices(CHARACTERS, k=pick.randint(1, 4))))
        if pick.random() < 0.1:
            pieces[-1] *= pick.randint(2, 200)
    return "".join(pieces)


def query(pick: random.Random) -> str:
    """Compile a query, and check that its string literals become parameters."""
    text = mangled(pick, QUERIES)
    what = pick.choice(["trials", "runs", "studies", "models"])
    compiled(what, text)
    hostile = mangled(pick, QUERIES).replace("\x00", "").encode("utf-8", "ignore").decode()
    quoted = hostile.replace("'", "''")
    assert compiled("trials", f"study = '{quoted}'") == compiled("trials", "study = 'x'")
    return text


def compiled(what: str, text: str) -> str:
    """Return the SQL of a query."""
    written = dialect_of("sqlite")
    select = Compiler(text, subject(what, written), written, 0.0).select(parse(text))
    return str(select.compile(dialect=sqlite.dialect()))


def space(pick: random.Random) -> str:
    """Read a space from JSON or YAML; a valid space must survive a round trip."""
    json_text, yaml_text = _SPACE.to_json(), _SPACE.to_yaml()
    if pick.random() < 0.5:
        text = mangled(pick, [json_text])
        read = Space.from_json(text)
    else:
        text = mangled(pick, [yaml_text, "&a [*a]\n", "!!python/object/apply:os.system [x]\n"])
        read = Space.from_yaml(text)
    assert Space.from_json(read.to_json()) == read
    return text


def constraint(pick: random.Random) -> str:
    """Parse a constraint, which must not execute code."""
    text = mangled(pick, [*CONSTRAINTS, "__import__('os').system('x')", "(lambda: 0)()", "a.b[0]"])
    parse_constraint(text)
    return text


def artifact(pick: random.Random, root: Path) -> str:
    """Save a file under a random name and path."""
    name, path = mangled(pick, PATHS), mangled(pick, PATHS)
    store = open_store(root / "store")
    before = _outside(root)
    try:
        kept = store.put_artifact("0" * 32, Upload(name[:200], {path[:200]: b"content"}))
        assert store.read_artifact(kept) == {path[:200]: b"content"}
    finally:
        assert _outside(root) == before, "something was written outside of the store"
        store.close()
    return f"{name!r}: {path!r}"


def store_place(pick: random.Random) -> str:
    """Resolve a random store location."""
    return repr(locate(mangled(pick, PLACES)[:500]))


def shown(pick: random.Random) -> str:
    """Print a random text: control characters must be escaped; hiding credentials must not fail."""
    text = mangled(pick, [*PLACES, *QUERIES, "\x1b[31m", "password='x' token=y"])
    printed = one_line(text)
    assert printable(printed) == printed
    printed.encode()
    hide(text)
    return printed


def _outside(root: Path) -> list[str]:
    return sorted(p.name for p in root.iterdir() if p.name != "store")


def main() -> int:
    """Run as a command."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    understood, refused = Counter[str](), Counter[str]()
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        targets: dict[str, Callable[[random.Random], str]] = {
            "query": query,
            "space": space,
            "constraint": constraint,
            "artifact": lambda pick: artifact(pick, root),
            "store_place": store_place,
            "shown": shown,
        }
        deadline = time.monotonic() + 60.0 * given.minutes
        number = 0
        while time.monotonic() < deadline:
            for what, run in targets.items():
                pick = random.Random(f"{given.seed} {what} {number}")
                began = time.process_time()
                try:
                    run(pick)
                    understood[what] += 1
                except TunerError:
                    refused[what] += 1
                except Exception as error:
                    print(f"{what} {number} (seed {given.seed}): {type(error).__name__}: {error}")
                    raise
                if time.process_time() - began > SLOW:
                    print(f"{what} {number} (seed {given.seed}) took too long")
                    return 1
            number += 1
    for what in targets:
        print(f"{what:12s}{understood[what]:10d} understood{refused[what]:10d} refused")
    figures = {"understood": dict(understood), "refused": dict(refused)}
    print(json.dumps({"benchmark": "fuzz", "minutes": given.minutes, "failures": 0} | figures))
    return 0


if __name__ == "__main__":
    sys.exit(main())
