"""Removal of credentials from messages, tracebacks, output and records.

A credential is found in two ways. By its place: the password of a URL, a query parameter such as
``token`` or ``X-Amz-Signature``, ``password=...`` of a connection string, a header. And by its
value: the secrets of the URLs that this process was given and of its environment variables are
hidden in any position and any encoding.
"""

from __future__ import annotations

import functools
import json
import os
import re
from collections.abc import Iterator
from contextlib import suppress
from typing import Any
from urllib.parse import quote, quote_plus, unquote, unquote_plus

from tuner.errors.variables import variables

HIDDEN = "***"
"""Stands for a credential, as in SQLAlchemy's URLs."""

SHORTEST = 6
"""Characters from which a known secret is hidden in any position; shorter ones would hide
parts of words, and are hidden by their place alone."""

_COMMON = {"postgres", "password", "secret", "default", "example", "changeme", "x-oauth-basic"}
"""Passwords that are words of many messages; hidden by their place alone."""

_NAME = (
    r"[\w.-]*(?:password|passwd|passphrase|secret)"
    r"|(?:[A-Za-z0-9]+[_.-])*(?:pass|pwd|pw|token|api[_-]?key|access[_-]?key|account[_-]?key"
    r"|secret[_-]?key|private[_-]?key|encryption[_-]?key|signature|sig|credentials?|auth|jwt"
    r"|authorization|sas)"
    r"|[\w.-]*(?:secret[_-]?access[_-]?key|access[_-]?key[_-]?id|accesstoken|authtoken)"
)
_NAMES = re.compile(f"(?:{_NAME})$", re.IGNORECASE)
_QUERY_NAMES = re.compile(f"(?:{_NAME}|key|code|se?cr|x-amz-credential)$", re.IGNORECASE)
_VARIABLES = re.compile(
    r"PASSWORD|PASSWD|PASSPHRASE|SECRET|CREDENTIAL|API_?KEY|ACCESS_?KEY|PRIVATE_?KEY"
    r"|TOKEN(?!S|IZ)|_KEY$|_PASS$|_PWD$|_PAT$|_SAS$",
    re.IGNORECASE,
)
_NOT_VARIABLES = re.compile(r"_(FILE|PATH|SOCK|DIR|MODE|TYPE|NAME)$", re.IGNORECASE)

_SCHEMES = (
    r"(?:postgres(?:ql)?|mysql|mariadb|sqlite|redis|mongodb|s3a?|gs|gcs|abfss?|az|sftp|ftps?)"
)
_URL = re.compile(
    # The second form is a URL with a slip in it: postgresql:/u:..., postgresql//u:...
    r"(?P<head>[A-Za-z][\w+.-]{0,30}://"
    rf"|(?<![\w/.+-]){_SCHEMES}(?:\+\w+)?(?!://)(?::/{{0,3}}|/{{1,3}}))"
    r"(?P<user>[^\s:/@'\"<>]{0,200}):(?P<password>[^\s'\"<>]{1,512})@"
)
_USER_ALONE = re.compile(r"(?P<head>[A-Za-z][\w+.-]{0,30}://)(?P<user>[^\s:/@'\"<>?#]{1,200})@")
_QUERY = re.compile(r"(?P<head>[?&;])(?P<name>[^\s=&;'\"<>]{1,100}+)=(?P<value>[^\s&;'\"<>]*)")
_PAIR = re.compile(r"(?<![\w.-])(?P<name>[\w.-]++)\s?=\s?")
_ITEM = re.compile(r"(?P<q>['\"])(?P<name>[\w.-]++)(?P=q)\s*:\s*(?=['\"])")
_OPTION = re.compile(r"(?<!\S)--(?P<name>[\w-]++)\s+(?!-)")
_VALUE = re.compile(r"'(?:[^'\\\n]|\\.)*'|\"(?:[^\"\\\n]|\\.)*\"|[^\s&;,'\")\]}]+")
_HEADER = re.compile(
    r"(?P<head>\bauthorization['\"]?\s*:\s*['\"]?(?:\w+\s+)?|\bbearer\s+)[\w.~+/=-]{6,}",
    re.IGNORECASE,
)
_TOKENS = re.compile(
    r"\b(?:gh[pousr]_\w{20,}|github_pat_\w{20,}|glpat-[\w-]{20,}|xox[abprs]-[\w-]{10,}"
    r"|hf_[A-Za-z0-9]{30,}|sk-[\w-]{20,}|AKIA[0-9A-Z]{16}|ASIA[0-9A-Z]{16}"
    r"|eyJ[\w-]{10,}\.[\w-]{10,}\.[\w-]*)"
)
_HINTS = ("pass", "pw", "secret", "token", "key", "sig", "cred", "auth", "jwt", "sas", "bearer")
"""Each name in `_NAME` and each header has one of these; a text without them is left quickly."""

