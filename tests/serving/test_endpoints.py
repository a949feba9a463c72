"""The endpoints of a server, in this process."""

from __future__ import annotations

import io
import json
import random
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from sklearn.linear_model import LinearRegression
from starlette.applications import Starlette

import tuner
from support.asgi import Answer, send
from support.served_models import X, Y
from tuner.errors import ArgumentError, ModelNotFound, RegistryError
from tuner.serving import app, serve
from tuner.serving.decoding import ARROW

JSON = {"content-type": "application/json"}
RECORD = {"a": 3, "b": 0}
TOKEN = "a-token-of-tests-1234"


@pytest.fixture(scope="module")
def served(store: Path) -> Starlette:
    return app("m@1", store=store, sample=False)


def post(served: Starlette, data: Any, **headers: str) -> Answer:
    body = data if isinstance(data, bytes) else json.dumps(data).encode()
    return send(served, "POST", "/predict", body, JSON | headers)


def in_arrow(table: pa.Table, **options: Any) -> bytes:
    sink = io.BytesIO()
    with pa.ipc.new_stream(sink, table.schema, options=pa.ipc.IpcWriteOptions(**options)) as writer:
        writer.write_table(table)
    return sink.getvalue()


TABLE = pa.Table.from_pandas(X, preserve_index=False)


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("application/json", X[["b", "a"]].to_json(orient="records").encode()),
        ("application/json; charset=utf-8", X.to_json(orient="records").encode()),
        ("application/json", json.dumps(X.to_dict("list")).encode()),
        ("text/csv", X.to_csv(index=False).encode()),
        ("text/csv", b"\xef\xbb\xbf" + X[["b", "a"]].to_csv(index=False).encode()),
        (ARROW, in_arrow(TABLE)),
        (ARROW, in_arrow(TABLE.select(["b", "a"]))),
    ],
)
def test_rows_of_every_content_type_are_predicted(served: Starlette, kind: str, body: bytes):
    answer = send(served, "POST", "/predict", body, {"content-type": kind})
    assert answer.status == 200, answer.body
    assert answer.json == {"predictions": Y.tolist(), "model": "m", "version": 1}
    assert answer.headers["x-model"] == "m@1"


def test_predictions_are_an_arrow_stream_if_asked(served: Starlette):
    answer = post(served, [RECORD], accept=f"{ARROW}, */*;q=0.1")
    assert answer.headers["content-type"] == ARROW
    with pa.ipc.open_stream(answer.body) as reader:
        assert reader.read_all().to_pydict() == {"prediction": ["yes"]}


def test_probabilities_have_their_classes(store: Path):
    served = app("m@1", store=store, method="predict_proba", sample=False)
    answer = post(served, [RECORD]).json
    assert answer["classes"] == ["no", "yes"]
    assert sum(answer["predictions"][0]) == pytest.approx(1)
    arrow = post(served, [RECORD], accept=ARROW)
    with pa.ipc.open_stream(arrow.body) as reader:
        assert reader.schema.names == ["prediction_0", "prediction_1"]


def test_no_rows_have_no_predictions(served: Starlette):
    assert post(served, []).json["predictions"] == []
    assert post(served, {"a": [], "b": []}).json["predictions"] == []


@pytest.mark.parametrize(
    ("data", "column", "row"),
    [
        ([RECORD, RECORD | {"b": 0.5}], "b", 1),
        ([RECORD | {"a": "old"}], "a", 0),
        ([RECORD | {"a": None}], "a", 0),
        ([{"a": 1}], "b", None),
        ([RECORD | {"c": 1}], "c", None),
        ({"a": [1, 2], "b": [1]}, "b", None),
        ({"a": 1, "b": 1}, "a", None),
        ([RECORD, 5], "", 1),
        ([[1, 2]], "", 0),
        ([RECORD | {"b": 2**63}], "b", 0),
    ],
)
def test_rows_that_do_not_match_are_422_with_the_column(
    served: Starlette, data: Any, column: str, row: int | None
):
    answer = post(served, data)
    assert answer.status == 422
    error = answer.json["error"]
    assert (error["column"], error["row"]) == (column, row)
    assert column in error["message"]


def test_a_cell_of_a_csv_is_named(served: Starlette):
    answer = send(served, "POST", "/predict", b"a,b\n1,1\n2,x\n", {"content-type": "text/csv"})
    assert answer.status == 422
    assert answer.json["error"]["message"].startswith("column 'b', row 1: 'x' is not allowed")


