"""What the functions called, held against their roles' policies and against the list of calls.

The emulator enforces no permissions. So every call that the proxies saw is looked up in the policy as it is in the
template, and the list says what must have been seen. Calls that Lambda makes for a function, as its role, are not seen:
the poller's of the queue and of the stream, and the log's.
"""

import fnmatch
import json
import os

from .run import require

ROLES = {"webhook": "WebhookRole", "consumer": "ConsumerRole", "access": "AccessRole"}


def allowed(ground):
    """Every call is allowed by the function's own role."""
    resolver = ground.stack.resolver()
    refused = set()
    for function, role in ROLES.items():
        if not ground.has(role):
            continue
        properties = resolver.value(ground.stack.template["Resources"][role]["Properties"])
        statements = [it for policy in properties["Policies"] for it in policy["PolicyDocument"]["Statement"]]
        for call in ground.proxies[function].calls():
            if not any(_allows(statement, call) for statement in statements):
                refused.add(f"{function}: {call}")
    require(not refused, f"no policy allows {sorted(refused)[:6]}")
    stray = {repr(call) for call in ground.proxies["stray"].calls()}
    require(not stray, f"calls past the functions' own endpoints: {sorted(stray)}")
    counts = {name: len(ground.proxies[name].calls()) for name in ROLES if ground.proxies[name].calls()}
    return ", ".join(f"{count} calls by {name}" for name, count in counts.items())


def listed(ground):
    """The functions called what infra/lib/calls.json lists, all of it and nothing else."""
    with open(os.path.join(ground.root, "infra", "lib", "calls.json"), encoding="utf-8") as file:
        lists = json.load(file)
    wrong = []
    for function, role in ROLES.items():
        if not ground.has(role):
            continue
        called = {(call.action, _label(ground, call.resource)) for call in ground.proxies[function].calls()}
        wanted = {(action, label) for action, labels in lists.get(function, {}).items() for label in labels}
        wrong += [f"{function} called {action} on {label}, not listed" for action, label in sorted(called - wanted)]
        wrong += [f"{function} never called {action} on {label}" for action, label in sorted(wanted - called)]
    require(not wrong, "; ".join(wrong))


def _label(ground, resource):
    """What the list calls a resource."""
    name, _, rest = str(resource).partition("/")
    if ":secret:" in name:
        return "secrets"
    labels = {"EventsQueue": "queue", "BillingTable": "billing", "EventsTable": "events"}
    for logical, label in labels.items():
        if ground.id(logical).rsplit("/", 1)[-1] == name:
            return f"{label}/{rest}" if rest else label
    return "bus" if name == ground.stack.values.get("AccessEventBusName") else name


def _allows(statement, call):
    if statement["Effect"] != "Allow":
        return False
    actions, resources = (_list(statement[key]) for key in ("Action", "Resource"))
    named = any(fnmatch.fnmatchcase(call.action, action) for action in actions)
    # The end of an ARN is the resource's name; an index has its table before it, and a secret's six letters after it.
    return named and any(_names(resource, call.resource) for resource in resources)


def _names(arn, name):
    if name is None:
        return False
    end = arn.split(":", 5)[-1]
    return name in (arn, end) or end.split(":")[-1] == name or end.split("/", 1)[-1] == name


def _list(value):
    return value if isinstance(value, list) else [value]
