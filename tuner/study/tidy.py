"""Delete, rename and archive studies of a store."""

from __future__ import annotations

from pathlib import Path

from tuner.errors.boundary import public
from tuner.study.arguments import renamed
from tuner.study.create import load_study


@public()
@renamed("name", "study")
def delete_study(study: str, *, store: str | Path | None = None) -> list[str]:
    """Delete a study with its trials, runs, metrics and artifacts.

    A registered model keeps its dependencies: its files, and its trial and run with their code and
    environment, so that `load_model` and `lineage` go on to work. To delete these too, delete the
    model with `delete_model`. The next garbage collection (``tuner gc``) frees the files of
    artifacts; ``tuner db compact`` gives the space of the database back to the disk.

    Parameters
    ----------
    study, store
        As for `load_study`.

    Returns
    -------
    list of str
        The model versions that keep their trial, such as ``["digits@1"]``.

    Raises
    ------
    StudyNotFound
        If the store has no study of that name.
    StudyBusy
        If a process runs the study.

    Examples
    --------
    >>> import tempfile, tuner
    >>> folder = tempfile.mkdtemp()
    >>> study = tuner.create_study({"x": tuner.Int(1, 9)}, study="s", store=folder)
    >>> tuner.delete_study("s", store=folder)
    []
    >>> tuner.list_studies(store=folder)
    []
    """
    return load_study(study, store=store).delete()


@public()
@renamed("name", "study")
def rename_study(study: str, to: str, *, store: str | Path | None = None) -> None:
    """Give a study another name; models that were registered under its former name keep theirs.

    Parameters
    ----------
    study, store
        As for `load_study`.
    to
        The new name.

    Raises
    ------
    StudyNotFound
        If the store has no study of that name.
    StudyExists
        If it has a study of the new name.
    StudyBusy
        If a process runs the study.
    """
    load_study(study, store=store).rename(to)


@public()
@renamed("name", "study")
def archive_study(study: str, *, store: str | Path | None = None) -> None:
    """Hide a study from `list_studies` and from `find`; nothing else of it changes.

    It can still be loaded and continued. `unarchive_study` shows it again.

    Parameters
    ----------
    study, store
        As for `load_study`.

    Raises
    ------
    StudyNotFound
        If the store has no study of that name.

    Examples
    --------
    >>> import tempfile, tuner
    >>> folder = tempfile.mkdtemp()
    >>> study = tuner.create_study({"x": tuner.Int(1, 9)}, study="s", store=folder)
    >>> tuner.archive_study("s", store=folder)
    >>> tuner.list_studies(store=folder)
    []
    >>> [info.name for info in tuner.list_studies(archived=True, store=folder)]
    ['s']
    """
    load_study(study, store=store).archive()


@public()
@renamed("name", "study")
def unarchive_study(study: str, *, store: str | Path | None = None) -> None:
    """Show an archived study again; see `archive_study`."""
    load_study(study, store=store).unarchive()
