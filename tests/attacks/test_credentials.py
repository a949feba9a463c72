"""Planted secrets never appear in files, output or errors of passing and failing runs."""

from __future__ import annotations

import base64
import json
import logging
import os
import pickle
import re
import subprocess
import sys
import traceback
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest
import sqlalchemy

import tuner
from benchmarks.postgres import Server, own_server
from support.effort import each_once
from tuner import Float, errors
from tuner.errors.credentials import hide, hide_in
from tuner.tracking import open_store
from tuner.tracking.database.location import locate

ROOT = Path(__file__).parents[2]

STORE, ARTIFACTS, PROXY = "st0re-Pl@nted/Pw", "art1facts/Planted+Key", "pr0xyPlanted"
ENVIRONMENT = {
    "PGPASSWORD": "pgPlanted-77",
    "AWS_SECRET_ACCESS_KEY": "aws/Planted+Secret0",
    "MLFLOW_TRACKING_PASSWORD": "mlfl0w Planted",
    "MLFLOW_TRACKING_URI": "http://me:tr4cking-Planted@127.0.0.1:9",
    "HTTPS_PROXY": f"http://proxy:{PROXY}@127.0.0.1:9",
    "MY_API_TOKEN": "t0kenPlanted",
}
SECRETS = [
    *(STORE, ARTIFACTS, PROXY, "tr4cking-Planted"),
    *(v for k, v in ENVIRONMENT.items() if "://" not in v),
]

SCRIPT = """
import os, sys
import tuner

space = {"x": tuner.Float(-1, 1)}
URL = "https://me:%s@example.org/repository.git"  # in the source, so in the record

def objective(params, trial):
    if os.environ.get("PRINT"):
        print(os.environ["TUNER_STORE"], os.environ)
        print("password=" + os.environ["PGPASSWORD"], file=sys.stderr)
    trial.log_metric("m", 1.0)
    if os.environ.get("LOG"):
        trial.log_artifact("train.py")
    if params["x"] < float(os.environ.get("BELOW", "-0.5")):
        try:
            raise OSError("refused: " + os.environ["AWS_SECRET_ACCESS_KEY"])
        except OSError as error:
            raise ValueError(repr(os.environ["TUNER_STORE"])) from error
    return params["x"]
"""


def forms(secret: str) -> set[bytes]:
    """Return how a secret may be written."""
    texts = {secret, quote(secret), quote(secret, safe=""), repr(secret)[1:-1]}
    plain = {text.encode() for text in texts}
    return plain | {base64.b64encode(secret.encode()).rstrip(b"=")}


def leaks(content: bytes) -> list[str]:
    return [s for s in SECRETS if any(form in content for form in forms(s))]


def files_below(folder: Path) -> Iterator[tuple[str, bytes]]:
    for path in folder.rglob("*"):
        if path.is_file() and not path.name.startswith("train."):  # nor its compiled form
            yield str(path), path.name.encode() + path.read_bytes()


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with own_server(in_memory=True) as own:
        yield own


def with_password(url: str) -> str:
    """Return a URL of a test server, which asks for no password, with one."""
    parsed = sqlalchemy.make_url(url)
    return parsed.set(password=STORE).render_as_string(hide_password=False)


def dump(url: str) -> bytes:
    engine = sqlalchemy.create_engine(sqlalchemy.make_url(url).set(drivername="postgresql+psycopg"))
    with engine.connect() as connection:
        names = sqlalchemy.inspect(connection).get_table_names()
        rows = [
            connection.execute(sqlalchemy.text(f'SELECT t::text FROM "{n}" t')).scalars().all()
            for n in names
        ]
    engine.dispose()
    return repr(rows).encode()


def tuner_command(folder: Path, *words: str, **variables: str) -> bytes:
    """Run a command with planted secrets and return all that it printed."""
    return python(folder, "-m", "tuner.cli", *words, **variables)


def python(folder: Path, *words: str, **variables: str) -> bytes:
    environment = {**os.environ, **ENVIRONMENT, "PYTHONPATH": str(ROOT), **variables}
    done = subprocess.run(
        [sys.executable, *words],
        cwd=folder, env=environment, capture_output=True, timeout=180, check=False,
    )  # fmt: skip
    output = done.stdout + done.stderr
    assert b"Traceback (most recent call last):\n  File" not in done.stderr, output.decode()
    return output


