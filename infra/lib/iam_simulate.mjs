// Answers questions about policies with an IAM simulator: reads them as JSON from standard input, writes what each comes
// to, in their order. The simulator is a tool beside this project, found by the path in the first argument.
import { pathToFileURL } from 'node:url'

const { runSimulation } = await import(pathToFileURL(process.argv[2]).href)
let text = ''
for await (const part of process.stdin) text += part

const everything = { Version: '2012-10-17', Statement: [{ Effect: 'Allow', Action: '*', Resource: '*' }] }
const controls = [{ orgIdentifier: 'r-1', policies: [{ name: 'all', policy: everything }] }]
const results = []
for (const question of JSON.parse(text)) {
	const result = await runSimulation(
		{
			request: {
				principal: question.principal,
				action: question.action,
				resource: { resource: question.resource, accountId: question.account },
				contextVariables: question.context,
			},
			identityPolicies: question.policies,
			serviceControlPolicies: controls,
			resourceControlPolicies: [],
			resourcePolicy: question.resourcePolicy ?? undefined,
		},
		{},
	)
	const error = result.resultType === 'error' ? `error: ${JSON.stringify(result.errors).slice(0, 300)}` : null
	results.push(error ?? result.overallResult ?? result.resultType)
}
process.stdout.write(JSON.stringify(results))
