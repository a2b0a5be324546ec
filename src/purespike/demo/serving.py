"""The server of the page: on this machine only, nothing from elsewhere, nothing kept."""

import contextlib
import importlib
import os
import signal
import socket
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from purespike.demo.doorkeeper import HOST, App, Doorkeeper
from purespike.demo.lineup import Lineup
from purespike.demo.pictures import LIMIT
from purespike.errors import InputError

PORT = 7860
_QUIET = {
    "GRADIO_ANALYTICS_ENABLED": "False",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "HF_HUB_OFFLINE": "1",
    "DO_NOT_TRACK": "1",
}


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
        uvicorn: Any = importlib.import_module("uvicorn")

        settings = uvicorn.Config(
            application, log_level="critical", timeout_graceful_shutdown=1, access_log=False, lifespan="on"
        )
        server = uvicorn.Server(settings)
        # the listener's own: uvicorn would raise the signal again once it has ended
        server.capture_signals = lambda: _ended_by_signals(server)
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
