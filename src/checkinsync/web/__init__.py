"""Middleware for the web application: says whose request it is, by their login token."""

from checkinsync.web.middleware import USER, AsyncTokenAuth, TokenAuth, WebUser

__all__ = ["USER", "AsyncTokenAuth", "TokenAuth", "WebUser"]
