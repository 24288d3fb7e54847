"""What a database says when it fails, and what to do then: one line, without the statement and its values."""

LOCKED = "is locked"
_REMEDIES = {
    "readonly database": "let this user write its file, those beside it (-wal, -shm) and their folder",
    "unable to open": "expected a file that this user may read and write, in a folder where they may make others",
    "is not a database": "name a file of SQLite's, or one that is not there yet",
    "disk is full": "make room on its disk",
    "No space left": "make room on its disk",
    LOCKED: "another program holds it: try again once that one has ended",
    "read-only transaction": "name the server that takes writes, and not its standby",
    "permission denied": "give this user the rights of the one that made the tables",
}


def told(error: Exception, otherwise: str = "") -> str:
    """The reason, and what to do about it; `otherwise` where nothing is known that helps."""
    reason = " ".join(str(getattr(error, "orig", None) or error).split())
    found = next((remedy for words, remedy in _REMEDIES.items() if words in reason), otherwise)
    return f"{reason}; {found}" if found else reason