def every_view(folder: Path, **variables: str) -> bytes:
    """Return what every command prints about the study, and have it write every export."""
    commands = [
        ("show", "s"),
        ("show", "s", "--trial", "0"),
        ("studies",),
        ("find", ""),
        ("find", "", "--what", "runs", "--to", "json"),
        ("export", "s", "--output", "trials.csv"),
        ("export", "s", "--to", "json", "--output", "trials.json"),
        ("export", "s", "--what", "runs", "--output", "runs.csv"),
        ("export", "s", "--to", "tensorboard", "--output", "events"),
        ("export", "s", "--to", "dvc", "--output", "dvc"),
        ("report", "s"),
        ("models",),
        ("lineage", "s"),
        ("db", "check"),
        ("show", "nothing"),
    ]
    code = (
        "import json, sys\nfrom tuner.cli.commands import cli\n"
        "for words in json.loads(sys.argv[1]):\n"
        "    try: cli.main(words)\n"
        "    except SystemExit as end: print('EXIT', end.code, flush=True)\n"
    )
    output = python(folder, "-c", code, json.dumps(commands), **variables)
    assert output.count(b"EXIT 0") == len(commands) - 1, output.decode()
    return output


def run_words(*more: str) -> tuple[str, ...]:
    search = ("--backend", "serial", "--n-trials", "4", "--seed", "1", "--study", "s")
    return ("run", "train.py:objective", *search, *more)


@pytest.mark.parametrize(
    ("kind", "artifacts"),
    each_once(
        ["postgresql", "sqlite"],
        {"local": "", "s3": f"s3://key:{quote(ARTIFACTS, safe='')}@bucket/a"},
    ),
)
def test_no_written_file_contains_a_planted_secret(
    tmp_path: Path, server: Server, kind: str, artifacts: str
) -> None:
    (tmp_path / "train.py").write_text(SCRIPT % quote(STORE, safe=""))
    (tmp_path / "repository").mkdir()
    if kind == "sqlite":
        url = f"sqlite:///{tmp_path / 'store' / 'a.db'}?timeout=20&password={quote(STORE)}"
        plain = ""
    else:
        plain = server.new_database()
        url = with_password(plain)
    variables = {"TUNER_STORE": url}
    if artifacts:
        variables |= {"TUNER_ARTIFACTS": artifacts, "LOG": "1", "AWS_EC2_METADATA_DISABLED": "true"}
    printed = tuner_command(tmp_path, *run_words(), **variables)
    if not artifacts:
        # Output of the objective is recorded too; the terminal shows it unchanged.
        tuner_command(tmp_path, *run_words("--study", "p"), **variables, PRINT="1")
        assert b"best: value" in printed, printed.decode()
        # And all trials of a second study fail.
        printed += tuner_command(tmp_path, *run_words("--study", "f"), **variables, BELOW="9")
        printed += every_view(tmp_path, **variables)
    assert leaks(printed) == [], printed.decode()
    for name, content in files_below(tmp_path):
        assert leaks(content) == [], name
        for drawing in re.findall(rb"base64,([A-Za-z0-9+/=]+)", content):
            assert leaks(base64.b64decode(drawing)) == [], name
    if plain:
        recorded = dump(plain)
        assert b"st0re" not in recorded
        assert leaks(recorded) == []


UNREACHABLE = [
    "postgresql://me:{0}@127.0.0.1:1/x",
    "postgresql://127.0.0.1:1/x?user=me&password={0}",
    "postgresql://me@127.0.0.1:1/x?p%61ssword={0}",
    "postgresql://me@127.0.0.1:1/x?sslpassword={0}&sslmode=require",
    "postgresql://me@127.0.0.1:1/x?options=-c%20app.password%3D{0}",
    "postgresql://me:{0}@127.0.0.1:1/x?nonsense=1",
    "postgresql://me:{0}@127.0.0.1:port/x",
    "postgresql://me:{0}@127.0.0.1:99999999/x",
    "postgresql://me:{0}@[::1/x",
    " postgresql://me:{0}@127.0.0.1:1/x",
    "postgresql:/me:{0}@127.0.0.1:1/x",
    "postgresql//me:{0}@127.0.0.1:1/x",
    "postgres:me:{0}@127.0.0.1:1/x",
    "mysql://me:{0}@127.0.0.1:1/x",
    "s3://key:{0}@bucket/x",
    "https://host/x?token={0}",
    "https://host/x?X-Amz-Signature={0}",
    "https://{0}:x-oauth-basic@host/x",
]


