"""Text as it was meant, whatever escaped it."""


def whole(text: str) -> str:
    """The text with pairs of surrogates as the characters that they stand for: JSON writes those beyond U+FFFF so, and
    YAML reads two. Raises ValueError for half a pair, which nothing could print or store."""
    if text.isascii():
        return text
    try:
        return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le")
    except UnicodeDecodeError as error:
        raise ValueError("expected text, found half a character: \\ud800 to \\udfff come in pairs") from error
