import { eventPath, type Place } from './job-place.ts'
import type { Job } from './job.ts'

type Strings = Readonly<Record<string, string>>

/** What a step has of the machine. Nothing else of this process's environment reaches it. */
export const machineEnv = (place: Place, trackingId: string): Strings => {
  const kept = ['PATH', 'SystemRoot', 'ComSpec', 'PATHEXT'].flatMap((name) => {
    const value = process.env[name]
    return value === undefined ? [] : [[name, value] as const]
  })
  return {
    ...Object.fromEntries(kept),
    HOME: place.home,
    TMPDIR: place.tmp,
    USER: 'runner',
    LANG: 'C.UTF-8',
    RUNNER_TRACKING_ID: trackingId,
  }
}

/** The part of the github context that steps see as GITHUB_*. */
export const githubEnv = (job: Job, place: Place, action: string): Strings => {
  const { claims } = job
  const claim = (name: string): string => claims[name] ?? ''
  return {
    GITHUB_ACTION: action,
    GITHUB_ACTOR: claim('actor'),
    GITHUB_ACTOR_ID: claim('actor_id'),
    GITHUB_API_URL: 'https://api.github.com',
    GITHUB_BASE_REF: claim('base_ref'),
    GITHUB_EVENT_NAME: claim('event_name'),
    GITHUB_EVENT_PATH: eventPath(place),
    GITHUB_GRAPHQL_URL: 'https://api.github.com/graphql',
    GITHUB_HEAD_REF: claim('head_ref'),
    GITHUB_JOB: job.name,
    GITHUB_REF: claim('ref'),
    GITHUB_REF_NAME: claim('ref').replace(/^refs\/(heads|tags|pull)\//, ''),
    GITHUB_REF_PROTECTED: claim('ref_protected'),
    GITHUB_REF_TYPE: claim('ref_type'),
    GITHUB_REPOSITORY: claim('repository'),
    GITHUB_REPOSITORY_ID: claim('repository_id'),
    GITHUB_REPOSITORY_OWNER: claim('repository_owner'),
    GITHUB_REPOSITORY_OWNER_ID: claim('repository_owner_id'),
    GITHUB_RETENTION_DAYS: '90',
    GITHUB_RUN_ATTEMPT: claim('run_attempt'),
    GITHUB_RUN_ID: claim('run_id'),
    GITHUB_RUN_NUMBER: claim('run_number'),
    GITHUB_SERVER_URL: 'https://github.com',
    GITHUB_SHA: claim('sha'),
    GITHUB_TRIGGERING_ACTOR: claim('actor'),
    GITHUB_WORKFLOW: claim('workflow'),
    GITHUB_WORKFLOW_REF: claim('workflow_ref'),
    GITHUB_WORKFLOW_SHA: claim('workflow_sha'),
    GITHUB_WORKSPACE: place.workspace,
  }
}

const OS: Readonly<Record<string, string>> = { linux: 'Linux', darwin: 'macOS', win32: 'Windows' }

export const runnerEnv = (job: Job, place: Place, debug: boolean): Strings => ({
  RUNNER_ARCH: process.arch.toUpperCase(),
  RUNNER_ENVIRONMENT: job.claims['runner_environment'] ?? 'github-hosted',
  RUNNER_NAME: 'GitHub Actions 1',
  RUNNER_OS: OS[process.platform] ?? 'Linux',
  RUNNER_TEMP: place.temp,
  RUNNER_TOOL_CACHE: place.tools,
  RUNNER_WORKSPACE: place.workspace.replace(/[/\\][^/\\]*$/, ''),
  ...(debug ? { RUNNER_DEBUG: '1' } : {}),
})

/** Scripts and actions get the ID token's endpoint; actions get the runtime's token besides, and it is the same one. */
export const actionsEnv = (job: Job, isAction: boolean): Strings => ({
  ...job.env,
  ...(isAction
    ? {
        ACTIONS_RUNTIME_URL: new URL('/runtime/', job.requestUrl).href,
        ACTIONS_RUNTIME_TOKEN: job.requestToken,
      }
    : {}),
})

/** `GITHUB_REF` → `ref`: the context that belongs to the variables. */
export const contextOf = (prefix: string, env: Strings): Strings =>
  Object.fromEntries(
    Object.entries(env).map(([name, value]) => [name.slice(prefix.length).toLowerCase(), value]),
  )
