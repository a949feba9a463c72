"""A transcript keeps the beginning and the end of the output of a run."""

from __future__ import annotations

import io
import sys
from contextlib import redirect_stdout

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tuner.engine.worker.output import captured
from tuner.engine.worker.transcript import Transcript


@given(st.lists(st.text(st.characters(exclude_characters="\r"), max_size=30)), st.integers(2, 60))
def test_a_transcript_is_the_text_with_its_middle_cut(pieces: list[str], limit: int) -> None:
    transcript = Transcript(limit)
    for piece in pieces:
        transcript.add(piece)
    text = "".join(pieces)
    if len(text) <= limit:
        assert str(transcript) == text
        return
    cut = len(text) - limit
    head = limit - limit // 2
    assert str(transcript) == (
        f"{text[:head]}\n[... {cut} characters cut ...]\n{text[head + cut :]}"
    )
    assert transcript.cut == cut


def test_printed_text_is_recorded_and_reaches_the_terminal() -> None:
    terminal = io.StringIO()
    with redirect_stdout(terminal), captured() as transcript:
        print("epoch", 1)
        print("careful", file=sys.stderr)
    assert terminal.getvalue() == "epoch 1\n"
    assert str(transcript) == "epoch 1\ncareful\n"


def test_streams_are_restored_after_an_exception() -> None:
    before = sys.stdout, sys.stderr
    with pytest.raises(KeyError), captured():
        raise KeyError
    assert (sys.stdout, sys.stderr) == before
