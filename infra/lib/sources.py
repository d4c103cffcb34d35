"""What the Rust code says that the template must agree with: variables, metrics, reasons, keys, calls.

Read from the source, so that neither can change without the other.
"""

import functools
import json
import os
import re

ROOT = os.path.realpath(os.path.join(os.path.dirname(__file__), "..", ".."))


def read(path):
    """A file of the repository; nothing where it is not there."""
    try:
        with open(os.path.join(ROOT, path), encoding="utf-8") as file:
            return file.read()
    except FileNotFoundError:
        return ""


@functools.cache
def variables(program):
    """The variables that a function documents: which, and whether each is required. None without its source."""
    # A row may name several.
    rows = re.findall(r"^//! \| (`[A-Z0-9_`, ]+`) \|.*\| ([^|]*) \|$", read(f"functions/{program}/src/config.rs"), re.M)
    found = {name: default.strip() == "required" for names, default in rows for name in re.findall(r"\w+", names)}
    return found or None


@functools.cache
def metrics():
    """The metrics that the functions write: by name, whether each counts (else it measures)."""
    found = re.findall(r'Metric::(count|seconds)\("(\w+)"\)', read("crates/core/src/metrics.rs"))
    return {name: kind == "count" for kind, name in found}


@functools.cache
def reasons():
    """The reasons that a refusal is counted by."""
    text = read("crates/core/src/signature.rs") + read("functions/webhook/src/answer.rs")
    return set(re.findall(r'=> "([a-z0-9_]+)"', text))


@functools.cache
def constant(path, name):
    """The text of a constant."""
    found = re.search(rf'const {name}: &(?:\'static )?str = "([^"]*)"', read(path))
    return found.group(1) if found else None


@functools.cache
def indexes():
    """The indexes of each table by the variable that names it: name, keys and projection."""
    keys = functools.partial(constant, "crates/store/src/keys.rs")
    return {
        "BILLING_TABLE": [
            (keys("BY_CUSTOMER"), [(keys("CPK"), "S"), (keys("CSK"), "S")], "ALL"),
            (keys("OPEN"), [(keys("OPEN"), "S"), (constant("crates/store/src/rows.rs", "AT"), "N")], "KEYS_ONLY"),
            (keys("FOUND_BY"), [(keys("FPK"), "S"), (keys("PK"), "S")], "KEYS_ONLY"),
            (keys("ENDS"), [(keys("ENDS"), "S"), (keys("ENDS_AT"), "N")], "KEYS_ONLY"),
        ],
        "EVENTS_TABLE": [
            (keys("PARKED"), [(keys("PARKED"), "S"), (keys("RECEIVED"), "N")], "ALL"),
            (keys("TIMELINE"), [(keys("CPK"), "S"), (keys("CTIME"), "S")], "INCLUDE"),
        ],
    }


@functools.cache
def table_keys():
    """The keys of both tables."""
    keys = functools.partial(constant, "crates/store/src/keys.rs")
    return (keys("PK"), "S"), (keys("SK"), "S")


def expiry_attribute():
    """What the ledger's records expire by."""
    return constant("crates/store/src/ledger.rs", "EXPIRES")


@functools.cache
def calls():
    """The calls to AWS that each program makes, see `calls.json`."""
    with open(os.path.join(os.path.dirname(__file__), "calls.json"), encoding="utf-8") as file:
        return json.load(file)


@functools.cache
def call_seconds(program):
    """How long a call of this program's to its queue or tables takes at most, in seconds."""
    path = "crates/queue/src/sqs.rs" if program == "webhook" else "crates/store/src/lib.rs"
    found = re.search(r"call: Duration::from_secs\((\d+)\)", read(path))
    return int(found.group(1)) if found else 0
