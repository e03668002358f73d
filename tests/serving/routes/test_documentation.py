from __future__ import annotations

import re

from distilbert_serve.bodies import BODIES
from support.serving import Server


def test_the_page_lists_all_routes_and_loads_nothing(server: Server) -> None:
    reply = server.ask("/docs")
    assert reply.headers["Content-Type"].startswith("text/html")
    assert reply.headers["Content-Security-Policy"].startswith("default-src 'none'")
    page = reply.body.decode()
    document = server.ask("/openapi.json").json
    for path, methods in document["paths"].items():
        for method in methods:
            assert f"<code>{method.upper()} {path}</code>" in page
    assert {f"/{name}" for name in BODIES} < document["paths"].keys()
    assert re.findall(r"(?:src|href)=\"(.*?)\"", page) == ["/openapi.json"]
    assert "<script" not in page
    assert "$ref" not in page
