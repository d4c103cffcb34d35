"""Policy documents: their statements, and what they allow."""

import fnmatch
import re

from model import ACCOUNT, items, mapping


HARMLESS = {
    ("Bool", "aws:securetransport", "true"),
    # In a trust policy: the service acts for this account.
    ("StringEquals", "aws:sourceaccount", ACCOUNT),
}


class Statement:
    """A statement with its lists made lists."""

    def __init__(self, raw):
        self.raw = raw
        self.id = raw.get("Sid") or "without a Sid"
        self.effect = raw.get("Effect")
        self.actions = [str(item) for item in items(raw.get("Action"))]
        self.resources = [str(item) for item in items(raw.get("Resource"))]
        self.condition = mapping(raw.get("Condition"))
        self.principal = raw.get("Principal")
        self.negated = [key for key in ("NotAction", "NotResource", "NotPrincipal") if key in raw]

    @property
    def allows(self):
        """Whether it is one that allows."""
        return self.effect == "Allow"

    def names_action(self, action):
        """Whether the action is one of its."""
        return any(fnmatch.fnmatchcase(action.lower(), own.lower()) for own in self.actions)

    def names_resource(self, arn):
        """Whether the resource is one of its."""
        return any(arn_matches(own, arn) for own in self.resources)

    def services(self):
        """The services that its principal names."""
        return [str(item) for item in items(mapping(self.principal).get("Service"))]

    def is_for_everybody(self):
        """Whether its principal is anybody at all."""
        return self.principal == "*" or "*" in items(mapping(self.principal).get("AWS"))


def arn_matches(pattern, arn):
    """Whether a pattern with `*` and `?` covers an ARN. `[` means nothing in IAM."""
    return re.fullmatch(re.escape(pattern).replace(r"\*", ".*").replace(r"\?", "."), arn, re.DOTALL) is not None


def is_within(pattern, arn):
    """Whether a pattern covers an ARN and nothing of another resource: its wildcards are in what follows the name."""
    own = arn
    if ":dynamodb:" in arn:
        own = "/".join(arn.split("/")[:2])
    elif ":logs:" in arn:
        own = arn.removesuffix(":*")
    elif ":secretsmanager:" in arn:
        # Six letters of Secrets Manager's follow the name.
        own = arn[:-7]
    before = re.split(r"[*?]", pattern)[0]
    return arn_matches(pattern, arn) and (pattern in (before, arn) or before.startswith(own))


def statements(document):
    """The statements of a document."""
    return [Statement(raw) for raw in items(mapping(document).get("Statement")) if isinstance(raw, dict)]


def role_documents(stack, role):
    """A role's policy documents: its own, and those of policies that name it or that it names."""
    documents = [mapping(policy).get("PolicyDocument") for policy in items(role.get("Policies"))]
    attached = items(role.get("ManagedPolicyArns"))
    for policy in stack.of("IAM::Policy", "IAM::ManagedPolicy", "IAM::RolePolicy"):
        roles = items(policy.get("Roles")) + items(policy.get("RoleName"))
        if role.name in roles or policy.ref in attached:
            documents.append(policy.get("PolicyDocument"))
    return documents


def role_statements(stack, role):
    """All statements that hold for a role."""
    return [statement for document in role_documents(stack, role) for statement in statements(document)]


def is_harmless(condition):
    """Whether a condition on an Allow always holds for calls from within the account over TLS."""
    return all(
        (operator, key.lower(), str(value).lower()) in HARMLESS
        for operator, keys in condition.items()
        for key, value in mapping(keys).items()
    )


def is_allowed(rules, action, arn):
    """Whether statements allow an action on a resource. What only holds under a condition does not count."""
    about = [rule for rule in rules if rule.names_action(action) and rule.names_resource(arn)]
    denied = any(rule.effect == "Deny" for rule in about)
    return not denied and any(rule.allows and is_harmless(rule.condition) for rule in about)
