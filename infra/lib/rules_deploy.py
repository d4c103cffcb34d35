"""Rules about deployments: by and by where it counts, and back when an alarm goes off."""

from graph import environment, is_ours, program
from iam import arn_matches, is_allowed, is_harmless, role_statements
from model import ACCOUNT, REGION, items, mapping, truth
from rules import rule
from rules_alarms import watched

# IAM asks for the first two on the function, for the last on what it is provisioned for.
ON_FUNCTION, ON_ALIAS = ("lambda:GetAlias", "lambda:UpdateAlias"), ("lambda:GetProvisionedConcurrencyConfig",)


def deployments(stack):
    """The deployment groups, each with its alias and function."""
    for alias in stack.of("Lambda::Alias"):
        update = mapping(mapping(alias.raw.get("UpdatePolicy")).get("CodeDeployLambdaAliasUpdate"))
        group = stack.by("CodeDeploy::DeploymentGroup", stack.value(update.get("DeploymentGroupName")))
        function = stack.by("Lambda::Function", stack.function_name(alias), "name")
        if group and function:
            yield group, alias, function


def is_gradual(group):
    """Whether a deployment group shifts traffic by and by."""
    return any(word in str(group.get("DeploymentConfigName")) for word in ("Canary", "Linear"))


@rule("in live mode new code takes traffic by and by")
def gradual(stack):
    if not is_ours(stack):
        return
    modes = {environment(function).get("STRIPE_MODE") for function in stack.of("Lambda::Function")}
    reached = {function.id: group for group, _, function in deployments(stack)}
    for function in stack.of("Lambda::Function"):
        if program(function) not in ("webhook", "consumer"):
            continue
        config = (
            str(reached[function.id].get("DeploymentConfigName")) if function.id in reached else "no deployment group"
        )
        if "live" in modes and not any(word in config for word in ("Canary", "Linear")):
            yield (
                function.id,
                f"is deployed by {config} in live mode: a bad version gets all events at once; use Canary or Linear",
            )


@rule("a deployment goes back when the function's errors or its end result tell so")
def rollback(stack):
    for group, _, function in deployments(stack):
        # All traffic at once leaves no time to look, and without alarms there is nothing to look at.
        if is_ours(stack) and not (is_gradual(group) and stack.of("CloudWatch::Alarm")):
            continue
        names = [mapping(item).get("Name") for item in items(group.get("AlarmConfiguration", "Alarms"))]
        alarms = [stack.by("CloudWatch::Alarm", name, "name") for name in names]
        if None in alarms:
            yield group.id, f"goes back on {names[alarms.index(None)]}, which is no alarm of this template"
        seen = [each for alarm in alarms if alarm for each in watched(alarm)]
        if not any(each.name == "Errors" and each.dimensions.get("FunctionName") == function.name for each in seen):
            yield group.id, f"does not go back on an alarm on {function.id}'s Errors: a version that crashes stays"
        if (
            truth(group.get("AlarmConfiguration", "Enabled")) is not True
            or truth(group.get("AutoRollbackConfiguration", "Enabled")) is not True
        ):
            yield group.id, "does not go back by itself"
        if truth(group.get("AlarmConfiguration", "IgnorePollAlarmFailure")):
            yield group.id, "goes on when the alarms cannot be read"


@rule("deployments may shift traffic and see the alarms, and nothing else")
def role(stack):
    for role_ in stack.of("IAM::Role"):
        groups = [
            (group, alias, function)
            for group, alias, function in deployments(stack)
            if group.get("ServiceRoleArn") == role_.arn
        ]
        granted = role_statements(stack, role_)
        needed = {(action, function.arn) for _, _, function in groups for action in ON_FUNCTION}
        needed |= {(action, alias.ref) for _, alias, _ in groups for action in ON_ALIAS}
        alarms = {
            f"arn:aws:cloudwatch:{REGION}:{ACCOUNT}:alarm:{mapping(item).get('Name')}"
            for group, _, _ in groups
            for item in items(group.get("AlarmConfiguration", "Alarms"))
        }
        if not groups or not is_ours(stack):
            continue
        for action, arn in sorted(needed):
            if not is_allowed(granted, action, arn):
                yield role_.id, f"does not allow {action} on {arn}: the deployment fails"
        for arn in sorted(alarms):
            if not is_allowed(granted, "cloudwatch:DescribeAlarms", arn):
                yield role_.id, f"does not allow cloudwatch:DescribeAlarms on {arn}: the deployment fails"
        for each in granted:
            for action in each.actions if each.allows and is_harmless(each.condition) else ():
                for resource in each.resources:
                    of_lambda = any(action == own for own, _ in needed) and any(
                        arn_matches(resource, arn) or resource == arn + ":*" for _, arn in needed
                    )
                    of_alarms = action == "cloudwatch:DescribeAlarms" and resource.endswith((":alarm:*", *alarms))
                    if not of_lambda and not of_alarms:
                        yield (
                            role_.id,
                            f"statement {each.id} allows {action} on {resource}, which a deployment does not need",
                        )
