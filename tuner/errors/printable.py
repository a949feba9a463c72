"""Text that is safe to show in a terminal or to write to a file."""

from __future__ import annotations

import unicodedata

_UNSAFE = {"Cc", "Cf", "Cs", "Zl", "Zp"}
"""Categories that steer a terminal or hide text: controls, formats, surrogates, line breaks."""

_HARMLESS = {"\u00ad", "\u200c", "\u200d"}
"""Format characters that words of some languages and emoji need: soft hyphen, (non-)joiners."""


def printable(text: str, keep: str = "") -> str:
    r"""Return `text` with the characters that steer a terminal as visible escapes.

    These are C0 and C1 controls (ESC, CSI, OSC among them), bidirectional overrides and isolates
    and other invisible format characters, line and paragraph separators, and lone surrogates.

    Parameters
    ----------
    text
        Any text.
    keep
        Control characters that stay, such as ``"\n\t"`` for a text of several lines.

    Examples
    --------
    >>> print(printable("a\x1b[31mb"), printable("x\u202ey"), printable("\udc80"))
    a\x1b[31mb x\u202ey \udc80
    """
    if text.isprintable():
        return text
    return "".join(
        c if c in keep or c in _HARMLESS or unicodedata.category(c) not in _UNSAFE else _escape(c)
        for c in text
    )


def one_line(text: str) -> str:
    r"""Return `text` as one line for a cell of a table: white space becomes single spaces.

    Examples
    --------
    >>> one_line("a\n  b\x07")
    'a b\\x07'
    """
    return printable(" ".join(text.split()))


def well_formed(text: str) -> str:
    r"""Return `text` with lone surrogates, which UTF-8 cannot encode, as visible escapes.

    Examples
    --------
    >>> well_formed("caf\udce9")
    'caf\\udce9'
    """
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-8", "backslashreplace").decode()
    return text


def _escape(character: str) -> str:
    code = ord(character)
    if code < 0x100:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
