import { describe, expect, it } from 'vitest'
import { makeStrangers, networkOf } from '../../server/session/strangers.ts'
import { MINUTE, NOW } from './rows.ts'

const taken = (count: number, take: () => boolean): number =>
  Array.from({ length: count }, take).filter(Boolean).length

describe('the bucket of an address', () => {
  it('gives a burst, then what has flowed in since', () => {
    const strangers = makeStrangers({ burst: 5, perSecond: 2 })
    expect(taken(9, () => strangers.takeAddress('192.0.2.1', NOW))).toBe(5)
    expect(taken(9, () => strangers.takeAddress('192.0.2.1', NOW + 1500))).toBe(3)
    expect(taken(9, () => strangers.takeAddress('192.0.2.1', NOW + 1500))).toBe(0)
    expect(taken(9, () => strangers.takeAddress('192.0.2.1', NOW + 3_600_000))).toBe(5)
  })

  it('is not filled by a clock that goes back', () => {
    const strangers = makeStrangers({ burst: 2, perSecond: 1 })
    expect(taken(3, () => strangers.takeAddress('192.0.2.1', NOW))).toBe(2)
    expect(strangers.takeAddress('192.0.2.1', NOW - 3_600_000)).toBe(false)
  })

  it('is its own', () => {
    const strangers = makeStrangers({ burst: 1 })
    expect(strangers.takeAddress('192.0.2.1', NOW)).toBe(true)
    expect(strangers.takeAddress('192.0.2.2', NOW)).toBe(true)
    expect(strangers.takeAddress('192.0.2.1', NOW)).toBe(false)
  })

  it('is forgotten for the one that was silent for longest, when there are too many', () => {
    const strangers = makeStrangers({ burst: 1, perSecond: 0, addresses: 3 })
    const from = (last: number) => strangers.takeAddress(`192.0.2.${last}`, NOW)
    expect([1, 2, 3].map(from)).toEqual([true, true, true])
    expect(from(1)).toBe(false)
    expect(from(4)).toBe(true)
    expect(from(1)).toBe(false)
    expect(from(2)).toBe(true)
  })

  it.each([
    ['192.0.2.1', '192.0.2.1'],
    ['::ffff:192.0.2.1', '192.0.2.1'],
    ['::ffff:c000:201', '192.0.2.1'],
    ['2001:db8:1:2:3:4:5:6', '2001:db8:1:2'],
    ['2001:0DB8:0001:0002::ffff', '2001:db8:1:2'],
    ['2001:db8::1', '2001:db8:0:0'],
    ['::1', '0:0:0:0'],
    ['fe80::1%eth0', 'fe80:0:0:0'],
    ['1:2:3:4:5:6:192.0.2.1', '1:2:3:4'],
    ['', 'unknown'],
    ['localhost', 'unknown'],
    ['192.0.2.1:443', 'unknown'],
  ])('of %j is that of %s', (address, network) => {
    expect(networkOf(address)).toBe(network)
  })
})

describe('the summary of refused owners', () => {
  it('is null where nobody was refused', () => {
    expect(makeStrangers().flush(NOW)).toBeNull()
  })

  it('counts by owner, from the first refusal on, and begins anew', () => {
    const strangers = makeStrangers()
    strangers.countOwner('github', '1', NOW)
    strangers.countOwner('github', '2', NOW + 1)
    strangers.countOwner('github', '1', NOW + 2)
    strangers.countOwner('ghes', '1', NOW + 3)
    expect(strangers.flush(NOW + MINUTE)).toEqual({
      event: 'strangers.summary',
      since: NOW,
      until: NOW + MINUTE,
      refused: 4,
      owners: [
        { issuer: 'github', owner_id: '1', count: 2 },
        { issuer: 'github', owner_id: '2', count: 1 },
        { issuer: 'ghes', owner_id: '1', count: 1 },
      ],
      others: 0,
    })
    expect(strangers.flush(NOW + 2 * MINUTE)).toBeNull()
  })

  it('tells a bounded number of owners apart', () => {
    const strangers = makeStrangers({ owners: 2 })
    for (let id = 1; id <= 1000; id++) strangers.countOwner('github', String(id), NOW)
    strangers.countOwner('github', '2', NOW)
    expect(strangers.flush(NOW)).toMatchObject({
      refused: 1001,
      owners: [{ count: 1 }, { count: 2 }],
      others: 998,
    })
  })
})
