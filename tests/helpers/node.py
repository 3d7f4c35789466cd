"""Call functions of the page's scripts in Node.js, to test them without a browser."""

import json
import shutil
import subprocess
from base64 import b64decode, b64encode

import numpy as np

from helpers.paths import ROOT

NODE = shutil.which("node")
_KINDS = {
    "uint8": "Uint8Array", "int8": "Int8Array", "uint16": "Uint16Array", "int16": "Int16Array", "uint32": "Uint32Array",
    "float32": "Float32Array", "float64": "Float64Array",
}  # fmt: skip
_RUN = """
import { readFileSync } from "node:fs";
const kinds = { Uint8Array, Int8Array, Uint16Array, Int16Array, Uint32Array, Float32Array, Float64Array };
const decode = (_, value) => {
  if (value?.file) return new File([Buffer.from(value.bytes, "base64")], value.file);
  if (!value?.kind) return value;
  const bytes = Buffer.from(value.bytes, "base64");
  return new kinds[value.kind](Uint8Array.from(bytes).buffer);
};
const encode = (_, value) =>
  ArrayBuffer.isView(value)
    ? {
        kind: value.constructor.name,
        bytes: Buffer.from(value.buffer, value.byteOffset, value.byteLength).toString("base64"),
      }
    : value;
const results = [];
for (const [module, name, values] of JSON.parse(readFileSync(0, "utf-8"), decode)) {
  const called = (await import(`./${module}.js`))[name];
  try {
    const result = await called(...values);
    results.push(result instanceof Blob ? new Uint8Array(await result.arrayBuffer()) : result);
  } catch (error) {
    results.push({ error: error.message });
  }
}
process.stdout.write(JSON.stringify(results, encode));
"""


def call_scripts(folder, calls):
    """Call functions of `lungnb/page`, and return their results. A call is (script, function, values).

    Values may be arrays. A `NamedFile` becomes a file. If a function throws, the result has the message as `error`.
    """
    for script in (ROOT / "lungnb" / "page").glob("*.js"):
        shutil.copy(script, folder)
    (folder / "package.json").write_text('{"type": "module"}')
    (folder / "run.js").write_text(_RUN)
    text = json.dumps([[script, name, values] for script, name, *values in calls], default=_encode)
    done = subprocess.run([NODE, "run.js"], cwd=folder, input=text, capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout, object_hook=_decode)


class NamedFile:
    """A file as an argument: name and bytes."""

    def __init__(self, name, content):
        self.name, self.content = name, content


def _encode(value):
    if isinstance(value, NamedFile):
        return {"file": value.name, "bytes": b64encode(value.content).decode()}
    if isinstance(value, np.ndarray):
        return {"kind": _KINDS[str(value.dtype)], "bytes": b64encode(value.tobytes()).decode()}
    return value.item()  # a number of NumPy


def _decode(value):
    if "kind" not in value:
        return value
    kind = next(name for name, each in _KINDS.items() if each == value["kind"])
    return np.frombuffer(b64decode(value["bytes"]), kind)