@pytest.mark.parametrize(
    "secret", ["hunter2", "hun ter2", "it's-h%40nter2", "h/unter2", "h:unter2"]
)
@pytest.mark.parametrize("url", UNREACHABLE)
def test_no_message_contains_the_password_of_a_url(
    url: str, secret: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    store = url.format(secret)
    with pytest.raises(errors.TunerError) as caught:
        tuner.list_studies(store=store)
    told = "".join(traceback.format_exception(caught.value)) + repr(caught.value)
    told += repr(pickle.loads(pickle.dumps(caught.value)).args)
    assert secret not in told
    assert "***" in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_neither_a_store_nor_a_location_shows_a_password(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TUNER_ARTIFACTS", f"memory://key:{ARTIFACTS}@bucket")
    url = with_password(server.new_database())
    study = tuner.create_study({"x": Float(0, 1)}, study="s", store=url)
    shown = repr(study) + repr(study.store) + str(study.store) + repr(locate(url))
    assert leaks(shown.encode()) == []
    # The URL that connects still has it.
    assert quote(STORE, safe="") in study.store.url
    assert open_store(study.store.url).find_study("s") is not None


def test_a_pickled_study_has_the_password_and_hides_it_once_loaded(server: Server) -> None:
    url = with_password(server.new_database())
    content = pickle.dumps(tuner.create_study({"x": Float(0, 1)}, study="s", store=url))
    assert quote(STORE, safe="").encode() in content or STORE.encode() in content
    code = (
        "import sys, pickle; from tuner.errors.credentials import hide; "
        "study = pickle.load(sys.stdin.buffer); print(repr(study), repr(study.store)); "
        f"print(hide({STORE!r}))"
    )
    done = subprocess.run([sys.executable, "-c", code], input=content, capture_output=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(b"Study('s'")
    assert leaks(done.stdout + done.stderr) == []


def test_the_mirror_logs_no_password(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    import mlflow  # noqa: F401 (an extra that the tests must have)

    from tuner.integrations import MlflowMirror, import_mlflow

    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    uri = "http://me:tr4cking-Planted@127.0.0.1:9"
    study = tuner.optimize(
        lambda params: params["x"], {"x": Float(0, 1)}, n_trials=1, backend="serial",
        store=tmp_path, study="s", progress=False,
    )  # fmt: skip
    with caplog.at_level(logging.INFO):
        mirror = MlflowMirror(uri)
        mirror(study, study.trials[0])
        mirror.close(1.0)
        for attempt in (lambda: mirror.catch_up(study), lambda: import_mlflow(uri, "e")):
            with pytest.raises(errors.TunerError) as caught:
                attempt()
            assert leaks("".join(traceback.format_exception(caught.value)).encode()) == []
    ours = [r.getMessage() for r in caplog.records if r.name.startswith("tuner")]
    assert ours
    assert leaks(repr(ours).encode()) == []


def test_causes_of_errors_contain_no_credentials() -> None:
    class Odd(Exception):
        def __str__(self) -> str:
            return "dsn is postgresql://me:hunter2@host/x"

    error = errors.StoreError("away")
    error.__cause__ = ValueError("password=hunter2")
    error.__cause__.__cause__ = Odd()
    error.add_note("token=hunter2")
    hide_in(error)
    assert "hunter2" not in "".join(traceback.format_exception(error))
    assert "Odd: dsn is postgresql://me:***@host/x" in "".join(traceback.format_exception(error))


@pytest.mark.parametrize(
    "text",
    [
        "wrong password for user 'me', password authentication failed",
        "unexpected keyword argument 'token'",
        "n_tokens=5, max_depth=3, key=lambda x: x",
        "http://head:8265/models/name@champion",
        "ssh://git@github.com/a/b.git",
        "model@3, digits/17, a@b.example",
        "ratio 1:2 @ 3",
        "/data/s3/x:y@z",
        "store /home/me/.tuner/tuner.db cannot be written",
    ],
)
def test_text_without_credentials_is_unchanged(text: str) -> None:
    assert hide(text) == text


def test_hiding_is_idempotent() -> None:
    once = hide("postgresql://me:hunter2@h/x?token=abc password='x y' --secret z")
    assert hide(once) == once
    assert "hunter2" not in once
