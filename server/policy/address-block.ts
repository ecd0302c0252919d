import { isIP } from 'node:net'
import type { Say } from './problem.ts'
import { invalid, readTexts } from './read.ts'
import type { ListNode } from './yaml.ts'

const BLOCK = { pattern: /^[0-9A-Fa-f:.]+\/[0-9]{1,3}$/, hint: 'a block such as 203.0.113.0/24' }

/** CIDR blocks, IPv4 or IPv6; none that spans every address. */
export const readAddressBlocks = (
  node: ListNode,
  what: string,
  say: Say,
): readonly string[] | null => {
  const blocks = readTexts(node, what, BLOCK, say)
  for (const item of node.items) {
    const text = item.kind === 'scalar' && item.is === 'string' ? item.text : ''
    if (BLOCK.pattern.test(text) && !isBlock(text))
      say(invalid(item.at, `${text} is not an address block that pins`, BLOCK.hint))
  }
  return blocks
}

const isBlock = (text: string): boolean => {
  const [address = '', prefix = ''] = text.split('/')
  const bits = { 0: 0, 4: 32, 6: 128 }[isIP(address)] ?? 0
  return /^[1-9][0-9]{0,2}$/.test(prefix) && Number(prefix) <= bits
}
