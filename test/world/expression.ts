/** What `${{ … }}` may name: context → property → value; a step's outputs stand under `steps.<id>.outputs`. */
export type Contexts = Readonly<Record<string, Readonly<Record<string, string>> | undefined>>

/** Replaces each `${{ a.b }}` by its value, or by nothing. Throws on every other expression. */
export const fillIn = (text: string, contexts: Contexts): string =>
  text.replace(/\$\{\{\s*(.*?)\s*\}\}/g, (whole, expression: string) => {
    const [, context = '', property = ''] = /^([\w.-]+)\.([\w-]+)$/.exec(expression) ?? []
    const values = contexts[context]
    if (values === undefined && !/^steps\.[\w-]+\.outputs$/.test(context))
      throw new Error(`this runner does not understand ${whole}`)
    return values && Object.hasOwn(values, property) ? (values[property] ?? '') : ''
  })

export const fillAll = (
  values: Readonly<Record<string, string | number | boolean>>,
  contexts: Contexts,
): Record<string, string> =>
  Object.fromEntries(
    Object.entries(values).map(([name, value]) => [name, fillIn(String(value), contexts)]),
  )
