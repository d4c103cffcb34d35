"""Rules about the API: the senders' only way in."""

import json
import re

from graph import is_ours, program, target
from iam import arn_matches
from model import ACCOUNT, REGION, mapping, number, truth
from rules import rule
from rules_queues import timeout

# The paths that the webhook answers; for each the variable of the secret that it needs.
PATHS = {
    "/webhooks/stripe": "STRIPE_WEBHOOK_SECRET_ARN",
    "/webhooks/bearbilling": "BEARBILLING_WEBHOOK_SECRET_ARN",
}
# What an access log may hold. A header or body, and what an authorizer made, may be a credential.
LOGGED = re.compile(
    r"\$context\.(requestId|extendedRequestId|requestTime(Epoch)?|identity\.sourceIp|identity\.userAgent|httpMethod|"
    r"path|protocol|routeKey|stage|status|response(Length|Latency)|integration\w*|integration\.\w+|error\.\w+|"
    r"domainName|domainPrefix|accountId|apiId|awsEndpointRequestId|resourceId|resourcePath)\b"
)


def integration_of(stack, route):
    """The integration that a route leads to, or None."""
    name = str(route.get("Target")).removeprefix("integrations/")
    return stack.by("ApiGatewayV2::Integration", name) if str(route.get("Target")).startswith("integrations/") else None


def function_of(stack, route):
    """The function and the alias that a route leads to, each or None."""
    integration = integration_of(stack, route)
    return target(stack, integration.get("IntegrationUri")) if integration else (None, None)


@rule("routes lead to integrations of the same API")
def routes(stack):
    for route in stack.of("ApiGatewayV2::Route"):
        api = stack.by("ApiGatewayV2::Api", route.get("ApiId"))
        integration = integration_of(stack, route)
        if api is None:
            yield route.id, f"ApiId {route.get('ApiId')} is no API of this template"
        if integration is None:
            yield (
                route.id,
                f"Target {route.get('Target')} is no integration of this template; use integrations/<its Ref>",
            )
        elif integration.get("ApiId") != route.get("ApiId"):
            yield route.id, f"leads to {integration.id} of another API"
    for each in stack.of("ApiGatewayV2::Stage", "ApiGatewayV2::Integration"):
        if not stack.by("ApiGatewayV2::Api", each.get("ApiId")):
            yield each.id, f"ApiId {each.get('ApiId')} is no API of this template"
    keys = [(route.get("ApiId"), route.get("RouteKey")) for route in stack.of("ApiGatewayV2::Route")]
    for route in stack.of("ApiGatewayV2::Route"):
        if keys.count((route.get("ApiId"), route.get("RouteKey"))) > 1:
            yield route.id, f"RouteKey {route.get('RouteKey')} is there twice"


@rule("the senders' routes are there, and no other")
def paths(stack):
    for function in stack.of("Lambda::Function"):
        if program(function) != "webhook":
            continue
        routes = [route for route in stack.of("ApiGatewayV2::Route") if function_of(stack, route)[0] is function]
        keys = {route.get("RouteKey") for route in routes}
        token = function.get("Environment", "Variables", "WEBHOOK_PATH_TOKEN")
        paths_ = {path + (f"/{token}" if token else ""): variable for path, variable in PATHS.items()}
        stripe = next(iter(paths_))
        if f"POST {stripe}" not in keys:
            yield function.id, f"no route POST {stripe} leads to it: Stripe's deliveries are answered 404"
        for route in stack.of("ApiGatewayV2::Route"):
            method, _, path = str(route.get("RouteKey")).partition(" ")
            if method != "POST" or path not in paths_:
                yield (
                    route.id,
                    f"RouteKey is {route.get('RouteKey')}; the webhook answers POST on {' and '.join(paths_)}",
                )
            elif not function.get("Environment", "Variables", paths_[path]):
                yield route.id, f"is there, but {function.id} has no {paths_[path]}: everything on it is answered 500"
            if route not in routes:
                yield route.id, "does not lead to the webhook"
        for path, variable in paths_.items():
            if function.get("Environment", "Variables", variable) and f"POST {path}" not in keys:
                yield function.id, f"has {variable}, but no route POST {path} leads to it"