@pytest.mark.parametrize(
    ("kind", "body", "status", "message"),
    [
        ("application/json", b"{", 400, "JSON"),
        ("application/json", b"", 400, "JSON"),
        ("application/json", b'[{"a": NaN}]', 400, "JSON"),
        ("application/json", b"5", 400, "list of rows"),
        ("application/json", b"[" * 100_000, 400, "nested"),
        ("application/json", b'[{"a": %s}]' % (b"9" * 100_000), 400, "range"),
        ("application/json", b'[{"a": 1e999}]', 400, "range"),
        ("application/json", b'["\xff"]', 400, "UTF-8"),
        ("text/plain", b"a", 415, "text/csv"),
        ("", b"a", 415, "text/csv"),
        ("application/json; charset=latin-1", b"[]", 415, "UTF-8"),
        ("text/csv", b"a,a\n1,2\n", 422, "'a'"),
        ("text/csv", b"a,b\n1\n", 400, "CSV"),
        ("text/csv", b"a,b\n1,\xff\n", 400, "CSV"),
        ("text/csv", b"", 400, "CSV"),
        ("text/csv", b'"a\n', 400, "CSV"),
        (ARROW, b"garbage", 400, "Arrow"),
        (ARROW, b"", 400, "Arrow"),
        (ARROW, in_arrow(TABLE)[:-40], 400, "Arrow"),
        (ARROW, in_arrow(TABLE, compression="zstd"), 400, "compressed"),
        (ARROW, in_arrow(TABLE.append_column("a", TABLE["a"])), 422, "'a'"),
        (ARROW, in_arrow(pa.table({"a": pa.array([2**31 - 1], pa.date32())})), 400, "Arrow"),
        (ARROW, in_arrow(pa.table({"a": pa.nulls(10), "b": pa.nulls(10)})), 422, "type null"),
    ],
)
def test_hostile_bodies_are_refused(
    served: Starlette, kind: str, body: bytes, status: int, message: str
):
    answer = send(served, "POST", "/predict", body, {"content-type": kind})
    assert answer.status == status, answer.body
    assert message in answer.json["error"]["message"]


def test_a_damaged_arrow_stream_never_fails_the_server(served: Starlette):
    whole, random_ = in_arrow(pa.table({"a": [1.0] * 9, "b": [1] * 9})), random.Random(1)
    for _ in range(150):
        damaged = bytearray(whole)
        for _ in range(random_.randrange(1, 4)):
            damaged[random_.randrange(len(damaged))] = random_.randrange(256)
        answer = send(served, "POST", "/predict", bytes(damaged), {"content-type": ARROW})
        assert answer.status in (200, 400, 413, 422), answer.body


def test_a_large_body_is_refused_before_it_is_read_and_while_it_arrives(store: Path):
    served = app("m@1", store=store, sample=False, most_bytes=100)
    assert post(served, b" " * 101).status == 413
    pieces = [b" " * 60, b" " * 60, b"x"]
    answer = send(served, "POST", "/predict", pieces, JSON)
    assert answer.status == 413
    assert post(served, [RECORD]).status == 200


def test_encodings_methods_and_types_that_are_not_served(served: Starlette):
    assert post(served, [RECORD], **{"content-encoding": "gzip"}).status == 415
    assert post(served, [RECORD], accept="image/png").status == 406
    assert send(served, "GET", "/predict").status == 405
    assert send(served, "GET", "/other").status == 404


def test_a_client_that_leaves_costs_one_request(served: Starlette):
    assert send(served, "POST", "/predict", [], JSON).status == 400
    assert post(served, [RECORD]).status == 200


def test_requests_beyond_the_limit_are_told_to_wait(store: Path):
    served = app("m@1", store=store, sample=False, most_waiting=1)
    route = next(r for r in served.routes if r.path == "/predict")  # type: ignore[attr-defined]
    endpoints = route.endpoint.__self__  # type: ignore[attr-defined]
    endpoints._waiting = 1
    answer = post(served, [RECORD])
    assert (answer.status, answer.headers["retry-after"]) == (503, "1")


def test_a_failing_model_is_500_without_its_details(store: Path):
    served = app("wrong", store=store, sample=False)
    answer = post(served, [{"a": 1}])
    assert answer.status == 500
    assert answer.json["error"] == {"message": "the model failed: ValueError"}


