"""Files of a package for people and for Docker: README.md, Dockerfile and .dockerignore."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence

from tuner.records import ModelVersion
from tuner.registry.card_text import escaped

_IN_IMAGE = ("manifest.json", "predict.py", "signature.json", "model", "src")
"""Files and folders of an image besides the lock file, if the package has them."""


def readme(version: ModelVersion, format: str, has_signature: bool, modules: Sequence[str]) -> str:
    """Return ``README.md``: how to use the package."""
    flag = " --allow-pickle" if format == "pickle" else ""
    tag = _tag(version)
    parts = [
        f"# {escaped(version.name)}, version {version.version}",
        "This folder holds a trained model, which predicts without tuner. "
        "[MODEL_CARD.md](MODEL_CARD.md) describes the model.",
        "## Predict",
        "    pip install -r requirements.lock\n"
        f"    python -m predict input.csv{flag}\n"
        f"    python -m predict input.parquet --output predictions.csv{flag}",
        "The input is a file of CSV with a header, of JSON lines or of Parquet, or `-` for "
        "standard input. The exit code is 0, or 1 after an error. "
        + (
            "The columns must match `signature.json`."
            if has_signature
            else "The model has no signature, so its library checks the columns."
        ),
        "In Python, from this folder:",
        "    from predict import load\n\n    predictions = load().predict(table)",
        "Before a file is parsed, its SHA-256 is compared with `manifest.json`. The command "
        "`python -m predict --verify` compares all files.",
    ]
    if format == "pickle":
        parts += [
            "**The model is a pickle: loading it runs whatever code is in it.** Load it only if "
            "you trust its author. It needs `--allow-pickle`, or the environment variable "
            "`MODEL_ALLOW_PICKLE=1`, and the modules of its classes."
        ]
    if modules:
        parts += [f"The model uses these modules in `src`: {', '.join(map(escaped, modules))}."]
    parts += [
        "## MLflow",
        "The folder is an MLflow model:",
        "    mlflow models predict -m . -i input.csv -t csv --env-manager local",
        "## Docker",
        f"    docker build -t {tag} .\n    docker run --rm -i {tag} < input.csv",
    ]
    return "\n\n".join(parts) + "\n"


def dockerfile(python: str, system: Sequence[str], files: Collection[str]) -> str:
    """Return a ``Dockerfile`` that builds an image whose command predicts."""
    installed = (
        "RUN apt-get update \\\n"
        f"    && apt-get install --yes --no-install-recommends {' '.join(system)} \\\n"
        "    && rm -rf /var/lib/apt/lists/*\n"
        if system
        else ""
    )
    copies = "".join(
        f"COPY {name} {'./' if name in files else f'{name}/'}\n" for name in _copied(files)
    )
    return (
        f"FROM python:{python}-slim\n"
        f"{installed}"
        "ENV PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1\n"
        "WORKDIR /app\n"
        "COPY requirements.lock ./\n"
        "RUN pip install --no-cache-dir -r requirements.lock\n"
        f"{copies}"
        "RUN useradd --uid 10001 --no-create-home app\n"
        "USER 10001\n"
        'ENTRYPOINT ["python", "-m", "predict"]\n'
        'CMD ["-"]\n'
    )


def dockerignore(files: Collection[str]) -> str:
    """Return a ``.dockerignore`` that admits the files that the Dockerfile copies."""
    return "\n".join(["*", "!requirements.lock", *(f"!{name}" for name in _copied(files))]) + "\n"


def _copied(files: Collection[str]) -> list[str]:
    """Return the files and folders at the top of a package that an image holds."""
    tops = {name.partition("/")[0] for name in files}
    return [name for name in _IN_IMAGE if name in tops]


def _tag(version: ModelVersion) -> str:
    """Return a name of an image; Docker takes lowercase letters, digits and single separators."""
    name = re.sub(r"[^a-z0-9]+", "-", version.name.lower()).strip("-") or "model"
    return f"{name}:{version.version}"
