/**
 * The part of the Common Expression Language that attribute mappings, attribute conditions and access boundaries need:
 * text, numbers, lists, members, `==`, `!=`, `in`, `!`, `&&`, `||`, `+`, `has()`, `startsWith`, `endsWith`, `contains` and
 * `api.getAttribute`. What is not of it does not compile, and so is refused when it is set up.
 */
export class CelError extends Error {
  override readonly name = 'CelError'
}

export type Roots = Readonly<Record<string, unknown>>
export type Program = (roots: Roots) => unknown

/** Throws CelError when `source` is none of this language, or speaks of a root that is not in `roots`. */
export function compile(source: string, roots: readonly string[]): Program {
  const parser = new Parser(lex(source), roots)
  return parser.whole()
}

/** Throws CelError when it comes to anything but text. */
export function evaluateText(program: Program, roots: Roots): string {
  const value = program(roots)
  if (typeof value !== 'string') throw new CelError('it is not text')
  return value
}

/** Throws CelError when it comes to anything but true or false. */
export function evaluateBoolean(program: Program, roots: Roots): boolean {
  const value = program(roots)
  if (typeof value !== 'boolean') throw new CelError('it is neither true nor false')
  return value
}

interface Token {
  readonly kind: 'text' | 'number' | 'name' | 'sign' | 'end'
  readonly text: string
}