@rule("routes ask for no credentials that the senders do not have")
def open_routes(stack):
    for route in stack.of("ApiGatewayV2::Route"):
        asks = (
            route.get("AuthorizationType") not in (None, "NONE")
            or route.get("AuthorizerId")
            or truth(route.get("ApiKeyRequired"))
        )
        function, _ = function_of(stack, route)
        if asks and function and program(function) == "webhook":
            yield route.id, (
                "asks for credentials, which Stripe cannot present: every delivery is refused; the signature is"
                " what counts"
            )
    for api in stack.of("ApiGatewayV2::Api"):
        domains = stack.of("ApiGatewayV2::ApiMapping")
        if truth(api.get("DisableExecuteApiEndpoint")) and not domains:
            yield api.id, "DisableExecuteApiEndpoint is on and there is no domain: nobody can reach the API"
        if api.get("ProtocolType") != "HTTP" and not api.get("Body") and not api.get("BodyS3Location"):
            yield api.id, f"ProtocolType is {api.get('ProtocolType')}; it must be HTTP"
        if api.get("CorsConfiguration") or truth(mapping(api.get("Body")).get("x-amazon-apigateway-cors")):
            yield api.id, "has a CORS configuration: no browser calls a webhook; remove it"
    for domain in stack.of("ApiGatewayV2::DomainName"):
        if domain.get("MutualTlsAuthentication"):
            yield domain.id, "asks for client certificates, which Stripe does not present"


@rule("integrations hand requests to the function as it reads them")
def integrations(stack):
    for each in stack.of("ApiGatewayV2::Integration"):
        if each.get("IntegrationType") != "AWS_PROXY":
            yield each.id, f"IntegrationType is {each.get('IntegrationType')}; a function's is AWS_PROXY"
        if str(each.get("PayloadFormatVersion")) != "2.0":
            yield each.id, f"PayloadFormatVersion is {each.get('PayloadFormatVersion')}; the function reads 2.0"
        if each.get("IntegrationMethod") not in (None, "POST"):
            yield each.id, f"IntegrationMethod is {each.get('IntegrationMethod')}; Lambda is invoked by POST"
        if each.get("RequestParameters") or each.get("RequestTemplates"):
            yield each.id, "changes the request: a signature holds for the request as it was sent"
        if each.get("ConnectionType") not in (None, "INTERNET"):
            yield each.id, f"ConnectionType is {each.get('ConnectionType')}; a function's is INTERNET"
        if each.get("CredentialsArn"):
            yield each.id, "CredentialsArn takes the place of the function's permission; remove it"
        function, _ = target(stack, each.get("IntegrationUri"))
        if function is None:
            yield each.id, f"IntegrationUri {each.get('IntegrationUri')} is no function of this template"
        limit = number(30000 if each.get("TimeoutInMillis") is None else each.get("TimeoutInMillis"))
        if limit is None or not 50 <= limit <= 30000:
            yield each.id, f"TimeoutInMillis is {limit}; an HTTP API takes 50 to 30000"
        elif function and limit <= 1000 * (timeout(function) or 0):
            yield each.id, (
                f"TimeoutInMillis is {limit}, not above the {timeout(function)} s of {function.id}: the API gives"
                " up while the function goes on, and its timeouts are not counted as its errors"
            )


@rule("the API may invoke the function, on its routes only")
def permissions(stack):
    for route in stack.of("ApiGatewayV2::Route"):
        function, alias = function_of(stack, route)
        method, _, path = str(route.get("RouteKey")).partition(" ")
        stages = [stage.ref for stage in stack.of("ApiGatewayV2::Stage") if stage.get("ApiId") == route.get("ApiId")]
        for stage in stages if function else []:
            arn = f"arn:aws:execute-api:{REGION}:{ACCOUNT}:{route.get('ApiId')}/{stage}/{method}{path}"
            if not any(
                lets_in(stack, permission, function, alias, arn) for permission in stack.of("Lambda::Permission")
            ):
                yield route.id, (
                    f"no permission lets apigateway.amazonaws.com invoke {(alias or function).id} from {arn}: every"
                    " request is answered 500"
                )
    for permission in stack.of("Lambda::Permission"):
        api = str(permission.get("SourceArn")).partition(":execute-api:")[2]
        if permission.get("Principal") == "apigateway.amazonaws.com" and api:
            rest = api.split(":", 2)[-1]
            if rest.split("/")[0] not in {each.ref for each in stack.of("ApiGatewayV2::Api", "ApiGateway::RestApi")}:
                yield permission.id, f"SourceArn is {permission.get('SourceArn')}, of no API of this template"
            elif is_ours(stack) and "/webhooks" not in rest:
                yield (
                    permission.id,
                    f"SourceArn is {permission.get('SourceArn')}, wider than the routes under /webhooks",
                )
        if target(stack, permission.get("FunctionName"))[0] is None:
            yield permission.id, f"FunctionName {permission.get('FunctionName')} is no function of this template"
        elif is_ours(stack) and permission.get("Principal") != "apigateway.amazonaws.com":
            yield permission.id, f"lets {permission.get('Principal')} invoke a function that only the API calls"


