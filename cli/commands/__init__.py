"""The commands, one noun a file; each reads its arguments, asks the client and shows the answer."""
