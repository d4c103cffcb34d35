"""Small changes to a loaded template, for putting faults into it.

A path is `Queue/RedrivePolicy/maxReceiveCount`, from a resource's properties; or it begins with a section of the
template (`Parameters/Mode/Default`, `Resources/Queue/DeletionPolicy`). Numbers count in lists. What a path leads
through must be there.
"""

import copy

SECTIONS = ("Conditions", "Globals", "Metadata", "Outputs", "Parameters", "Resources", "Rules", "Transform")


def put(path, value):
    """Sets what is at the path, which may be new."""

    def change(template):
        holder, key = _find(template, path)
        holder[key] = copy.deepcopy(value)

    return change


def drop(path):
    """Takes away what is at the path."""

    def change(template):
        holder, key = _find(template, path)
        del holder[key]

    return change


def add(path, value):
    """Appends to the list at the path."""

    def change(template):
        holder, key = _find(template, path)
        holder[key].append(copy.deepcopy(value))

    return change


def replace(path, old, new):
    """Replaces part of the text at the path; the part must be there."""

    def change(template):
        holder, key = _find(template, path)
        if old not in holder[key]:
            raise ValueError(f"no {old!r} at {path}")
        holder[key] = holder[key].replace(old, new)

    return change


def swap(path, other):
    """Exchanges what is at two paths."""

    def change(template):
        (one, key), (two, other_key) = _find(template, path), _find(template, other)
        one[key], two[other_key] = two[other_key], one[key]

    return change


def resource(id, kind, properties, **rest):
    """Adds a resource."""
    return put(f"Resources/{id}", {"Type": f"AWS::{kind}", **rest, "Properties": properties})


def all_of(*changes):
    """Several changes as one."""

    def change(template):
        for each in changes:
            each(template)

    return change


def _find(template, path):
    parts = path.split("/")
    if parts[0] not in SECTIONS:
        parts = ["Resources", parts[0], "Properties", *parts[1:]]
    place = template
    for part in parts[:-1]:
        place = place[int(part) if isinstance(place, list) else part]
    return place, int(parts[-1]) if isinstance(place, list) else parts[-1]
