"""Cluster commands: start a cluster, check it, submit a sweep, and follow its output."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import yaml

from tuner.cli.arguments import as_pair, load_objective
from tuner.cli.output import echo, echo_log, when, write_table
from tuner.errors import ArgumentError
from tuner.errors.credentials import hide

if TYPE_CHECKING:
    from tuner.cluster import ClusterReport, JobClient

address_option = click.option(
    "--address",
    metavar="URL",
    help="URL of the dashboard, such as http://HEAD:8265.  [default: $RAY_API_SERVER_ADDRESS, or "
    "this machine]",
)
token_option = click.option(
    "--token-file",
    type=click.Path(path_type=Path, dir_okay=False),
    help="File of the token.  [default: $RAY_AUTH_TOKEN_PATH, or ~/.ray/auth_token]",
)
block_option = click.option(
    "--block", is_flag=True, help="Run in the foreground; the node ends with this process."
)
working_dir_option = click.option(
    "--working-dir", metavar="FOLDER|URI", help="Folder that is copied to every node."
)
py_module_option = click.option(
    "--py-module",
    "py_modules",
    metavar="PATH",
    multiple=True,
    help="Further package or module to copy; repeatable.",
)
ray_option_words = click.argument("ray_options", nargs=-1, metavar="[-- RAY_OPTION...]")


@click.group()
def cluster() -> None:
    """Start, join or check a Ray cluster that requires a token."""


@cluster.command()
@click.option("--head", is_flag=True, help="Accepted as `ray start` does; always on.")
@click.option("--port", type=int, default=6379, help="Port for nodes to join.", show_default=True)
@click.option("--dashboard-host", default="127.0.0.1", show_default=True)
@click.option("--dashboard-port", type=int, default=8265, show_default=True)
@token_option
@block_option
@ray_option_words
def start(
    head: bool,  # noqa: ARG001 (accepted for compatibility)
    port: int,
    dashboard_host: str,
    dashboard_port: int,
    token_file: Path | None,
    block: bool,
    ray_options: tuple[str, ...],
) -> None:
    """Start the head of a cluster on this machine.

    Every client must present a token, which is created if it does not exist. Anyone who has the
    token can run code on the cluster. Arguments after `--` are passed to `ray start`.

    \b
    Example:
      tuner cluster start -- --num-cpus 8
    """  # noqa: D301 (click keeps the lines after a backspace as they are)
    from tuner.cluster import launch

    node, command, environment = launch.start_head(
        port=port,
        dashboard_host=dashboard_host,
        dashboard_port=dashboard_port,
        token=token_file,
        ray_options=ray_options,
    )
    if not block:
        launch.run_in_background(command, environment)
    echo(f"cluster:   {node.address}")
    echo(f"dashboard: {node.dashboard}")
    echo(f"token:     {node.token} ({'new' if node.new_token else 'existing'})")
    if node.exposed_token:
        echo(
            f"warning: other users could read {node.token} until now; to replace the token, stop "
            f"the cluster, delete the file and start the cluster again",
            err=True,
        )
    echo(f"on other machines, with a copy of the token: tuner cluster join {node.address}")
    if block:
        sys.stdout.flush()
        launch.become(command, environment)
    echo("to stop it: ray stop")


@cluster.command()
@click.argument("address", metavar="HEAD:PORT")
@token_option
@block_option
@ray_option_words
def join(address: str, token_file: Path | None, block: bool, ray_options: tuple[str, ...]) -> None:
    """Add this machine to a cluster as a node. It needs a copy of the head's token.

    Arguments after `--` are passed to `ray start`.
    """
    from tuner.cluster import launch

    command, environment = launch.join(address, token=token_file, ray_options=ray_options)
    if block:
        launch.become(command, environment)
    launch.run_in_background(command, environment)
    echo(f"joined {address}; to leave: ray stop")


@cluster.command()
@click.argument("address", metavar="HEAD:PORT|auto|http://HEAD:8265")
@click.option(
    "--objective",
    metavar="MODULE:FUNCTION|SCRIPT.py:FUNCTION",
    help="Function that every node must be able to import.",
)
@click.option(
    "--package",
    "packages",
    metavar="NAME",
    multiple=True,
    help="Package that every node must have in the local version; repeatable.",
)
@working_dir_option
@py_module_option
@click.option(
    "--timeout", type=float, default=60.0, help="Seconds to wait for each node.", show_default=True
)
@click.pass_context
def check(
    ctx: click.Context,
    /,
    address: str,
    objective: str | None,
    packages: tuple[str, ...],
    working_dir: str | None,
    py_modules: tuple[str, ...],
    timeout: float,
) -> None:
    """Show the nodes of a cluster, and check that a search would run there.

    The output has one line per node. If there is a problem, the exit code is 1 and standard error
    names the fix. From a machine outside the cluster, give the address of the dashboard: the check
    then runs as a job on the head.
    """
    if "://" in address and not address.startswith("ray://"):
        words = ["cluster", "check", "auto", "--timeout", f"{timeout:g}"]
        words += ["--objective", objective] if objective else []
        for package in packages:
            words += ["--package", package]
        ctx.exit(_check_as_job(address, words, working_dir, py_modules))
    from tuner.cluster import check as look

    spec: Any = objective
    if objective is not None and objective.rpartition(":")[0].endswith(".py"):
        spec = load_objective(objective)
    elif objective is not None and ":" not in objective:
        raise ArgumentError(f"--objective {objective}: write MODULE:FUNCTION")
    report = look(
        address,
        objective=spec,
        packages=packages,
        working_dir=working_dir,
        py_modules=py_modules or None,
        timeout=timeout,
    )
    _echo_report(report, objective)
    ctx.exit(0 if report.fine else 1)


def _check_as_job(
    address: str, words: Sequence[str], working_dir: str | None, py_modules: Sequence[str]
) -> int:
    from tuner.backends.ray.runtime_env import as_runtime_env
    from tuner.cluster import JobClient

    env = as_runtime_env(working_dir=working_dir, py_modules=py_modules or None, caller="check")
    client = JobClient(address)
    job = client.submit(shlex.join(["python", "-m", "tuner.cli", *words]), env)
    return client.follow(job, echo_log).exit_code


def _echo_report(report: ClusterReport, objective: str | None) -> None:
    nodes = report.nodes
    gigabytes = sum(node.memory for node in nodes) / 2**30
    echo(
        f"{len(nodes)} node{'s' * (len(nodes) != 1)}, {sum(n.cpus for n in nodes):g} CPUs, "
        f"{sum(n.gpus for n in nodes):g} GPUs, {gigabytes:.1f} GiB"
        + (f"; {report.gone} more are gone" if report.gone else "")
    )
    echo(f"local: Ray {report.ray}, Python {report.python}, tuner {report.tuner}")
    write_table(
        [
            {
                "node": f"{node.name} (head)" if node.head else node.name,
                "CPUs": f"{node.cpus:g}",
                "GPUs": f"{node.gpus:g}",
                "GiB": f"{node.memory / 2**30:.1f}",
                "Ray": node.ray,
                "Python": node.python,
                "tuner": node.tuner,
                **({"objective": _objective_text(node.problems)} if objective else {}),
                "state": "wrong" if node.problems else "ok",
            }
            for node in nodes
        ]
    )
    for node in nodes:
        for problem in node.problems:
            echo(f"{node.name}: {problem}", err=True)


def _objective_text(problems: Sequence[str]) -> str:
    return "fails" if any("the objective" in problem for problem in problems) else "imports"


@click.command()
@click.argument("script", metavar="SCRIPT.py")
@click.argument("arguments", nargs=-1, metavar="[-- ARGUMENT...]")
@address_option
@click.option(
    "--working-dir",
    metavar="FOLDER|URI",
    default=".",
    help="Folder with the script, copied to the cluster.  [default: the current folder]",
)
@py_module_option
@click.option(
    "--env",
    "variables",
    metavar="NAME=VALUE",
    multiple=True,
    help="Environment variable of the script and its workers; repeatable.",
)
@click.option(
    "--runtime-env",
    "runtime_env_file",
    type=click.Path(path_type=Path, dir_okay=False, exists=True),
    help="A .yaml file with further fields of Ray's runtime environment: pip, conda, ...",
)
@click.option(
    "--store",
    metavar="FOLDER|URL",
    help="Location of the store, as seen from the head.  [default: the database in $TUNER_STORE, "
    "or ~/.tuner on the head]",
)
@click.option("--python", default="python", help="Interpreter on the head.", show_default=True)
@click.option("--name", help="Name of the job.  [default: a generated name]")
@click.option("--no-wait", is_flag=True, help="Print the name of the job and exit.")
@click.pass_context
def submit(
    ctx: click.Context,
    /,
    script: str,
    arguments: tuple[str, ...],
    address: str | None,
    variables: tuple[str, ...],
    runtime_env_file: Path | None,
    name: str | None,
    no_wait: bool,
    **options: Any,
) -> None:
    """Run a script on a cluster, together with its folder, and show its output.

    The exit code is the script's. Ctrl-C stops following the output; the job continues.

    \b
    Examples:
      tuner submit sweep.py --address http://head:8265 -- --n-trials 200
      tuner submit sweep.py --store postgresql://tuner@db/tuner --no-wait
    """  # noqa: D301 (click keeps the lines after a backspace as they are)
    from tuner.cluster import JobClient, Sweep

    sweep = Sweep.of_script(
        script,
        arguments,
        env_vars=dict(map(as_pair, variables)),
        runtime_env=_read_mapping(runtime_env_file),
        **options,
    )
    client = JobClient(address)
    job = client.submit(sweep.entrypoint, sweep.runtime_env, name=name)
    if no_wait:
        echo(job)
        return
    echo(f"job {job} at {client.address}, store {sweep.place} as seen from there", err=True)
    ctx.exit(_listen(client, job))


@click.group()
def job() -> None:
    """Manage the jobs that `tuner submit` sent to a cluster."""


@job.command("list")
@address_option
def list_jobs(address: str | None) -> None:
    """List the jobs of a cluster, oldest first."""
    from tuner.cluster import JobClient

    rows = [
        row
        | {
            "started": None if row["started"] is None else when(row["started"]),
            "ended": None if row["ended"] is None else when(row["ended"]),
            "entrypoint": hide(row["entrypoint"]),
        }
        for row in JobClient(address).list()
    ]
    write_table(rows, nothing="no jobs yet")


@job.command()
@click.argument("name", metavar="JOB")
@address_option
@click.pass_context
def follow(ctx: click.Context, /, name: str, address: str | None) -> None:
    """Show the output of a job from its start to its end, and exit with the job's exit code."""
    from tuner.cluster import JobClient

    ctx.exit(_listen(JobClient(address), name))


