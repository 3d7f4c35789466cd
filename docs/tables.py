"""Small parts of Markdown for generated pages."""

from collections.abc import Iterable


def table(header: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """Return a table."""
    header = list(header)
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(map(str, line))} |" for line in lines)


def cell(text: str) -> str:
    """Return a text as it may be in a cell."""
    return " ".join(text.replace("|", r"\|").split())


def capital(text: str) -> str:
    """Return a text with a capital at the beginning."""
    return text[:1].upper() + text[1:]
