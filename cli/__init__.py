"""The `botkeep` command: an HTTP client, and `up`, which starts the processes of a small installation.

It imports none of the other packages: what runs beside it is started as a process, what it asks it asks over
HTTP.
"""
