"""Write a page that segments films in a browser, without a server and without a connection."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(__name__, submod_attrs={"writing": ["write_page"]})
