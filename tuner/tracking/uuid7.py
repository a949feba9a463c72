"""UUIDs of version 7: globally unique, ordered by creation (RFC 9562, section 5.7)."""

from __future__ import annotations

import os
import threading
import time

_COUNTER_BITS = 42
_TAIL_BITS = 32

_POOL = 1024
"""Random bytes that are read at once: a system call for each UUID would be most of its time."""

_lock = threading.Lock()
_random = b""
_last_ms = 0
_counter = 0


def uuid7() -> str:
    """Return a new UUIDv7 as 32 hexadecimal digits, greater than every earlier one of this process.

    48 bits of milliseconds, a counter of 42 bits that starts at random in each millisecond
    (RFC 9562, section 6.2, method 1) and 32 random bits.

    Examples
    --------
    >>> a, b = uuid7(), uuid7()
    >>> len(a), a[12], a < b
    (32, '7', True)
    """
    global _last_ms, _counter
    with _lock:
        now = time.time_ns() // 1_000_000
        if now > _last_ms:
            _last_ms = now
            _counter = _random_start()
        else:
            # The same millisecond, or a clock that was set back.
            _counter += 1
            if _counter >> _COUNTER_BITS:
                _last_ms += 1
                _counter = 0
        ms, counter = _last_ms, _counter
        tail = _random_bits(_TAIL_BITS // 8)
    high, low = divmod(counter, 1 << 30)
    value = (ms << 80) | (0x7 << 76) | (high << 64) | (0b10 << 62) | (low << 32) | tail
    return f"{value:032x}"


def _random_start() -> int:
    """Return a random counter start, with at least half of the counter's range left."""
    return _random_bits(6) >> (48 - _COUNTER_BITS + 1)


def _random_bits(n: int) -> int:
    """Return `n` unused random bytes as a number."""
    global _random
    if len(_random) < n:
        _random = os.urandom(_POOL)
    taken, _random = _random[:n], _random[n:]
    return int.from_bytes(taken)


def _after_fork() -> None:
    """Reset the state in a forked child: the lock may be held, and counters must not repeat."""
    global _lock, _random, _last_ms, _counter
    _lock = threading.Lock()
    _random = b""
    _last_ms += 1
    _counter = _random_start()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