const LEXEME =
  /\s+|(?<text>'(?:[^'\\\n]|\\['"\\])*'|"(?:[^"\\\n]|\\['"\\])*")|(?<number>\d{1,15}(?![\w.]))|(?<name>[A-Za-z_]\w*)|(?<sign>==|!=|&&|\|\||[.,!()[\]+])/y

function lex(source: string): readonly Token[] {
  const tokens: Token[] = []
  LEXEME.lastIndex = 0
  while (LEXEME.lastIndex < source.length) {
    const at = LEXEME.lastIndex
    const groups = LEXEME.exec(source)?.groups
    if (groups === undefined) throw new CelError(`not understood at ${at}`)
    for (const kind of ['text', 'number', 'name', 'sign'] as const) {
      const text = groups[kind]
      if (text !== undefined) tokens.push({ kind, text })
    }
  }
  return [...tokens, { kind: 'end', text: '' }]
}

class Parser {
  readonly #tokens: readonly Token[]
  readonly #roots: readonly string[]
  #at = 0
  #depth = 0

  constructor(tokens: readonly Token[], roots: readonly string[]) {
    this.#tokens = tokens
    this.#roots = roots
  }

  whole(): Program {
    const program = this.#or()
    if (this.#next().kind !== 'end') throw new CelError('something follows the expression')
    return program
  }

  #or(): Program {
    if (++this.#depth > 32) throw new CelError('it is nested too deeply')
    let left = this.#and()
    while (this.#take('||')) left = either(left, this.#and(), true)
    this.#depth--
    return left
  }

  #and(): Program {
    let left = this.#relation()
    while (this.#take('&&')) left = either(left, this.#relation(), false)
    return left
  }

  #relation(): Program {
    const left = this.#sum()
    if (this.#take('==')) return equality(left, this.#sum(), true)
    if (this.#take('!=')) return equality(left, this.#sum(), false)
    return this.#take('in') ? membership(left, this.#sum()) : left
  }

  #sum(): Program {
    let left = this.#unary()
    while (this.#take('+')) left = concatenation(left, this.#unary())
    return left
  }

  #unary(): Program {
    if (!this.#take('!')) return this.#members()
    const inner = this.#unary()
    return (roots) => !evaluateBoolean(inner, roots)
  }

  #members(): Program {
    let value = this.#primary()
    for (;;) {
      if (this.#take('[')) {
        value = member(value, this.#or())
        this.#expect(']')
      } else if (this.#take('.')) {
        value = this.#named(value)
      } else return value
    }
  }

  #named(value: Program): Program {
    const name = this.#next()
    if (name.kind !== 'name') throw new CelError('a name is missing')
    if (!this.#take('(')) return member(value, () => name.text)
    const args = this.#list(')')
    const method = METHODS[name.text]
    if (method?.arity !== args.length) throw new CelError(`${name.text}() is not known`)
    return (roots) =>
      method.call(
        value(roots),
        args.map((arg) => arg(roots)),
      )
  }

  #primary(): Program {
    const { kind, text } = this.#next()
    if (kind === 'text') return constant(text.slice(1, -1).replaceAll(/\\(.)/g, '$1'))
    if (kind === 'number') return constant(Number(text))
    if (text === '(') return this.#parenthesis()
    if (text === '[') return all(this.#list(']'))
    if (kind !== 'name') throw new CelError('a value is missing')
    if (text === 'true' || text === 'false') return constant(text === 'true')
    if (text === 'has' && this.#take('(')) return presence(this.#parenthesis())
    if (!this.#roots.includes(text)) throw new CelError(`undeclared reference to '${text}'`)
    return (roots) => roots[text]
  }

  #parenthesis(): Program {
    const inner = this.#or()
    this.#expect(')')
    return inner
  }

  #list(end: string): readonly Program[] {
    const items: Program[] = []
    while (!this.#take(end)) {
      if (items.length > 0) this.#expect(',')
      items.push(this.#or())
    }
    return items
  }

  #next(): Token {
    return this.#tokens[this.#at++] ?? { kind: 'end', text: '' }
  }

  #take(text: string): boolean {
    const token = this.#tokens[this.#at]
    if (token?.kind === 'text' || token?.text !== text) return false
    this.#at++
    return true
  }

  #expect(text: string): void {
    if (!this.#take(text)) throw new CelError(`'${text}' is missing`)
  }
}

function constant(value: unknown): Program {
  return () => value
}

function all(items: readonly Program[]): Program {
  return (roots) => items.map((item) => item(roots))
}

/** `||` (`decisive` true) and `&&`: either side decides alone, even if the other one fails. */
function either(left: Program, right: Program, decisive: boolean): Program {
  return (roots) => {
    let failure: unknown = null
    for (const side of [left, right]) {
      try {
        if (evaluateBoolean(side, roots) === decisive) return decisive
      } catch (problem) {
        failure = problem
      }
    }
    if (failure !== null) throw failure as Error
    return !decisive
  }
}

function equality(left: Program, right: Program, wanted: boolean): Program {
  return (roots) => {
    const [a, b] = [left(roots), right(roots)]
    if (typeof a !== typeof b || typeof a === 'object') throw new CelError('not comparable')
    return (a === b) === wanted
  }
}

function membership(left: Program, right: Program): Program {
  return (roots) => {
    const [item, holder] = [left(roots), right(roots)]
    if (Array.isArray(holder)) return holder.includes(item)
    if (typeof item !== 'string') throw new CelError('not a name')
    return Object.hasOwn(object(holder), item)
  }
}

function concatenation(left: Program, right: Program): Program {
  return (roots) => evaluateText(left, roots) + evaluateText(right, roots)
}

function member(value: Program, name: Program): Program {
  return (roots) => {
    const [holder, key] = [value(roots), name(roots)]
    if (Array.isArray(holder) && typeof key === 'number' && key < holder.length) {
      return (holder as unknown[])[key]
    }
    if (typeof key !== 'string' || !Object.hasOwn(object(holder), key)) {
      throw new CelError(`no such key: ${String(key)}`)
    }
    return object(holder)[key]
  }
}

/** `has(a.b)`; an absent `a` is false too, which CEL would call an error: here it can only refuse more. */
function presence(inner: Program): Program {
  return (roots) => {
    try {
      return inner(roots) !== undefined
    } catch {
      return false
    }
  }
}

interface Method {
  readonly arity: number
  readonly call: (self: unknown, args: readonly unknown[]) => unknown
}

const METHODS: Readonly<Record<string, Method | undefined>> = Object.assign(
  Object.create(null) as Record<string, Method>,
  {
    startsWith: onText((self, arg) => self.startsWith(arg)),
    endsWith: onText((self, arg) => self.endsWith(arg)),
    contains: onText((self, arg) => self.includes(arg)),
    getAttribute: {
      arity: 2,
      call: (self: unknown, [name, fallback]: readonly unknown[]) =>
        object(self)[text(name)] ?? fallback,
    },
  },
)

function onText(call: (self: string, arg: string) => boolean): Method {
  return { arity: 1, call: (self, [arg]) => call(text(self), text(arg)) }
}

function text(value: unknown): string {
  if (typeof value !== 'string') throw new CelError('not text')
  return value
}

function object(value: unknown): Readonly<Record<string, unknown>> {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw new CelError('it has no members')
  }
  return value as Readonly<Record<string, unknown>>
}
