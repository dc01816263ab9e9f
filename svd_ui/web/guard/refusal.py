"""How a request is refused: one sentence, as JSON that gradio's page and client show."""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.responses import JSONResponse

if TYPE_CHECKING:
    from starlette.types import Scope, Send


async def refuse(scope: Scope, send: Send, status: int, text: str, headers: dict[str, str] | None = None) -> None:
    """Answer with ``status`` and ``text``; a websocket is closed (1008, policy violation)."""
    if scope["type"] == "websocket":
        await send({"type": "websocket.close", "code": 1008, "reason": text[:100]})
        return
    await JSONResponse({"error": text, "detail": text}, status, headers)(scope, _nothing, send)


async def _nothing() -> dict[str, str]:
    return {"type": "http.disconnect"}
