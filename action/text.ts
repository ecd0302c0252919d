/** Controls, format characters (bidi, zero-width, tags), line and paragraph separators, lone surrogates. */
const UNPRINTABLE = /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}]/gu

/** Text from outside on one line: nothing in it can steer a log, a terminal or the eye; cut at `limit` characters. */
export const plain = (text: string, limit = 400): string => {
  const clean = Array.from(text.replace(/[\t\r\n]+/g, ' ').replace(UNPRINTABLE, ''))
  return clean.length > limit ? `${clean.slice(0, limit).join('')}…` : clean.join('')
}

/**
 * A value as Markdown code, in a table or out of it. Where a code span could end early or split a table cell, every
 * character becomes a numeric reference, which no Markdown or HTML construct can begin with.
 */
export const code = (value: string): string => {
  if (value === '') return '(empty)'
  if (/^[\w ./:@*?#=+,~-]+$/.test(value)) return `\`${value}\``
  const coded = value.replace(/[^A-Za-z0-9]/gu, (c) => `&#${c.codePointAt(0) ?? 0xfffd};`)
  return `<code>${coded}</code>`
}

/** A sentence as Markdown prose: no markup, link, image, HTML or table can come out of it. */
export const prose = (sentence: string): string =>
  sentence.replace(/[\\`*_[\]<>|~$&:]/g, '\\$&').replace(/www\./gi, 'www\\.')
