"""The web application: routes, endpoints, server and access control.

`endpoints` answers requests from a `View` of the daemon, `server` listens and limits clients, and
`access` authenticates clients. This package neither polls nor keeps readings. Only `/probe` and
`/-/reload` cause work elsewhere, through the view.
"""
