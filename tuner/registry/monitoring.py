"""The data of a model version: its profile, and the drift checks against it."""

from __future__ import annotations

import gzip
import io
import zlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from sqlalchemy import select

from tuner.errors import RegistryError
from tuner.errors.boundary import public_methods
from tuner.records import Artifact, Upload
from tuner.registry import history
from tuner.registry.aliases import Aliases, act_of
from tuner.registry.names import parse_reference
from tuner.tracking import rows, schema
from tuner.tracking.batch import Batch
from tuner.tracking.queries import PROFILE

if TYPE_CHECKING:
    from tuner.profiles import Profile
    from tuner.records import StudyInfo
    from tuner.registry.history import ModelEvent
    from tuner.tracking.store import Store

_FILE = "profile.json.gz"

DRIFT = "drift"
"""Action of the event of a drift check in the history of a model."""

LARGEST = 256 * 2**20
"""Largest size of an unpacked profile in bytes."""


@public_methods
class Monitoring(Aliases):
    """The part of a registry that keeps profiles and drift checks; see `Registry`."""

    def profile(self, ref: str) -> Profile | None:
        """Return the profile of the data of a version, None if it was registered without data.

        Raises
        ------
        ModelNotFound
            If the version does not exist.
        ChecksumMismatch
            If the stored profile was changed.
        """
        from tuner.profiles import Profile

        artifact = _recorded(self.store, self.get(ref).run)
        if artifact is None:
            return None
        files = self.store.read_artifact(artifact)
        return Profile.from_json(_unpacked(ref, files.get(_FILE, b"")))

    def last_drift(self, ref: str) -> ModelEvent | None:
        """Return the last drift check of a version, None if there was none.

        Raises
        ------
        ModelNotFound
            If the version does not exist.
        """
        version = self.get(ref)
        events = reversed(self.history(version.name))
        return next((e for e in events if (e.action, e.after) == (DRIFT, version.version)), None)

    def record_drift(
        self, ref: str, result: Mapping[str, Any], *, by: str | None = None, why: str = ""
    ) -> None:
        """Record the result of a drift check of a version in the history of its model.

        Parameters
        ----------
        ref
            The version.
        result
            The result, as JSON values.
        by, why
            The acting user, None for the user of this process, and the verdict.

        Raises
        ------
        ModelNotFound
            If the version does not exist.
        """
        act = act_of(DRIFT, by, why)
        with self._locked(parse_reference(ref)) as (model, version):
            history.append(model.connection, model.id, act, after=version.version, result=result)


def keep_profile(store: Store, study: StudyInfo, run: str, profile: Profile) -> None:
    """Store the profile of the data of a registered run, in place of an earlier one."""
    packed = gzip.compress(profile.to_json().encode(), 6, mtime=0)
    artifact = store.put_artifact(run, Upload(f"tuner.{PROFILE}", {_FILE: packed}, kind=PROFILE))
    store.write(study.uid, Batch(artifacts=[artifact]))


def _recorded(store: Store, run: str) -> Artifact | None:
    """Return the latest profile of a run."""
    artifacts, runs = schema.artifacts, schema.runs
    query = (
        select(artifacts, runs.c.uid.label("run"))
        .join(runs, runs.c.id == artifacts.c.run_id)
        .where(runs.c.uid == run, artifacts.c.kind == PROFILE)
        .order_by(artifacts.c.id.desc())
        .limit(1)
    )
    with store.reading() as connection:
        row = connection.execute(query).first()
    return None if row is None else rows.artifact_of(row)


def _unpacked(ref: str, packed: bytes) -> str:
    """Return the text of a packed profile.

    Raises
    ------
    RegistryError
        If it is damaged or larger than a profile can be.
    """
    try:
        with gzip.open(io.BytesIO(packed)) as file:
            text = file.read(LARGEST + 1)
        if len(text) <= LARGEST:
            return text.decode()
        reason = f"it unpacks to more than {LARGEST:,} bytes"
    except (OSError, EOFError, zlib.error, UnicodeDecodeError) as error:
        reason = str(error)
    raise RegistryError(
        f"model {ref!r}: its profile cannot be read ({reason}); register it again with data="
    )
