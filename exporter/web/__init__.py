"""The web side: the application with its routes, and what stands around it.

`endpoints` answers requests from a `View` of the daemon, `server` listens and limits clients, and
`access` decides who is let in. Nothing in here polls or keeps readings; only a probe and a reload
cause work elsewhere, and they do it through the view.
"""