_START = re.compile(r"(?:(?P<head>.*?)://|\s*[A-Za-z][\w+.-]*(?=.*@)(?::/?|//))", re.DOTALL)
"""The scheme of a URL; before an ``@`` also with a slash or the colon missing."""

_NOTHING = {"", HIDDEN, "None", "True", "False", "null", "none", "true", "false", "..."}

REMEMBERED = 64
"""Secrets of URLs that are known at a time, the latest ones."""

_remembered: dict[str, None] = {}


def hide(text: str) -> str:
    """Return `text` with every credential in it as ``***``.

    Examples
    --------
    >>> hide("postgresql://u:hunter2@h/db?sslpassword=x&connect_timeout=3")
    'postgresql://u:***@h/db?sslpassword=***&connect_timeout=3'
    """
    text = hide_exact(text)
    lowered = text.lower()
    if not any(hint in lowered for hint in _HINTS):
        return text
    if "=" in text:
        text = _hide_named(_PAIR, text)
    if "--" in text:
        text = _hide_named(_OPTION, text)
    if ":" in text:
        text = _hide_named(_ITEM, text)
    return _HEADER.sub(rf"\g<head>{HIDDEN}", text)


def hide_exact(text: str) -> str:
    """Return `text` without what surely is a credential; for source code, which has to stay whole.

    Left alone is ``password=value``, which in code is a call with a variable.
    """
    if not text:
        return text
    known = _pattern(frozenset(tuple(_remembered)) | _of_environment())
    if known is not None:
        text = known.sub(HIDDEN, text)
    if "@" in text:
        text = _URL.sub(_url, text)
        text = _USER_ALONE.sub(_user_alone, text)
    if "=" in text:
        text = _QUERY.sub(_query, text)
    return _TOKENS.sub(HIDDEN, text)


def hide_url(url: str) -> str:
    """Return a URL to be shown; unlike in running text, its password may have spaces and quotes."""
    remember(url)
    return hide(url)


def remember(url: str) -> None:
    """Hide the credentials of a URL from now on, in any position and any encoding."""
    for secret in _secrets_of(url):
        _remembered.pop(secret, None)
        _remembered[secret] = None
    while len(_remembered) > REMEMBERED:
        with suppress(KeyError, RuntimeError):  # another thread may do the same
            del _remembered[next(iter(_remembered))]


def hide_in(error: BaseException) -> None:
    """Hide credentials in an exception, its notes, and the exceptions that it came from.

    A cause that keeps its text elsewhere than in its arguments is replaced by one that says the
    same without the credential.
    """
    seen: set[int] = set()
    waiting = [error]
    while waiting:
        current = waiting.pop()
        if id(current) in seen:
            continue
        seen.add(id(current))
        _hide_arguments(current)
        for link in ("__cause__", "__context__"):
            inner = getattr(current, link)
            if inner is None:
                continue
            _hide_arguments(inner)
            if not _is_clean(inner):
                stand_in = Exception(f"{type(inner).__name__}: {hide(_text(inner))}")
                suppressed = current.__suppress_context__
                setattr(current, link, stand_in)
                current.__suppress_context__ = suppressed
                continue
            waiting.append(inner)
        if isinstance(current, BaseExceptionGroup):
            waiting += current.exceptions


def _hide_arguments(error: BaseException) -> None:
    hidden = tuple(hide(a) if isinstance(a, str) else a for a in error.args)
    if hidden != error.args:
        error.args = hidden
    for name in ("filename", "filename2"):
        if isinstance(error, OSError) and isinstance(getattr(error, name), str):
            setattr(error, name, hide(getattr(error, name)))
    notes = getattr(error, "__notes__", None)
    if isinstance(notes, list):
        notes[:] = [hide(note) if isinstance(note, str) else note for note in notes]


def _is_clean(error: BaseException) -> bool:
    return hide(text := _text(error)) == text


def _text(error: BaseException) -> str:
    try:
        return str(error)
    except Exception:  # an exception of somebody else's may have any `__str__`
        return ""


# --- by place -------------------------------------------------------------------------------------


def _url(match: re.Match[str]) -> str:
    head, user, password = match["head"], match["user"], match["password"]
    port = re.match(r"\d{1,5}(?=[/?#,])", password)
    if port and head.lower().startswith(("http", "ray")):
        # No password: the @ is one of the path.
        rest = f"{password[port.end() :]}@"
        return f"{head}{user}:{port[0]}{_URL.sub(_url, rest)}"
    shown = HIDDEN if _looks_secret(user) or password == "x-oauth-basic" else user
    return f"{head}{shown}:{HIDDEN}@"


def _user_alone(match: re.Match[str]) -> str:
    user = match["user"]
    web = match["head"].lower().startswith(("http", "git+http"))
    secret = user not in ("git", HIDDEN) and (web or _looks_secret(user))
    return f"{match['head']}{HIDDEN if secret else user}@"


