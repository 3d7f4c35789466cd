#!/bin/sh
# Run a command with the programs of .venv first on the path, so that git's hooks find them without an activated .venv.
PATH="$PWD/.venv/bin:$PWD/.venv/Scripts:$PATH" exec "$@"
