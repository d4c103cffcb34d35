# Installs what the checks of the infrastructure need into .tools/infra, which git does not see. To be sourced.
# Sets $python. What is there already is not installed again.
infra_packages=(
	aws-sam-cli==1.170.0
	cfn-lint==1.58.0
	checkov==3.2.459
	cloudformation-validate==1.14.0
	cargo-lambda==1.9.2
	ziglang==0.17.1
)
# Of this one the rules alone are wanted, not the CDK that it is made for.
infra_rules=cdk-preflight==1.9.1

install_infra_tools() {
	local folder=.tools/infra wanted="${infra_packages[*]} $infra_rules"
	python=$PWD/$folder/bin/python
	# The marker holds what is installed and is written last, so what broke off is installed again.
	if [ -f "$folder/.ready" ] && [ "$(cat "$folder/.ready")" = "$wanted" ]; then
		return
	fi
	if ! python3 -c 'import ensurepip, venv' 2>/dev/null; then
		echo 'this needs python3 (3.10 or newer) with venv' >&2
		return 1
	fi
	echo "installing $wanted into $folder (once, about a minute)"
	rm -rf "$folder"
	python3 -m venv "$folder"
	"$folder/bin/pip" install --quiet --disable-pip-version-check "${infra_packages[@]}"
	"$folder/bin/pip" install --quiet --disable-pip-version-check --no-deps "$infra_rules"
	printf '%s' "$wanted" >"$folder/.ready"
}

export AWS_DEFAULT_REGION=us-east-1 SAM_CLI_TELEMETRY=0 PYTHONDONTWRITEBYTECODE=1
