"""What a request to the page must be like, and what every answer forbids the browser."""

from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from typing import Any

from purespike.demo.pictures import LIMIT

HOST = "127.0.0.1"
# a picture of 5 MB in base64, and what surrounds it
_MOST_BYTES = LIMIT * 4 // 3 + 2**16
# what the page shows is its own; gradio makes functions of its templates
_POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; font-src 'self' data:; connect-src 'self' data: blob:; "
    "worker-src 'self' blob:; frame-ancestors 'none'; form-action 'self'; base-uri 'self'"
)

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]


class Doorkeeper:
    """Lets in what this page asks for: small requests to this machine's own name, from this page.

    Other pages in the same browser can reach a server of this machine too; the headers that browsers send
    with their requests give them away.

    Args:
        app: the application behind.
        most: largest body of a request in bytes.
    """

    def __init__(self, app: App, most: int = _MOST_BYTES) -> None:
        self.app, self.most = app, most

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            # a server without web sockets, and its own beginning and end
            if scope["type"] == "lifespan":
                await self.app(scope, receive, send)
            return
        headers = {key.decode("latin-1").lower(): value.decode("latin-1") for key, value in scope["headers"]}
        if fault := _fault(scope, headers, self.most):
            await _answer(send, *fault)
            return
        body, size = [], 0
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                return
            body.append(message.get("body", b""))
            size += len(body[-1])
            if size > self.most:
                await _answer(send, 413, "a request may hold a picture of 5 MB at most")
                return
            if not message.get("more_body"):
                break
        whole = [b"".join(body)]

        async def again() -> MutableMapping[str, Any]:
            if whole:
                return {"type": "http.request", "body": whole.pop(), "more_body": False}
            return await receive()

        async def guarded(message: MutableMapping[str, Any]) -> None:
            if message["type"] == "http.response.start":
                added = {
                    "content-security-policy": _POLICY,
                    "referrer-policy": "no-referrer",
                    "x-content-type-options": "nosniff",
                }
                pairs = [(key.encode(), value.encode()) for key, value in added.items()]
                message = {**message, "headers": [*message.get("headers", []), *pairs]}
            await send(message)

        await self.app(scope, again, guarded)


def _fault(scope: Scope, headers: Mapping[str, str], most: int) -> tuple[int, str] | None:
    """Status and reason for turning a request away; ``None`` if there is none."""
    host = headers.get("host", "")
    if host.rpartition(":")[0] not in (HOST, "localhost"):
        return 403, "this page answers to 127.0.0.1 and localhost only"
    if headers.get("origin", f"http://{host}") != f"http://{host}":
        return 403, "this page answers to itself only"
    length = headers.get("content-length", "0")
    if not length.isdecimal() or int(length) > most:
        return 413, "a request may hold a picture of 5 MB at most"
    path = scope["path"].rstrip("/")
    if any(part in path for part in ("/upload", "/proxy=", "/file=", "/vibe-")):
        return 404, "pictures come as text; there are no files here"
    return None


async def _answer(send: Send, status: int, reason: str) -> None:
    body = reason.encode()
    headers = [(b"content-type", b"text/plain; charset=utf-8"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
