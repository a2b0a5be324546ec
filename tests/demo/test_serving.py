"""The doorkeeper of the page, and what the command says when it cannot begin."""

import asyncio
import os
import socket

import pytest

from purespike.demo import page, serving
from purespike.demo.doorkeeper import Doorkeeper
from purespike.demo.serving import _environment, _listening
from purespike.errors import InputError


async def inner(scope, receive, send):
    """Answers with the length of the body."""
    message = await receive()
    await send({"type": "http.response.start", "status": 200, "headers": [(b"x-own", b"1")]})
    await send({"type": "http.response.body", "body": str(len(message["body"])).encode()})


def ask(*, host="127.0.0.1:7860", path="/", body=b"", pieces=1, most=1000, **headers):
    """Status, headers and body of a request."""
    sent = []
    parts = [body[len(body) * k // pieces : len(body) * (k + 1) // pieces] for k in range(pieces)]
    given = {"host": host, **{key.replace("_", "-"): value for key, value in headers.items()}}
    scope = {
        "type": "http",
        "path": path,
        "headers": [(key.encode(), value.encode()) for key, value in given.items()],
    }

    async def receive():
        part = parts.pop(0)
        return {"type": "http.request", "body": part, "more_body": bool(parts)}

    async def send(message):
        sent.append(message)

    asyncio.run(Doorkeeper(inner, most)(scope, receive, send))
    return sent[0]["status"], dict(sent[0]["headers"]), sent[1]["body"]


@pytest.mark.parametrize("host", ["127.0.0.1:7860", "localhost:7860"])
def test_its_own_page_comes_in(host):
    status, headers, body = ask(host=host, origin=f"http://{host}", body=b"x" * 900, pieces=4)
    assert (status, body) == (200, b"900") and headers[b"x-own"] == b"1"
    policy = headers[b"content-security-policy"].decode()
    assert "default-src 'self'" in policy and "http" not in policy and "*" not in policy


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        # a name of elsewhere that resolves to this machine
        ({"host": "evil.example:7860"}, 403),
        ({"host": ""}, 403),
        # a page of elsewhere in the same browser
        ({"origin": "https://evil.example"}, 403),
        ({"origin": "null"}, 403),
        ({"body": b"x" * 1001}, 413),
        ({"body": b"x" * 4000, "pieces": 8}, 413),
        ({"content_length": "1001"}, 413),
        ({"content_length": "-1"}, 413),
        ({"path": "/gradio_api/upload"}, 404),
        ({"path": "/gradio_api/file=/etc/passwd"}, 404),
        ({"path": "/gradio_api/proxy=https://example.org/"}, 404),
    ],
)
def test_others_do_not(request_, status):
    found, _, body = ask(**request_)
    assert found == status and body and b"\n" not in body


def test_a_port_that_is_taken_is_said():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(InputError, match=f"--port {port}: .*choose another one"), _listening(port):
            pass
    with _listening(0) as listener:
        host, port = listener.getsockname()
        assert host == "127.0.0.1" and port > 0


def test_the_environment_is_quiet_inside_and_as_before_outside(monkeypatch):
    monkeypatch.setenv("GRADIO_ANALYTICS_ENABLED", "True")
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    with _environment():
        assert os.environ["GRADIO_ANALYTICS_ENABLED"] == "False" and os.environ["HF_HUB_OFFLINE"] == "1"
        folder = os.environ["GRADIO_TEMP_DIR"]
        assert os.path.isdir(folder) and os.stat(folder).st_mode & 0o077 == 0
    assert os.environ["GRADIO_ANALYTICS_ENABLED"] == "True" and "HF_HUB_OFFLINE" not in os.environ
    assert not os.path.exists(folder)


def test_without_gradio_the_extra_is_named(monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "gradio", None)
    with pytest.raises(InputError, match=r"pip install 'purespike\[demo\]'"):
        page.library()
    with pytest.raises(InputError, match=r"purespike\[demo\]"):
        serving.app([])
