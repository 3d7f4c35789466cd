"""Log what a Python process sends, or tries to send, beyond this machine.

Python imports this module as it starts if its folder is on PYTHONPATH, so processes that a process starts are watched
too. Each attempt is a line of JSON in the file that LUNGNB_CONNECTIONS names. Code in C and C++ is not seen, nor a name
that `socket.connect` looks up by itself.
"""

import ipaddress
import json
import os
import sys
import traceback

_SENDING = {"socket.connect", "socket.sendto", "socket.sendmsg"}
_LOOKUPS = {"socket.getaddrinfo", "socket.gethostbyname", "socket.gethostbyaddr", "socket.getnameinfo"}


def _host(event, arguments):
    """Return the host that an event is about, or None if it is about none."""
    if event in _SENDING:
        address = arguments[1]
        return address[0] if isinstance(address, tuple) else None  # else a Unix socket, or connected before
    if event in _LOOKUPS:
        return arguments[0][0] if isinstance(arguments[0], tuple) else arguments[0]
    return None


def _is_here(host):
    """Return whether a host is this machine by its loopback address; names are looked up elsewhere."""
    host = host.decode() if isinstance(host, bytes) else host
    if host in (None, "", "localhost"):
        return True
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    return address.is_loopback or address.is_unspecified


def _watch(event, arguments):
    if event in _SENDING | _LOOKUPS and not _is_here(_host(event, arguments)):
        stack = [f"{frame.filename}:{frame.lineno}" for frame in traceback.extract_stack()[:-1]]
        line = {"event": event, "arguments": str(arguments), "command": sys.orig_argv, "stack": stack}
        with open(os.environ["LUNGNB_CONNECTIONS"], "a", encoding="utf-8") as log:
            log.write(json.dumps(line) + "\n")


sys.addaudithook(_watch)
