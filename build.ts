import { build, type Metafile, type Plugin } from 'esbuild'
import { readFile, writeFile } from 'node:fs/promises'
import { join, resolve } from 'node:path'

/** Bytes. A bundle that outgrows this has dragged in an HTTP client or a parser that the action does without. */
const MAX_BUNDLE = 60_000

/** All that may end up in a bundle beside our own sources. */
const PACKAGES = ['@actions/core']

/**
 * @actions/core does not say that its modules are free of side effects, so esbuild would keep its HTTP client (undici) and exec
 * for functions that nobody calls: 817 kB instead of a few.
 */
const actionsFreeOfSideEffects: Plugin = {
  name: 'actions-free-of-side-effects',
  setup: (bundler) => {
    bundler.onResolve({ filter: /^(@actions\/|\.)/ }, async (found) => {
      const inside = found.importer.includes('/node_modules/@actions/')
      if (found.pluginData === 'resolving' || !(inside || found.path.startsWith('@'))) return null
      const { kind, resolveDir } = found
      const pluginData = 'resolving'
      const resolved = await bundler.resolve(found.path, { kind, resolveDir, pluginData })
      return { path: resolved.path, sideEffects: false }
    })
  },
}

/** A bundle and its size in bytes. */
export interface Bundle {
  readonly path: string
  readonly bytes: number
}

/** Builds main.cjs and post.cjs into `folder`; fails when one is too large or holds what it should not. */
export const buildAction = async (folder: string): Promise<readonly Bundle[]> => {
  const root = import.meta.dirname
  const { metafile } = await build({
    absWorkingDir: root,
    entryPoints: ['action/main.ts', 'action/post.ts'],
    outdir: folder,
    outExtension: { '.js': '.cjs' },
    bundle: true,
    platform: 'node',
    target: 'node24',
    format: 'cjs',
    charset: 'utf8',
    metafile: true,
    logLevel: 'warning',
    plugins: [actionsFreeOfSideEffects],
  })
  await writeLicenses(root, folder)
  return Object.entries(metafile.outputs).map(([path, output]) => {
    refuseStrangers(path, output)
    if (output.bytes >= MAX_BUNDLE)
      throw new Error(`${path} has ${output.bytes} bytes; ${MAX_BUNDLE} are too many`)
    return { path, bytes: output.bytes }
  })
}

const refuseStrangers = (path: string, { inputs }: Metafile['outputs'][string]): void => {
  const strangers = Object.entries(inputs).flatMap(([source, { bytesInOutput }]) => {
    const ours = source.startsWith('action/')
    const allowed = PACKAGES.some((name) => source.startsWith(`node_modules/${name}/`))
    return bytesInOutput === 0 || ours || allowed ? [] : [source]
  })
  if (strangers.length > 0) throw new Error(`${path} holds ${strangers.join(', ')}`)
}

/** The licences of what the bundles hold ask to travel with them. */
const writeLicenses = async (root: string, folder: string): Promise<void> => {
  const texts = await Promise.all(
    PACKAGES.map(async (name) => {
      const text = await readFile(join(root, 'node_modules', name, 'LICENSE.md'), 'utf8')
      return `${name}\n\n${text}`
    }),
  )
  await writeFile(join(resolve(root, folder), 'THIRD-PARTY-LICENSES.txt'), texts.join('\n'))
}

if (import.meta.main)
  for (const { path, bytes } of await buildAction('dist/action'))
    console.log(`${path} ${bytes} bytes`)
