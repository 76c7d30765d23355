// What a browser client does with the generated types: it compiles, or the OpenAPI document is not good enough.
import createClient from 'openapi-fetch'
import type { components, operations, paths } from './build/api'

const client = createClient<paths>({ baseUrl: 'http://127.0.0.1:8080' })

type RunView = components['schemas']['RunView']
type Started = operations['startRun']['responses'][201]['content']['application/json']

export async function startAndShow(flow: string): Promise<RunView> {
  const started = await client.POST('/api/v1/runs', {
    body: { flow_id: flow, inputs: { name: 'Ada' } },
    params: { header: { 'Idempotency-Key': 'order-17' } },
  })
  if (started.error !== undefined) throw new Error(`${started.error.title}: ${started.error.detail}`)
  const run: Started = started.data
  const shown = await client.GET('/api/v1/runs/{run_id}', { params: { path: { run_id: run.run_id } } })
  if (shown.error !== undefined) throw new Error(shown.error.detail)
  return shown.data
}

export async function failedRuns(): Promise<string[]> {
  const ids: string[] = []
  let cursor: string | undefined
  do {
    const page = await client.GET('/api/v1/runs', { params: { query: { status: ['failed'], limit: 50, cursor } } })
    if (page.error !== undefined) throw new Error(page.error.detail)
    ids.push(...page.data.runs.map((run) => run.id))
    cursor = page.data.next_cursor ?? undefined
  } while (cursor !== undefined)
  return ids
}

export async function unhealthy(): Promise<string[]> {
  const health = await client.GET('/health/details')
  if (health.error !== undefined) throw new Error(health.error.detail)
  const states: ('ok' | 'degraded' | 'failed')[] = health.data.checks.map((check) => check.state)
  return health.data.checks.filter((_, index) => states[index] !== 'ok').map((check) => check.name)
}

// @ts-expect-error: the name of a path that is not there
void client.GET('/api/v1/nothing')
// @ts-expect-error: a field of another type
void client.POST('/api/v1/runs', { body: { flow_id: 17 } })
