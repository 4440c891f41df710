"""The pages: what people see and do in a browser, made on the server and shown by templates.

A page is a route like any other, with a permission and a caller; its forms post to routes of their own, call the
commands that the HTTP API calls, and answer a redirect. Everything works with JavaScript off. No page can show a
value: nothing here could read one.
"""
