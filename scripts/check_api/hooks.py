"""What schemathesis does not know of HTTP."""

import schemathesis


@schemathesis.hook
def before_call(context, case, kwargs):
    kwargs["hooks"] = {"response": leave_websocket}


def leave_websocket(response, **_):
    """The connection of a WebSocket takes no other request."""
    if response.status_code == 101:
        response.close()
