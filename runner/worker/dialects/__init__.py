"""The worlds that bots were written for, one module each: what their own clients ask of this machine.

A dialect is spoken for bots whose dependencies name its packages, or whose bot.toml has it in `dialects`; no other bot
gets its variables or its token. Each has a prefix of the endpoint's address and its own token, and refuses in the words
that its clients know, with a 4xx.
"""
