import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Command } from 'commander'
import { cloudDiscovery, jwks } from '../issuer/discovery.ts'
import { CONFIG, configOf, notes, type ProgramParts } from './parts.ts'
import type { Terminal } from './terminal.ts'

const CODES = '0 done, 2 bad input or use, or keys that must not be used'

export const keysCommands = (program: Command, parts: ProgramParts, terminal: Terminal): void => {
  const keys = program
    .command('keys')
    .description('the signing keys')
    .addHelpText('after', notes(CODES, 'tvm keys create', 'tvm keys export --out issuer/'))
  keys
    .command('create')
    .description('make the keys that are not there yet, 0600 below the data folder')
    .option(...CONFIG)
    .addHelpText('after', notes(CODES, 'tvm keys create', 'TVM_DATA=/var/lib/tvm tvm keys create'))
    .action(async (options: { config?: string }) => {
      const config = configOf(parts, options.config)
      const { cloud } = await parts.createKeys(config, parts.world)
      terminal.out(`${join(config.data, 'keys')}: kid ${cloud.publicKeys()[0]?.kid ?? ''}\n`)
    })
  keys
    .command('export')
    .description('write the discovery document and the JWKS of issuer_url, for a bucket or CDN')
    .requiredOption('--out <folder>', 'where to write .well-known/')
    .option(...CONFIG)
    .addHelpText('after', notes(CODES, 'tvm keys export --out issuer/'))
    .action(async (options: { config?: string; out: string }) => {
      const config = configOf(parts, options.config)
      // Fresh keys in a bucket would cut the clouds off from the broker: a wrong data folder is an error here.
      const { cloud } = await parts.openKeys(config, parts.world)
      const folder = join(options.out, '.well-known')
      mkdirSync(folder, { recursive: true })
      const documents = {
        'openid-configuration': cloudDiscovery(config.issuer_url),
        'jwks.json': jwks(cloud),
      }
      for (const [name, document] of Object.entries(documents)) {
        writeFileSync(join(folder, name), `${JSON.stringify(document, null, 2)}\n`)
        terminal.out(`${join(folder, name)}\n`)
      }
    })
}
