"""The server of the page: on this machine only, nothing from elsewhere, nothing kept."""

import contextlib
import os
import signal
import socket
import tempfile
from collections.abc import Awaitable, Callable, Iterator, Mapping, MutableMapping
from pathlib import Path
from typing import Any

from purespike.demo.lineup import Lineup
from purespike.demo.pictures import LIMIT
from purespike.errors import InputError

HOST = "127.0.0.1"
PORT = 7860
# a picture of 5 MB in base64, and what surrounds it
_MOST_BYTES = LIMIT * 4 // 3 + 2**16
# what the page shows is its own; gradio makes functions of its templates
_POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; font-src 'self' data:; connect-src 'self' data: blob:; "
    "worker-src 'self' blob:; frame-ancestors 'none'; form-action 'self'; base-uri 'self'"
)
_QUIET = {
    "GRADIO_ANALYTICS_ENABLED": "False",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "HF_HUB_OFFLINE": "1",
    "DO_NOT_TRACK": "1",
}

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]


def serve(
    lineups: list[Lineup],
    *,
    port: int = PORT,
    limit: float = 300.0,
    device: Any = "cpu",
    say: Callable[[str], None] = print,
) -> None:
    """Show the page on 127.0.0.1 until the process is interrupted.

    Args:
        lineups: models to show.
        port: port; 0 for a free one.
        limit: seconds that an attack or a certificate may take.
        device: device of the models.
        say: function that is told the address.

    Raises:
        InputError: gradio is missing, or the port is taken.
    """
    with _environment(), _listening(port) as listener:
        application = app(lineups, limit=limit, device=device)
        import uvicorn

        settings = uvicorn.Config(
            application, log_level="critical", timeout_graceful_shutdown=1, access_log=False, lifespan="on"
        )
        server = uvicorn.Server(settings)
        # the listener's own: uvicorn would raise the signal again once it has ended
        vars(server)["capture_signals"] = lambda: _ended_by_signals(server)
        say(f"demo: http://{HOST}:{listener.getsockname()[1]}/ (Ctrl-C ends it)")
        server.run(sockets=[listener])


def app(lineups: list[Lineup], *, limit: float = 300.0, device: Any = "cpu") -> App:
    """The page as an ASGI application.

    Raises:
        InputError: gradio is missing.
    """
    from purespike.demo.jobs import Jobs
    from purespike.demo.page import build, library
    from purespike.demo.session import Session

    gradio, jobs = library(), Jobs(limit)
    import fastapi

    sessions = {each.name: Session(each, jobs=jobs, device=device) for each in lineups}
    blocks = build(sessions)
    for block in blocks.blocks.values():
        _tame(block, gradio.Error)
    plain = [gradio.themes.Font(name) for name in ("system-ui", "sans-serif")]
    mono = [gradio.themes.Font(name) for name in ("ui-monospace", "monospace")]
    mounted = gradio.mount_gradio_app(
        fastapi.FastAPI(docs_url=None, redoc_url=None, openapi_url=None),
        blocks,
        path="/",
        server_name=HOST,
        footer_links=[],
        run_history=False,
        max_file_size=LIMIT,
        ssr_mode=False,
        pwa=False,
        mcp_server=False,
        enable_monitoring=False,
        theme=gradio.themes.Default(primary_hue="blue", font=plain, font_mono=mono),
        css_paths=[Path(__file__).parent / "templates" / "page.css"],
    )
    return Doorkeeper(mounted)


def _tame(block: Any, error: Any) -> None:
    """Let a component take text and numbers only, and refuse others in one line instead of a traceback."""
    own = getattr(block, "preprocess", None)

    async def refused(place: Any) -> None:
        line = "pictures come as text, data:image/png;base64,…: this page takes no files and no addresses"
        raise error(line, print_exception=False)

    def quietly(payload: Any) -> Any:
        try:
            return own(payload)  # type: ignore[misc]
        except error as fault:
            raise error(fault.message, print_exception=False) from None

    # nothing may name a file of this machine or an address
    block.async_move_resource_to_block_cache = refused
    if own is not None:
        block.preprocess = quietly


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


@contextlib.contextmanager
def _environment() -> Iterator[None]:
    """Variables that gradio reads when it is imported, and a private folder that is removed at the end."""
    with tempfile.TemporaryDirectory(prefix="purespike-demo-") as folder:
        wanted = {**_QUIET, "GRADIO_TEMP_DIR": folder}
        former = {name: os.environ.get(name) for name in wanted}
        os.environ.update(wanted)
        try:
            yield
        finally:
            for name, value in former.items():
                if value is None:
                    os.environ.pop(name, None)
                else:
                    os.environ[name] = value


@contextlib.contextmanager
def _listening(port: int) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((HOST, port))
            listener.listen(64)
        except (OSError, OverflowError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            raise InputError(f"--port {port}: {reason}; choose another one, or 0 for a free one") from None
        yield listener


@contextlib.contextmanager
def _ended_by_signals(server: Any) -> Iterator[None]:
    def end(*_: object) -> None:
        server.should_exit = True

    former = {each: signal.signal(each, end) for each in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for each, handler in former.items():
            signal.signal(each, handler)
