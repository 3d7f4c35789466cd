"""Find functions that take settings although they need a folder, a name or an opened object."""

import ast
from pathlib import Path

_PLACES = {"comparison", "dataset", "name", "prepared", "raw", "results"}  # fields for folders and names


def find_idle_settings(file: Path) -> list[str]:
    """Return the functions of a file that take settings only for folders and names, or to hand them on."""
    functions = [
        node for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))) if isinstance(node, ast.FunctionDef)
    ]
    return [function.name for function in functions if _is_idle(function)]


def _is_idle(function: ast.FunctionDef) -> bool:
    given = [*function.args.args, *function.args.kwonlyargs]
    names = {each.arg for each in given if each.annotation and ast.unparse(each.annotation) == "Settings"}
    fields = {
        node.attr
        for node in ast.walk(function)
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in names
    }
    return bool(names) and fields <= _PLACES
