"""The template for those who build with `sam build`: the same, with the functions' source in place of their archives.

Derived and never kept, so that the two cannot differ. As a program it writes the template beside the one it is given.
"""

import os
import re
import sys

ARCHIVE = re.compile(r"^(?P<indent> +)CodeUri: \.\./target/lambda/(?P<name>\w+)/bootstrap\.zip$", re.M)
METADATA = re.compile(r"^    Type: AWS::Serverless::Function\n(?:    (?:Condition: |DeletionPolicy: |UpdateReplacePolicy: |# ).*\n)*    Metadata:\n", re.M)


def derive(text):
    """The template's text with sources; a `ValueError` where a function has no archive."""
    names = [found["name"] for found in ARCHIVE.finditer(text)]
    places = METADATA.findall(text)
    if not names or len(names) != len(places):
        raise ValueError(f"{len(places)} functions with metadata and {len(names)} with an archive")
    left = iter(names)
    text = METADATA.sub(lambda found: found.group() + _build(next(left)), text)
    return ARCHIVE.sub(r"\g<indent>CodeUri: ../functions/\g<name>", text)


def _build(name):
    return f"      BuildMethod: rust-cargolambda\n      BuildProperties: {{ Binary: {name} }}\n"


if __name__ == "__main__":
    template, target = sys.argv[1:]
    if os.path.dirname(os.path.abspath(template)) != os.path.dirname(os.path.abspath(target)):
        sys.exit("the sources are named relative to the template: it must be written beside it")
    with open(template, encoding="utf-8") as file:
        derived = derive(file.read())
    with open(target, "w", encoding="utf-8") as file:
        file.write(derived)
