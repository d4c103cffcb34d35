"""Under which parameters a template is judged: a fault may hide in a branch that the defaults do not take.

These are the defaults, each other value that a condition asks for, all options on, and with them all tables named by
parameters instead of made, all numbers at their lowest and at their highest, and each word that a parameter allows.
"""

from model import DEFAULTS, STREAM_LABEL, Stack, items, mapping, naming_parameter, number, references, truth

# What stands for a value of a parameter that has no default, and for "something" where a condition asks for nothing.
SAMPLE = "sample"


def stacks(template):
    """The stacks to judge, the one of the defaults first."""
    parameters = {name: p for name, p in mapping(template.get("Parameters")).items() if isinstance(p, dict)}
    defaults = {name: _default(parameter) for name, parameter in parameters.items()}
    made = [Stack(template, defaults, DEFAULTS)]

    choices = {}
    for name, literal in comparisons(template):
        if name in parameters:
            choices.setdefault(name, []).extend(_values(name, parameters[name], literal))
    named = named_tables(template)
    labels = {name: value for name, value in named.items() if value == STREAM_LABEL}
    for name, values in choices.items():
        for value in dict.fromkeys(values):
            if str(value) != str(defaults[name]):
                # A named table without its stream is refused where the stream is read.
                also = labels if name in named else {}
                made.append(Stack(template, {**defaults, name: value, **also}, f"{name}={value!r}"))

    # Of each parameter the value that makes the most of the template.
    full = dict(defaults)
    for stack in made[1:]:
        if size(stack) > size(made[0]):
            full |= {name: value for name, value in stack.values.items() if value != defaults[name]}
    made.append(Stack(template, full, "all options on"))
    if named:
        made.append(Stack(template, full | named, "all options on and all tables named"))
    for bound, best, label in (("MinValue", min, "lowest"), ("MaxValue", max, "highest")):
        numbers = {name: p[bound] for name, p in parameters.items() if number(p.get(bound)) is not None}
        numbers |= {name: best(numeric(p), key=number) for name, p in parameters.items() if numeric(p)}
        made.append(Stack(template, full | numbers, f"all options on and all numbers at their {label}"))
    words = {
        name: items(p.get("AllowedValues")) for name, p in parameters.items() if name not in choices and not numeric(p)
    }
    for index in range(max(map(len, words.values()), default=0)):
        chosen = {name: values[index] for name, values in words.items() if index < len(values)}
        made.append(Stack(template, full | chosen, ", ".join(f"{name}={value!r}" for name, value in chosen.items())))
    return made


def named_tables(template):
    """A name for each parameter that names a table, and a stream's label for each that only a mapping's source asks."""
    resources = [raw for raw in mapping(template.get("Resources")).values() if isinstance(raw, dict)]
    found = {name: f"{SAMPLE}-{name}" for name in (naming_parameter(template, raw) for raw in resources) if name}
    if found:
        sources = [mapping(raw.get("Properties")).get("EventSourceArn") for raw in resources]
        asked = {name for name, _ in references(sources)} & set(mapping(template.get("Parameters")))
        found |= {name: STREAM_LABEL for name in asked - set(found)}
    return found


def numeric(parameter):
    """The values that a parameter allows, where all of them are numbers."""
    allowed = items(parameter.get("AllowedValues"))
    return allowed if all(number(value) is not None for value in allowed) else []


def size(stack):
    """How much there is in a stack."""
    return len(stack.resources) + sum(len(str(resource.properties)) for resource in stack.resources.values()) / 1e6


def comparisons(template):
    """The parameters that conditions compare, each with the text that it is compared with."""
    pending = list(mapping(template.get("Conditions")).values())
    while pending:
        value = pending.pop()
        for key, argument in mapping(value).items():
            if key == "Fn::Equals" and isinstance(argument, list) and len(argument) == 2:
                names = [
                    side["Ref"] for side in argument if isinstance(side, dict) and isinstance(side.get("Ref"), str)
                ]
                literals = [side for side in argument if not isinstance(side, (dict, list))]
                if names and literals:
                    yield names[0], literals[0]
            pending.extend(items(argument))


def _default(parameter):
    if "Default" in parameter:
        return parameter["Default"]
    allowed = items(parameter.get("AllowedValues"))
    if allowed:
        return allowed[0]
    return parameter.get("MinValue", 1) if parameter.get("Type") == "Number" else SAMPLE


def _values(name, parameter, literal):
    """The values that matter where a parameter is compared with this text: it, and another."""
    allowed = items(parameter.get("AllowedValues"))
    if allowed:
        return allowed
    if number(literal) is not None and truth(literal) is None:
        return [literal, parameter.get("MaxValue", number(literal) + 1)]
    return [literal, f"{SAMPLE}-{name}"]
