"""The page as one HTML file: the program, the data, and a policy that lets nothing else in."""

from __future__ import annotations

import base64
import hashlib
import html
import json
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

from memagents.inspection.page.layer import Layer
from memagents.inspection.page.payload import Payload, make_payload
from memagents.inspection.recording import Recording
from memagents.runs.files import write_bytes


def write_page(
    path: str | Path, recordings: Sequence[Recording], layers: Sequence[Layer] = (), max_steps: int = 2000
) -> None:
    """Write one HTML file that shows recordings; it needs no network and no server.

    :param path: of the file
    :param recordings: one, or two of the same episodes, which are shown side by side
    :param layers: heat maps to show beside those of the first recording
    :param max_steps: of an episode that are shown at most
    :raises ValueError: for no recordings or more than two, or layers that do not fit
    """
    write_bytes(Path(path), render(make_payload(recordings, layers, max_steps)).encode())


def render(payload: Payload) -> str:
    """Return the HTML of a page."""
    script, style = program()
    names = [recording["name"] for recording in payload.contents["recordings"]]
    blobs = "\n".join(
        f'<script type="application/octet-stream" id="{name}">{base64.b64encode(data).decode()}</script>'
        for name, data in payload.blobs.items()
    )
    policy = (
        f"default-src 'none'; script-src {_hash(script)}; style-src {_hash(style)}; img-src data: blob:; "
        "base-uri 'none'; form-action 'none'"
    )
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{html.escape(" against ".join(names))}: memory</title>
<style>{style}</style>
</head>
<body>
<noscript>This page draws everything with JavaScript, which is turned off.</noscript>
<div id="page"></div>
<script type="application/json" id="index">{_json(payload.contents)}</script>
{blobs}
<script>{script}</script>
</body>
</html>
"""


def program() -> tuple[str, str]:
    """Return the built JavaScript and CSS of the page."""
    built = files("memagents.inspection.page") / "built"
    return built.joinpath("page.js").read_text("utf-8"), built.joinpath("page.css").read_text("utf-8")


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def _json(value: Any) -> str:
    """Return JSON that ends no element: what HTML would read is escaped."""
    text = json.dumps(value, allow_nan=False, ensure_ascii=True, separators=(",", ":"))
    return text.replace("&", r"\u0026").replace("<", r"\u003c").replace(">", r"\u003e")
