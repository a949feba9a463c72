"""Columns of an Arrow stream of an unknown author, and Arrow streams of predictions.

An Arrow stream can declare far more data than it has: compressed buffers, columns without buffers,
offsets outside their buffers. Only plain types without compression are read, and every batch is
validated before a value is.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any

from tuner.serving.failures import RequestFailure
from tuner.signatures import Schema

if TYPE_CHECKING:
    import pyarrow as pa

MOST_ROWS = 1_000_000
"""Number of rows above which a stream is refused, as columns of nulls need no bytes."""


def columns_of_arrow(body: bytes, _: Schema | None) -> dict[str, Any]:
    """Return the columns of an Arrow stream.

    Raises
    ------
    RequestFailure
        If the stream is malformed, compressed, has a type that is not read, or two columns of one
        name.
    """
    import pyarrow as pa
    from pyarrow import ipc

    try:
        for message in ipc.MessageReader.open_stream(pa.BufferReader(body)):
            if is_compressed(message.metadata.to_pybytes()):
                raise RequestFailure(400, "the Arrow stream is compressed; send it uncompressed")
        with ipc.open_stream(pa.BufferReader(body)) as reader:
            _check_schema(reader.schema)
            batches, rows = [], 0
            for batch in reader:
                rows += batch.num_rows
                if rows > MOST_ROWS:
                    raise RequestFailure(413, f"the request has more than {MOST_ROWS:,} rows")
                batch.validate(full=True)
                batches.append(batch)
        table = pa.Table.from_batches(batches, reader.schema)
        return {name: _values(table[name]) for name in table.column_names}
    except (pa.ArrowException, OSError, ValueError, struct.error, UnicodeDecodeError) as error:
        raise RequestFailure(400, f"the Arrow stream cannot be read: {error!s:.200}") from None


def _check_schema(schema: pa.Schema) -> None:
    names = schema.names
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise RequestFailure(422, f"several columns are named {twice!r}")
    for field in schema:
        if not _is_plain(field.type):
            raise RequestFailure(
                422, f"column {field.name!r}: the Arrow type {field.type!s:.80} is not read"
            )


def _is_plain(kind: pa.DataType) -> bool:
    from pyarrow import types

    if types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind):
        inner = kind.value_type
        return bool(types.is_integer(inner) or types.is_floating(inner))
    if types.is_dictionary(kind):
        kind = kind.value_type
    is_text = types.is_string(kind) or types.is_large_string(kind)
    is_number = types.is_integer(kind) or types.is_floating(kind) or types.is_boolean(kind)
    return bool(is_text or is_number or types.is_timestamp(kind) or types.is_date(kind))


def _values(column: pa.ChunkedArray) -> Any:
    from pyarrow import types

    kind = column.type
    if (types.is_integer(kind) or types.is_floating(kind)) and not column.null_count:
        return column.to_numpy()
    if types.is_timestamp(kind):
        return column.to_pandas()
    return column.to_pylist()


def is_compressed(message: bytes) -> bool:
    """Whether the metadata of an Arrow message says that its buffers are compressed.

    The metadata is the flatbuffer ``Message`` of Arrow's format; its header is a ``RecordBatch``
    or a ``DictionaryBatch`` around one. The fourth field of ``RecordBatch`` is its compression.

    Raises
    ------
    struct.error
        If the metadata ends too early.
    """
    table = _unsigned(message, 0)
    kind = _field(message, table, 1)
    header = _field(message, table, 2)
    if kind is None or header is None:
        return False
    header += _unsigned(message, header)
    if message[kind] == _DICTIONARY_BATCH:
        inner = _field(message, header, 1)
        if inner is None:
            return False
        header = inner + _unsigned(message, inner)
    elif message[kind] != _RECORD_BATCH:
        return False
    return _field(message, header, 3) is not None


_DICTIONARY_BATCH, _RECORD_BATCH = 2, 3


def _field(message: bytes, table: int, number: int) -> int | None:
    """Return the position of a field of a flatbuffer's table, None if it is absent."""
    vtable = table - struct.unpack_from("<i", message, table)[0]
    if vtable < 0:
        raise struct.error("the table is outside of the message")
    (size,) = struct.unpack_from("<H", message, vtable)
    if 4 + 2 * number >= size:
        return None
    (offset,) = struct.unpack_from("<H", message, vtable + 4 + 2 * number)
    return table + offset if offset else None


def _unsigned(message: bytes, at: int) -> int:
    found: int = struct.unpack_from("<I", message, at)[0]
    return found
