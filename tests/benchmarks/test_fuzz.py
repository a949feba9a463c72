from __future__ import annotations

import sys

import pytest

from benchmarks import fuzz


@pytest.mark.slow
def test_malformed_input_is_accepted_or_refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["fuzz", "--minutes", "0.05", "--seed", "1"])
    assert fuzz.main() == 0
    assert '"failures": 0' in capsys.readouterr().out


def test_any_other_behavior_is_reported(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(text: str) -> None:
        raise KeyError(text)

    monkeypatch.setattr(fuzz, "parse_constraint", broken)
    monkeypatch.setattr(sys, "argv", ["fuzz", "--minutes", "0.05"])
    with pytest.raises(KeyError):
        fuzz.main()
    assert "constraint 0 (seed 0): KeyError" in capsys.readouterr().out
