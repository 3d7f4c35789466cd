"""Show the source code of functions in notebooks."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from IPython.display import Markdown


def code_of(function: Callable[..., object]) -> Markdown:
    """Return the source code of a function for a notebook, which highlights it in its own theme."""
    from IPython.display import Markdown

    return Markdown(f"```python\n{inspect.getsource(function)}```")
