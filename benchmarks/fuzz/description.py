"""The app as OpenAPI, for what makes requests of a description: gradio's own routes, ours, and each call of the API."""

from __future__ import annotations

from typing import Any

import httpx

from svd_ui.request import GenerationRequest
from svd_ui.web.guard.login import UNUSED

Json = dict[str, Any]
REFS = "#/components/schemas/{model}"
ANYTHING: Json = {}


def described(base: str, ids: list[str], refs: list[str]) -> Json:
    """``ids`` of jobs and ``refs`` of pictures that are there, so that some requests find something."""
    client = httpx.Client(base_url=base, timeout=30)
    found: Json = client.get("openapi.json").json()
    info = client.get("gradio_api/info").json()["named_endpoints"]
    paths = {path: verbs for path, verbs in found["paths"].items() if _wanted(path)}
    schema = GenerationRequest.model_json_schema(ref_template=REFS)
    parts = {**found.get("components", {}).get("schemas", {}), **schema.pop("$defs", {}), "GenerationRequest": schema}
    found["paths"] = (
        paths
        | _ours(ids, refs)
        | {f"/gradio_api/run/{name.strip('/')}": _call(call["parameters"], schema, ids) for name, call in info.items()}
    )
    found["components"] = {"schemas": parts}
    return found


def _wanted(path: str) -> bool:
    """Once each, and none that ends a visit."""
    return not path.endswith("/") and not path.startswith(UNUSED) and "{api_name}" not in path and path != "/logout"


def _call(parameters: list[Json], request: Json, ids: list[str]) -> Json:
    """A call of gradio's: its parameters in their order."""
    items = [_parameter(one["parameter_name"], request, ids) for one in parameters]
    data: Json = {"type": "array", "minItems": len(items), "maxItems": len(items)}
    if items:
        data["prefixItems"] = items
    body = {"type": "object", "properties": {"data": data}, "required": ["data"]}
    return {"post": _operation(body=body)}


def _parameter(name: str, request: Json, ids: list[str]) -> Json:
    if name in request["properties"] and name != "image":
        return {"anyOf": [request["properties"][name], {"type": "null"}]}
    if name in ("id", "before", "tile"):
        return {"anyOf": [{"enum": ids}, {"type": "string"}, {"type": "null"}]}
    return ANYTHING


def _ours(ids: list[str], refs: list[str]) -> Json:
    text, number = {"type": "string", "minLength": 1}, {"type": "number"}
    id, digest = (
        {"anyOf": [{"enum": ids}, text]},
        {"anyOf": [{"enum": [ref.removeprefix("sha256:") for ref in refs]}, text]},
    )
    crop = [_query(name, number) for name in ("w", "h", "x", "y")]
    change = {
        "type": "object",
        "required": ["do"],
        "properties": {
            "do": {"enum": ["pause", "resume", "move", "skip", "edit", "stop", "stop_all"]},
            "id": id,
            "other": id,
            "where": {"enum": ["first", "last", "before", "after"]},
            "request": {"$ref": REFS.format(model="GenerationRequest")},
        },
    }
    name = {"enum": ["video", "poster", "frames", "preview", "animation", "tile-0"]}
    return {
        "/svd/job/{id}/{name}": {"get": _operation(_path("id", id), _path("name", {"anyOf": [name, text]}))},
        "/svd/still/{digest}": {"get": _operation(_path("digest", digest), *crop)},
        "/svd/example/{name}": {"get": _operation(_path("name", text))},
        "/svd/sketch/{name}": {"get": _operation(_path("name", text))},
        "/svd/run/{name}/{step}": {"get": _operation(_path("name", text), _path("step", text))},
        "/svd/frame": {"get": _operation(_query("path", text), _query("at", number))},
        "/svd/status/{id}": {"get": _operation(_path("id", id))},
        "/svd/history": {
            "get": _operation(
                _query("limit", {"type": "integer"}), _query("before", id), _header("Authorization", text)
            )
        },
        "/svd/queue": {"get": _operation(), "post": _operation(_header("x-svd-ui", {"const": "1"}), body=change)},
        "/svd/queue.zip": {"get": _operation()},
        "/metrics": {"get": _operation(_header("Authorization", text))},
        "/ready": {"get": _operation()},
    }


def _operation(*parameters: Json, body: Json | None = None) -> Json:
    made: Json = {"parameters": list(parameters), "responses": {"default": {"description": "whatever"}}}
    if body is not None:
        made["requestBody"] = {"required": True, "content": {"application/json": {"schema": body}}}
    return made


def _path(name: str, schema: Json) -> Json:
    return {"name": name, "in": "path", "required": True, "schema": schema}


def _query(name: str, schema: Json) -> Json:
    return {"name": name, "in": "query", "schema": schema}


def _header(name: str, schema: Json) -> Json:
    return {"name": name, "in": "header", "required": name.startswith("x-"), "schema": schema}
