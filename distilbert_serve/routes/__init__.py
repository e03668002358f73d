"""The routes of a server, one module for each protocol. `router(answering)` of a module returns its routes."""