def test_a_name_outside_of_ascii_is_quoted_in_the_header(store: Path):
    tuner.load_study("s", store=store).register("größe", trial=0)
    answer = post(app("größe", store=store, sample=False), [RECORD])
    assert answer.headers["x-model"] == "gr%C3%B6%C3%9Fe@1"
    assert answer.json["model"] == "größe"


def test_the_model_and_its_signature_are_shown(served: Starlette):
    shown = send(served, "GET", "/model").json
    assert shown["version"] == 1
    assert shown["signature"]["inputs"]["fields"][0]["name"] == "a"
    assert shown["card"]["title"] == "m, version 1"


def test_the_metrics_count_requests_and_rows(store: Path):
    served = app("m@1", store=store, sample=False)
    post(served, [RECORD] * 3)
    post(served, [{}])
    text = send(served, "GET", "/metrics").body.decode()
    for line in (
        'tuner_requests_total{status="200"} 1.0',
        'tuner_requests_total{status="422"} 1.0',
        "tuner_rows_total 3.0",
        'tuner_model_info{model="m",version="1"} 1.0',
        "tuner_model_followed 1.0",
        "tuner_request_seconds_count 2.0",
    ):
        assert line in text.splitlines()


def test_requests_need_the_token_except_for_health(store: Path):
    served = app("m@1", store=store, sample=False, token=TOKEN)
    right = {"authorization": f"Bearer {TOKEN}", "host": "models.example"}
    for headers in ({}, {"authorization": f"Bearer {TOKEN}x"}, {"authorization": TOKEN}):
        answer = post(served, [RECORD], **headers)
        assert (answer.status, answer.headers["www-authenticate"]) == (401, "Bearer")
    assert post(served, [RECORD], **right).status == 200
    assert send(served, "GET", "/model").status == 401
    assert send(served, "GET", "/health").json == {"status": "ok"}
    assert send(served, "GET", "/health", headers=right).json["version"] == 1


def test_without_a_token_only_names_of_this_machine_are_served(served: Starlette):
    assert send(served, "GET", "/health", headers={"host": "evil.example"}).status == 421
    assert send(served, "GET", "/health", headers={"host": "localhost:1"}).json["model"] == "m"
    assert send(served, "GET", "/health", client="127.0.0.2").status == 200
    assert send(served, "GET", "/health", client="192.168.1.2").status == 421


def test_what_cannot_be_served_is_said_at_the_start(store: Path):
    with pytest.raises(RegistryError, match=r"configuration only.*register"):
        app("configuration", store=store)
    with pytest.raises(ModelNotFound):
        app("missing", store=store)
    with pytest.raises(ArgumentError, match="method='fit'"):
        app("m", store=store, method="fit")
    for wrong in ({"poll": 0}, {"most_bytes": 0}, {"threads": "2"}, {"most_waiting": True}):
        with pytest.raises(ArgumentError, match=next(iter(wrong))):
            app("m", store=store, **wrong)  # type: ignore[arg-type]


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.2", "example.org"])
def test_other_addresses_need_a_token(store: Path, host: str):
    with pytest.raises(ArgumentError, match="16 printable"):
        app("m", store=store, token="näht so sicher wie es sein soll")
    with pytest.raises(ArgumentError, match="TUNER_SERVE_TOKEN"):
        serve("m", store=store, host=host)
    with pytest.raises(ArgumentError, match="5 characters"):
        serve("m", store=store, host=host, token="short")


def test_a_model_without_a_signature_takes_tables_and_arrays(store: Path, tmp_path: Path):

    import tuner

    def objective(params: dict[str, float], trial: tuner.LiveTrial) -> float:
        trial.log_model(LinearRegression().fit(X.to_numpy(), [0, 1, 2, 3]))
        return 1.0

    tuner.optimize(
        objective, {"x": tuner.Int(1, 9)}, n_trials=1, backend="serial", store=tmp_path,
        register="plain", progress=False,
    )  # fmt: skip
    served = app("plain", store=tmp_path, sample=False)
    assert post(served, [[3, 0]]).json["predictions"] == [pytest.approx(3)]
    assert "features" in post(served, [[3, 0, 1]]).json["error"]["message"]
    assert post(served, [[3], [1, 2]]).status == 422
    assert send(served, "GET", "/model").json["signature"] is None
