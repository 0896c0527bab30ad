"""The HTTP client for all calls to vendors, the only package that imports httpx.

The table shows the outcome of a call without a complete reply. A call is repeated
only if it changes nothing, and only within the total time-out. After the head of a reply has
arrived, a call is not repeated, because the reply may have been a refusal of the credentials.

===========================================  =========  ========
Failure                                      Reason     Repeated
===========================================  =========  ========
name not found                               `dns`      yes
connection refused, unreachable, proxy fails `connect`  yes
certificate or handshake                     `tls`      no
no connection within the connect time-out    `timeout`  yes
no reply, or no complete one, in time        `timeout`  no
connection dropped before the reply's head   `connect`  yes
body cut off                                 `connect`  no
no HTTP, broken chunks                       `decode`   no
body too large, compression broken           `decode`   no
status 502, 503, 504                         (a reply)  yes
status 429                                   (a reply)  if time is left
===========================================  =========  ========

An error's `sent` says whether the vendor may have seen the call.
"""

from __future__ import annotations

from exporter.http.client import HttpClient
from exporter.http.exchange import Call, HttpOptions, Reply, reason_of, status_error
from exporter.http.pace import Account


__all__ = ["Account", "Call", "HttpClient", "HttpOptions", "Reply", "reason_of", "status_error"]