@job.command()
@click.argument("name", metavar="JOB")
@address_option
def stop(name: str, address: str | None) -> None:
    """Stop a job. Finished work of its trials is kept."""
    from tuner.cluster import JobClient

    stopped = JobClient(address).stop(name)
    echo(f"{name} is being stopped" if stopped else f"{name} has already ended")


def _listen(client: JobClient, name: str) -> int:
    """Show the output of a job, and return its exit code."""
    try:
        end = client.follow(name, echo_log)
    except KeyboardInterrupt:
        echo(
            f"\nstopped following; job {name} continues\n"
            f"  to follow it: tuner job follow {name} --address {client.address}\n"
            f"  to stop it: tuner job stop {name} --address {client.address}",
            err=True,
        )
        return 130
    if end.exit_code:
        why, *_ = end.message.split(", last available logs")  # they were shown already
        echo(f"job {name} {end.status}: {' '.join(why.split())}", err=True)
    return end.exit_code


def _read_mapping(path: Path | None) -> Mapping[str, Any] | None:
    if path is None:
        return None
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ArgumentError(f"--runtime-env {path} cannot be read: {error}") from None
    if not isinstance(content, Mapping):
        raise ArgumentError(f"--runtime-env {path}: write a mapping, such as `pip: [lightgbm]`")
    return content
