import { BlockList } from 'node:net'
import { describe, expect, it } from 'vitest'
import { callerAddress } from '../../server/http/address.ts'

const proxies = new BlockList()
proxies.addSubnet('10.0.0.0', 8, 'ipv4')
proxies.addAddress('192.0.2.10', 'ipv4')
proxies.addSubnet('2001:db8:aa::', 48, 'ipv6')
proxies.addSubnet('fe80::', 10, 'ipv6')

type Row = readonly [
  sentence: string,
  peer: string | undefined,
  forwardedFor: string | undefined,
  address: string,
]

describe('X-Forwarded-For is not believed', () => {
  it.each<Row>([
    ['from a peer that is no proxy', '198.51.100.7', '203.0.113.1', '198.51.100.7'],
    ['from a peer that is no proxy and names one', '198.51.100.7', '10.0.0.1', '198.51.100.7'],
    ['from a neighbour of a proxy', '192.0.2.11', '203.0.113.1', '192.0.2.11'],
    ['from an IPv6 peer that is no proxy', '2001:db8:bb::1', '203.0.113.1', '2001:db8:bb::1'],
    ['from an unknown peer', undefined, '203.0.113.1', ''],
    [
      'left of a hop that is no proxy',
      '10.0.0.1',
      '203.0.113.66, 10.0.0.9, 198.51.100.7',
      '198.51.100.7',
    ],
    ['left of a hop that is no address', '10.0.0.1', '203.0.113.1, unknown', '10.0.0.1'],
    ['left of a hop that is hidden', '10.0.0.1', '203.0.113.1, _hidden, 10.0.0.2', '10.0.0.2'],
    ['when it is empty', '10.0.0.1', '', '10.0.0.1'],
    ['when it is a comma', '10.0.0.1', ',', '10.0.0.1'],
    ['with a port', '10.0.0.1', '203.0.113.1:4711', '10.0.0.1'],
    ['in brackets', '10.0.0.1', '[2001:db8:bb::1]', '10.0.0.1'],
    ['in quotes', '10.0.0.1', '"203.0.113.1"', '10.0.0.1'],
    ['as a host name', '10.0.0.1', 'localhost', '10.0.0.1'],
    ['with leading zeroes', '10.0.0.1', '203.0.113.001', '10.0.0.1'],
    ['as a number', '10.0.0.1', '3405803777', '10.0.0.1'],
    ['as a block', '10.0.0.1', '203.0.113.0/24', '10.0.0.1'],
    ['with a line break', '10.0.0.1', '203.0.113.1\nx', '10.0.0.1'],
    ['with five parts', '10.0.0.1', '203.0.113.1.1', '10.0.0.1'],
  ])('%s', (_, peer, forwardedFor, address) => {
    expect(callerAddress(peer, forwardedFor, proxies)).toBe(address)
  })

  it('when no proxy is configured', () => {
    expect(callerAddress('10.0.0.1', '203.0.113.1', new BlockList())).toBe('10.0.0.1')
  })
})

describe('the caller is', () => {
  it.each<Row>([
    ['the peer, without the header', '198.51.100.7', undefined, '198.51.100.7'],
    ['the proxy, without the header', '10.0.0.1', undefined, '10.0.0.1'],
    ['the only hop', '10.0.0.1', '203.0.113.1', '203.0.113.1'],
    ['the rightmost hop', '10.0.0.1', '203.0.113.1, 203.0.113.2', '203.0.113.2'],
    ['the hop before proxies', '10.0.0.1', '203.0.113.1, 10.9.9.9, 192.0.2.10', '203.0.113.1'],
    ['the leftmost proxy, when all are', '10.0.0.1', '10.0.0.3, 10.0.0.2', '10.0.0.3'],
    ['a hop between spaces', '10.0.0.1', ' \t203.0.113.1  ', '203.0.113.1'],
    ['a hop without spaces', '10.0.0.1', '203.0.113.1,10.0.0.2', '203.0.113.1'],
    ['an IPv6 hop', '10.0.0.1', '2001:db8:bb::1', '2001:db8:bb::1'],
    ['a hop behind an IPv6 proxy', '2001:db8:aa::1', '203.0.113.1', '203.0.113.1'],
    ['a hop behind a proxy of this link', 'fe80::1%lo', '203.0.113.1', '203.0.113.1'],
    ['an IPv4 peer on a socket for both', '::ffff:198.51.100.7', undefined, '198.51.100.7'],
    ['a hop behind such a proxy', '::ffff:10.0.0.1', '203.0.113.1', '203.0.113.1'],
    ['a hop in capitals', '::FFFF:10.0.0.1', '::FFFF:203.0.113.1', '203.0.113.1'],
    ['a hop behind a proxy in hex', '::ffff:a00:1', '203.0.113.1', '203.0.113.1'],
  ])('%s', (_, peer, forwardedFor, address) => {
    expect(callerAddress(peer, forwardedFor, proxies)).toBe(address)
  })
})

it('a caller cannot choose his address, whatever he sends', () => {
  for (const sent of [
    '10.0.0.1',
    '203.0.113.1, 10.0.0.1',
    '192.0.2.10',
    'x',
    '',
    '::ffff:10.0.0.1',
  ])
    expect(callerAddress('10.0.0.1', `${sent}, 198.51.100.7`, proxies)).toBe('198.51.100.7')
})
