"""Read which module of a package imports which, without importing any of them."""

import ast
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import NamedTuple


class Import(NamedTuple):
    """An import of one module by another, at the top of a file or inside a function."""

    importer: str
    imported: str
    line: int


def find_modules(root: Path) -> dict[str, Path]:
    """Return the files below the folder of a package by the names of their modules, such as `lungnb.formats.images`."""
    parts = {file: (root.name, *file.relative_to(root).with_suffix("").parts) for file in sorted(root.rglob("*.py"))}
    return {".".join(names).removesuffix(".__init__"): file for file, names in parts.items()}


def find_imports(root: Path) -> list[Import]:
    """Return every import of one module of the package by another.

    If an `__init__.py` offers the imported name lazily, the import counts as one of the module that defines the name.
    """
    modules = find_modules(root)
    offers = {name: lazy_names(file) for name, file in modules.items()}
    imports = []
    for importer, file in modules.items():
        package = importer if file.name == "__init__.py" else importer.rpartition(".")[0]
        for name, line in _imported_names(file, package):
            imported = _defining_module(name, offers)
            if imported not in ("", importer):
                imports.append(Import(importer, imported, line))
    return imports


def lazy_names(file: Path) -> dict[str, str]:
    """Return the names that a file gives to `lazy_loader.attach`, each with the submodule that it comes from."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "lazy_loader.attach":
            arguments = {keyword.arg: ast.literal_eval(keyword.value) for keyword in node.keywords}
            submodules = arguments.get("submod_attrs", {})
            return {name: submodule for submodule, names in submodules.items() for name in names}
    return {}


def level_faults(root: Path, levels: tuple[tuple[str, ...], ...]) -> list[str]:
    """Return a sentence for each import that the levels forbid, and for each part of the package without a level.

    `levels` names the packages and files directly in `root`, the lowest level first. A module may import from lower
    levels and from its own package. Files directly in `root` may also import files of their own level.
    """
    level_of = {name: level for level, names in enumerate(levels) for name in names}
    level_of[""] = -1  # the `__init__.py` in `root`
    parts = {name: [*name.split(".")[1:], ""][0] for name in find_modules(root)}
    faults = [f"{root.name}.{part} has no level" for part in sorted({*parts.values()} - {*level_of})]
    for importer, imported, line in find_imports(root):
        here, there = parts[importer], parts[imported]
        both_files = not (root / here).is_dir() and not (root / there).is_dir()
        is_lower = level_of.get(there, -1) < level_of.get(here, len(levels))
        is_own = here == there or (both_files and level_of.get(here) == level_of.get(there))
        if not is_lower and not is_own:
            faults.append(f"{importer}, line {line}: imports {imported}, which is not on a lower level")
    return faults


def find_cycle(root: Path) -> list[str]:
    """Return the modules of a circle of imports, with the first one repeated at the end; nothing without a circle."""
    graph: dict[str, set[str]] = {}
    for importer, imported, _ in find_imports(root):
        graph.setdefault(importer, set()).add(imported)
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return list(error.args[1])
    return []


def _imported_names(file: Path, package: str) -> Iterator[tuple[str, int]]:
    """Yield the full name of whatever a file imports, such as `lungnb.formats.images.write_png`, with the line."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".")
            relative = above[: len(above) - node.level + 1] if node.level else []
            start = ".".join([*relative, *filter(None, [node.module])])
            yield from ((f"{start}.{alias.name}", node.lineno) for alias in node.names)


def _defining_module(name: str, offers: dict[str, dict[str, str]]) -> str:
    """Return the module that an imported name is or is defined in; an empty text for another package's."""
    module, *rest = name.split(".")
    while rest and f"{module}.{rest[0]}" in offers:
        module = f"{module}.{rest.pop(0)}"
    while rest and rest[0] in offers.get(module, ()):
        module = f"{module}.{offers[module][rest[0]]}"
    return module if module in offers else ""
