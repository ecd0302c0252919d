import type { Hono } from 'hono'

/** The documents that clouds and services read to trust our two issuers, by path on this listener. */
export type Published = Readonly<Record<string, unknown>>

/** Clouds cache keys for long anyway; five minutes keeps a rotation visible (RFC 9111 section 5.2.2.1). */
const HEADERS = { 'Content-Type': 'application/json', 'Cache-Control': 'public, max-age=300' }

// eslint-disable-next-line @typescript-eslint/no-explicit-any -- any Hono app, whatever its bindings
export const wellKnown = (app: Hono<any>, published: Published): void => {
  for (const [path, document] of Object.entries(published)) {
    const body = JSON.stringify(document)
    app.get(path, () => new Response(body, { headers: HEADERS }))
  }
}
