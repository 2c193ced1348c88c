"""Talks to a server with compression, using the package `websockets`. Argument: the server's URL."""
import json
import sys

from websockets.extensions.permessage_deflate import ClientPerMessageDeflateFactory
from websockets.sync.client import connect

LONG = "the quick brown fox " * 400


def talk(name, is_compressed, **options):
    """Sends a text whole and in fragments, and reads it back."""
    with connect(f"{sys.argv[1]}?clientId={name}", **options) as socket:
        extensions = socket.response.headers.get("Sec-WebSocket-Extensions", "")
        assert ("permessage-deflate" in extensions) == is_compressed, f"{name}: {extensions}"
        assert json.loads(socket.recv(timeout=10))["type"] == "welcome", name
        for text in ("short", "grüße 👋 " * 50, LONG):
            whole = json.dumps({"Message": text})
            for said in (whole, [whole[:9], "", whole[9:]]):
                socket.send(said)
                assert json.loads(socket.recv(timeout=10))["Message"] == text, name
    assert socket.close_code == 1000, name


def offer(**parameters):
    return {"compression": None, "extensions": [ClientPerMessageDeflateFactory(**parameters)]}


talk("defaults", True)
talk("no-context", True, **offer(server_no_context_takeover=True, client_no_context_takeover=True))
talk("client-window", True, **offer(client_max_window_bits=9))
talk("server-window", False, **offer(server_max_window_bits=9))
talk("without", False, compression=None)
print("ok")
