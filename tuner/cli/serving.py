"""The command that serves a model."""

from __future__ import annotations

from pathlib import Path

import click

from tuner.cli.arguments import read_text, store_option
from tuner.cli.output import echo
from tuner.errors import ArgumentError


@click.command("serve")
@click.argument("ref", metavar="MODEL[@ALIAS|@VERSION]")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=8000,
    show_default=True,
    help="Port; 0 chooses a free one.",
)
@click.option(
    "--method",
    type=click.Choice(["predict", "predict_proba"]),
    default="predict",
    show_default=True,
    help="Method of the model that answers.",
)
@click.option(
    "--token",
    envvar="TUNER_SERVE_TOKEN",
    help="Token of requests; other users may see it on the command line.  "
    "[default: $TUNER_SERVE_TOKEN]",
)
@click.option(
    "--token-file", type=click.Path(path_type=Path, dir_okay=False), help="File with the token."
)
@click.option("--no-sample", is_flag=True, help="Keep no sample of rows and predictions.")
@click.option(
    "--max-bytes",
    type=click.IntRange(1),
    default=10_000_000,
    show_default=True,
    help="Size of a request above which it is refused.",
)
@click.option(
    "--poll",
    type=click.FloatRange(0, min_open=True),
    default=2.0,
    show_default=True,
    help="Seconds between two looks at the alias.",
)
@click.option("--threads", type=click.IntRange(1), help="Threads that predict.  [default: cores]")
@click.option("--allow-pickle", is_flag=True, help="Load a pickled model, which can run any code.")
@click.option("--trust", multiple=True, metavar="TYPE", help="A type to allow; repeatable.")
@store_option
def serve_model(
    ref: str,
    host: str,
    port: int,
    method: str,
    token: str | None,
    token_file: Path | None,
    no_sample: bool,
    max_bytes: int,
    poll: float,
    threads: int | None,
    allow_pickle: bool,
    trust: tuple[str, ...],
    store: str | None,
) -> None:
    """Serve a model by HTTP: /predict, /health, /model and /metrics.

    The server follows the alias. SIGTERM ends it after the requests that run.

    \b
    Examples:
      tuner models serve digits@champion
      TUNER_SERVE_TOKEN=... tuner models serve digits --host 0.0.0.0
    """  # noqa: D301 (click keeps the lines after a backspace as they are)
    from tuner.serving import serve

    if token_file is not None:
        if token is not None:
            raise ArgumentError("write --token, or --token-file, not both")
        token = read_text(token_file, "token").strip()
    serve(
        ref,
        store=store,
        host=host,
        port=port,
        token=token,
        started=lambda url: echo(f"serving {ref} at {url}"),
        method=method,
        sample=not no_sample,
        most_bytes=max_bytes,
        poll=poll,
        threads=threads,
        allow_pickle=allow_pickle,
        trusted=trust,
    )