def lets_in(stack, permission, function, alias, arn):
    """Whether a permission lets the API invoke what a route leads to."""
    own, own_alias = target(stack, permission.get("FunctionName"))
    return (
        permission.get("Principal") == "apigateway.amazonaws.com"
        and permission.get("Action") == "lambda:InvokeFunction"
        and permission.get("FunctionUrlAuthType") is None
        and permission.get("EventSourceToken") is None
        and own is function
        and (own_alias is alias or own_alias is not None and alias is not None and own_alias.ref == alias.ref)
        and arn_matches(str(permission.get("SourceArn") or "*"), arn)
    )


@rule("each API is deployed by itself, throttled, and logs its requests")
def stages(stack):
    for api in stack.of("ApiGatewayV2::Api"):
        if not any(stage.get("ApiId") == api.ref for stage in stack.of("ApiGatewayV2::Stage")):
            yield api.id, "has no stage: it answers nothing"
    for stage in stack.of("ApiGatewayV2::Stage"):
        if truth(stage.get("AutoDeploy")) is not True and not stage.get("DeploymentId"):
            yield stage.id, "AutoDeploy is not on: the routes are never deployed"
        settings = [stage.get("DefaultRouteSettings"), *mapping(stage.get("RouteSettings")).values()]
        for index, setting in enumerate(map(mapping, settings)):
            if truth(setting.get("DataTraceEnabled")):
                yield stage.id, "DataTraceEnabled logs whole requests, with their signatures"
            for key in ("ThrottlingRateLimit", "ThrottlingBurstLimit"):
                limit = setting.get(key)
                # A route without a limit of its own has the stage's.
                if limit is None and (index or not is_ours(stack)):
                    continue
                if limit is None or number(limit) is None or number(limit) <= 0:
                    yield stage.id, (
                        f"{key} is {limit}: it must be a number above 0, else the account's limit is all there is,"
                        " or nothing passes"
                    )
                elif stack.is_default and number(limit) < 10:
                    yield stage.id, f"{key} is {limit} by default: a burst of Stripe's is refused with 429"
        group = stack.by(
            "Logs::LogGroup", str(stage.get("AccessLogSettings", "DestinationArn")).removesuffix(":*") + ":*", "arn"
        )
        # It can be turned off, and is not by default.
        if not stage.get("AccessLogSettings") and is_ours(stack) and not stack.is_default:
            continue
        if group is None:
            yield stage.id, "has no AccessLogSettings with a log group of this template: nobody can tell who called"
        yield from ((stage.id, problem) for problem in format_problems(stage.get("AccessLogSettings", "Format")))


def format_problems(text):
    """What is wrong with the format of an access log."""
    try:
        members = json.loads(text)
    except (TypeError, ValueError):
        yield f"the access log's Format is no JSON: {text}"
        return
    values = [str(value) for value in members.values()] if isinstance(members, dict) else []
    for needed in ("$context.requestId", "$context.status"):
        if not any(needed in value for value in values):
            yield f"the access log lacks {needed}"
    for value in values:
        for variable in re.findall(r"\$[\w.]+", value):
            if not LOGGED.fullmatch(variable):
                yield f"the access log holds {variable}, which may be a credential or does not exist"


@rule("the endpoint's URL leads to a route")
def url(stack):
    for name, output in stack.outputs.items():
        value = str(output.get("Value"))
        found = re.match(r"https://([^./]+)\.execute-api\.([^./]+)\.([^/]+)(/.*)?$", value)
        if not found:
            continue
        api, region, suffix, path = found.groups()
        stage = next((each for each in stack.of("ApiGatewayV2::Stage") if each.get("ApiId") == api), None)
        prefix = "" if stage is None or stage.ref == "$default" else f"/{stage.ref}"
        known = [
            prefix + str(route.get("RouteKey")).partition(" ")[2]
            for route in stack.of("ApiGatewayV2::Route")
            if route.get("ApiId") == api
        ]
        if not stack.by("ApiGatewayV2::Api", api):
            yield name, f"{value} is the address of no API of this template"
        elif region != REGION or suffix != "amazonaws.com" or known and (path or "") not in known:
            yield name, f"{value} leads to no route; there are {', '.join(sorted(known))}"
