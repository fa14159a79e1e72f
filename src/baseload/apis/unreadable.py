"""What reading JSON can raise for bytes that somebody else sent: no JSON, no text, or too deep."""

from msgspec import DecodeError

UNREADABLE = (DecodeError, UnicodeDecodeError, RecursionError)
