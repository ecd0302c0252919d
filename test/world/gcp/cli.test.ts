import { spawn } from 'node:child_process'
import { accessSync, constants } from 'node:fs'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { delimiter, join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { exportGcp } from '../../../action/export/gcp.ts'
import { accountToken, ACCOUNT, cutDown, openScene, type Scene } from './fixture.ts'

function onPath(name: string): boolean {
  return (process.env['PATH'] ?? '').split(delimiter).some((folder) => {
    try {
      accessSync(join(folder, name), constants.X_OK)
      return true
    } catch {
      return false
    }
  })
}

/** What an earlier step left: with it alone gcloud would act as that account. */
const EARLIER = {
  CLOUDSDK_AUTH_IMPERSONATE_SERVICE_ACCOUNT: 'other@acme-prod.iam.gserviceaccount.com',
  CLOUDSDK_AUTH_CREDENTIAL_FILE_OVERRIDE: '/nonexistent/credentials.json',
}

const MISSING = 'gcloud is missing: nothing was proved with it'

if (onPath('gcloud')) {
  describe('gcloud, with what the action exports', { timeout: 120_000 }, withCli)
} else {
  test(MISSING, () => {
    console.warn(MISSING)
    expect(onPath('gcloud')).toBe(false)
  })
}

function withCli(): void {
  let home: string
  let scene: Scene
  let token: string

  beforeAll(async () => {
    home = await mkdtemp(join(tmpdir(), 'local-gcp-'))
    scene = await openScene({ now: Date.now })
    const resource = '//storage.googleapis.com/projects/_/buckets/artifacts'
    // gcloud looks whether the name of an upload is a folder, which takes a listing.
    const expression =
      "resource.name.startsWith('projects/_/buckets/artifacts/objects/99120/') || " +
      "api.getAttribute('storage.googleapis.com/objectListPrefix', '').startsWith('99120/')"
    const rule = {
      availableResource: resource,
      availablePermissions: ['inRole:roles/storage.objectUser'],
      availabilityCondition: { expression },
    }
    const options = { accessBoundary: { accessBoundaryRules: [rule] } }
    const full = await accountToken(scene, Date.now())
    token = (await cutDown(scene.gcp, full, options)).body['access_token'] as string
    await writeFile(join(home, 'artifact'), 'hello from a job')
  })

  afterAll(async () => {
    await scene.close()
    await rm(home, { recursive: true, force: true })
  })

  const gcloud = (...args: readonly string[]) => {
    const { variables } = exportGcp(
      {
        access_token: token,
        project_id: 'acme-prod',
        service_account: ACCOUNT,
        scopes: [],
        expires_at: '2999-01-01T00:00:00Z',
        revocable: 'expiry_only',
      },
      { env: EARLIER, folder: home, keyFile: '', awsRegion: null },
    )
    return run('gcloud', args, {
      ...EARLIER,
      ...Object.fromEntries(variables.map(({ name, value }) => [name, value])),
      PATH: process.env['PATH'],
      HOME: home,
      CLOUDSDK_CONFIG: join(home, 'config'),
      CLOUDSDK_API_ENDPOINT_OVERRIDES_STORAGE: `${scene.gcp.url}/storage/v1/`,
      CLOUDSDK_CORE_DISABLE_PROMPTS: '1',
      CLOUDSDK_CORE_DISABLE_USAGE_REPORTING: 'true',
      CLOUDSDK_COMPONENT_MANAGER_DISABLE_UPDATE_CHECK: 'true',
    })
  }

  test('works in the project of the grant', async () => {
    const { code, stdout } = await gcloud('config', 'get-value', 'project')
    expect([code, stdout.trim()]).toEqual([0, 'acme-prod'])
  })

  test('uploads and reads within the boundary', async () => {
    const target = 'gs://artifacts/99120/artifact'
    expect(await gcloud('storage', 'cp', join(home, 'artifact'), target)).toMatchObject({ code: 0 })
    const stored = scene.gcp.object('artifacts', '99120/artifact')
    expect(Buffer.from(stored!.bytes)).toEqual(await readFile(join(home, 'artifact')))
    expect(await gcloud('storage', 'cat', target)).toMatchObject({
      code: 0,
      stdout: 'hello from a job',
    })
  })

  test('acts as nobody else, even where an earlier step said so', async () => {
    const { code, stdout } = await gcloud('auth', 'print-access-token')
    expect([code, stdout.trim()]).toEqual([0, token])
  })

  test('is refused beside it', async () => {
    const target = 'gs://artifacts/99121/artifact'
    const { code, stderr } = await gcloud('storage', 'cp', join(home, 'artifact'), target)
    expect(code).toBe(1)
    expect(stderr).toContain('403')
    expect(scene.gcp.names('artifacts')).not.toContain('99121/artifact')
  })
}

interface Ran {
  readonly code: number | null
  readonly stdout: string
  readonly stderr: string
}

async function run(command: string, args: readonly string[], env: NodeJS.ProcessEnv): Promise<Ran> {
  const child = spawn(command, args, { env, stdio: ['ignore', 'pipe', 'pipe'] })
  const said = { stdout: '', stderr: '' }
  child.stdout.on('data', (data: Buffer) => (said.stdout += data.toString()))
  child.stderr.on('data', (data: Buffer) => (said.stderr += data.toString()))
  const code = await new Promise<number | null>((resolve) => child.once('close', resolve))
  return { code, ...said }
}