def _looks_secret(user: str) -> bool:
    return len(user) >= 20 and any(c.isdigit() for c in user)


def _query(match: re.Match[str]) -> str:
    name, value = unquote_plus(match["name"]), match["value"]
    inner = unquote_plus(value)
    if _QUERY_NAMES.match(name):
        secret = value not in _NOTHING
    else:
        secret = inner != value and "=" in inner and _hide_named(_PAIR, inner) != inner
    return f"{match['head']}{match['name']}={HIDDEN if secret else value}"


def _hide_named(heads: re.Pattern[str], text: str) -> str:
    """Hide each value that follows the name of a secret; its quotes stay."""
    pieces: list[str] = []
    place = 0
    while head := heads.search(text, place):
        value = _VALUE.match(text, head.end()) if _NAMES.match(head["name"]) else None
        pieces.append(text[place : head.end()])
        place = head.end()
        if value is not None and value[0].strip("'\"") not in _NOTHING:
            mark = value[0][0] if value[0][0] in "'\"" else ""
            pieces.append(f"{mark}{HIDDEN}{mark}")
            place = value.end()
    return "".join(pieces) + text[place:]


# --- by value -------------------------------------------------------------------------------------


def _secrets_of(url: str) -> Iterator[str]:
    """Yield the secrets of a URL as they are written there, also of one that cannot be parsed."""
    parts = _START.match(url)
    if parts is None:
        return
    head, rest = parts["head"] or "", url[parts.end() :]
    # The password may hold any of "/@?": what SQLAlchemy, urllib and a person take it for.
    authority = re.split(r"[/?#]", rest, maxsplit=1)[0]
    found: list[str] = []
    for part in (authority, rest[: rest.find("@") + 1], rest.partition("?")[0], rest):
        userinfo, at, _ = part.rpartition("@")
        user, colon, password = userinfo.partition(":")
        if not at:
            continue
        if colon and not re.match(r"\d{1,5}/", password):
            found.append(password)
        if _looks_secret(user) or password == "x-oauth-basic":
            found.append(user)
    public = {head, *re.split(r"[:/?&=@]", rest.rpartition("@")[2]), rest.partition(":")[0]}
    for secret in found:
        if secret not in public or rest.startswith(f"{secret}:x-oauth-basic@"):
            yield secret
    for match in _QUERY.finditer(url.replace("#", "?")):
        if _QUERY_NAMES.match(unquote_plus(match["name"])):
            yield match["value"]


_seen: tuple[dict[Any, Any], frozenset[str]] = ({}, frozenset())
"""The environment variables when they were last read, and their secrets."""


def _of_environment() -> frozenset[str]:
    global _seen
    now = variables()
    before, secrets = _seen
    if now != before:
        found = (_of_variable(name, value) for name, value in os.environ.items())
        secrets = frozenset(secret for each in found for secret in each)
        _seen = now, secrets
    return secrets


@functools.lru_cache(maxsize=1024)
def _of_variable(name: str, value: str) -> tuple[str, ...]:
    if "://" in value:
        return tuple(_secrets_of(value))
    is_file = value.startswith("/") and os.path.exists(value)
    named = _VARIABLES.search(name) and not _NOT_VARIABLES.search(name)
    return (value,) if named and not is_file else ()


@functools.lru_cache(maxsize=64)
def _pattern(secrets: frozenset[str]) -> re.Pattern[str] | None:
    """Return what matches any of the secrets, as written, decoded, or encoded in another way."""
    forms: set[str] = set()
    for secret in secrets:
        for plain in {secret, unquote(secret), unquote_plus(secret)}:
            if len(plain) < SHORTEST or plain.lower() in _COMMON:
                continue
            # An environment variable may contain bytes that are not valid text.
            encode = functools.partial(quote, errors="surrogatepass")
            plus = quote_plus(plain, errors="surrogatepass")
            encoded = (encode(plain, safe=""), encode(plain), plus)
            forms |= {plain, *encoded, *(e.lower() for e in encoded if "%" in e)}
            forms |= {repr(plain)[1:-1], json.dumps(plain)[1:-1]}
            forms |= {json.dumps(plain, ensure_ascii=False)[1:-1], plain.replace("'", "''")}
            forms.add(plain.replace("'", "\\'"))
    if not forms:
        return None
    # A plain word or number is not hidden within a longer one.
    longest_first = sorted(forms, key=lambda form: (-len(form), form))
    return re.compile(
        "|".join(
            rf"(?<![A-Za-z0-9]){re.escape(f)}(?![A-Za-z0-9])" if _is_word(f) else re.escape(f)
            for f in longest_first
        )
    )


def _is_word(text: str) -> bool:
    return text.isdigit() or (text.isalpha() and (text.islower() or text.istitle()))
