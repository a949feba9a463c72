"""Pickle functions with the names of their files, so that tracebacks of workers name them."""

from __future__ import annotations

from collections import ChainMap
from types import CodeType
from typing import Any, ClassVar

import cloudpickle


def _reduced(code: CodeType) -> tuple[Any, ...]:
    make, args, *_ = cloudpickle.Pickler.dispatch_table[CodeType](code)
    return _with_file, (code.co_filename, make, args)


def _with_file(file: str, make: Any, args: tuple[Any, ...]) -> CodeType:
    code: CodeType = make(*args)
    return code.replace(co_filename=file)


class CodePickler(cloudpickle.Pickler):  # type: ignore[misc]
    """The pickler of cloudpickle, which by itself drops the file name of each code object."""

    dispatch_table: ClassVar[Any] = ChainMap(
        {CodeType: _reduced}, cloudpickle.Pickler.dispatch_table
    )
